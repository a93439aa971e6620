// Bringing strided rows of any storage dtype into the kernels' layouts, and results back.
#pragma once

#include "backends/memory_efficient/kernels.h"
#include "backends/memory_efficient/vec.h"

namespace unetd::memory_efficient::UNETD_ME_ISA {

template <typename Body>
UNETD_ME_INLINE void Typed(const void* p, int32_t dtype, const Body& body) {
  if (dtype == UNETD_DTYPE_F32) return body(static_cast<const float*>(p));
  if (dtype == UNETD_DTYPE_F16) return body(static_cast<const Half*>(p));
  body(static_cast<const Brain*>(p));
}
template <typename Body>
UNETD_ME_INLINE void Typed(void* p, int32_t dtype, const Body& body) {
  if (dtype == UNETD_DTYPE_F32) return body(static_cast<float*>(p));
  if (dtype == UNETD_DTYPE_F16) return body(static_cast<Half*>(p));
  body(static_cast<Brain*>(p));
}

UNETD_ME_INLINE int Few(uint64_t left) {
  return left < static_cast<uint64_t>(kLanes) ? static_cast<int>(left) : kLanes;
}

// One square of PackColumns: `some` rows of `wide` channels; kWhole: kLanes of each.
template <bool kWhole, typename T>
UNETD_ME_INLINE void PackSquare(const T* rows, uint64_t stride, int some, int wide, Vec times,
                                float* columns, uint64_t pitch) {
  Vec square[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    square[i] = kWhole || i < some
                    ? Load(rows + static_cast<uint64_t>(i) * stride, kWhole ? kLanes : wide)
                    : Splat(0.0f);
  }
  Transpose(square);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (kWhole || i < wide) Store(columns + static_cast<uint64_t>(i) * pitch, square[i] * times);
  }
}

// columns[c][r] = factor * rows[r][c] for c < depth and r < the next multiple of kLanes after
// `count` (which is filled with zeros); `stride` and `pitch` are elements from row to row.
template <typename T>
void PackColumns(const T* rows, uint64_t stride, uint64_t count, uint64_t depth, float factor,
                 float* columns, uint64_t pitch) {
  const Vec times = Splat(factor);
  for (uint64_t r = 0; r < count; r += kLanes) {
    const int some = Few(count - r);
    for (uint64_t c = 0; c < depth; c += kLanes) {
      const int wide = Few(depth - c);
      const T* from = rows + r * stride + c;
      float* to = columns + c * pitch + r;
      if (some == kLanes && wide == kLanes) {
        PackSquare<true>(from, stride, some, wide, times, to, pitch);
      } else {
        PackSquare<false>(from, stride, some, wide, times, to, pitch);
      }
    }
  }
}

// out[r][c] = rows[r][c] as floats; rows of `out` are `pitch`, a multiple of 16, apart.
template <typename T>
void PackRows(const T* rows, uint64_t stride, uint64_t count, uint64_t depth, float* out,
              uint64_t pitch) {
  for (uint64_t r = 0; r < count; ++r, rows += stride, out += pitch) {
    for (uint64_t c = 0; c < depth; c += kLanes) Store(out + c, Load(rows + c, Few(depth - c)));
  }
}

// rows[r][c] = columns[c][r] * factors[r] for r < count <= kLanes.
template <typename T>
void WriteColumns(const float* columns, uint64_t pitch, Vec factors, int count, uint64_t depth,
                  T* rows, uint64_t stride) {
  for (uint64_t c = 0; c < depth; c += kLanes) {
    const int wide = Few(depth - c);
    Vec square[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      square[i] =
          i < wide ? Load(columns + (c + static_cast<uint64_t>(i)) * pitch) * factors : Splat(0.0f);
    }
    Transpose(square);
    for (int i = 0; i < count; ++i) {
      Store(rows + static_cast<uint64_t>(i) * stride + c, square[i], wide);
    }
  }
}

// Rows [first, last) towards L2: a head's rows lie so far apart that the CPU does not foresee them.
UNETD_ME_INLINE void Foresee(const void* base, int32_t dtype, uint64_t stride, uint64_t depth,
                             uint64_t first, uint64_t last) {
  const uint64_t size = dtype == UNETD_DTYPE_F32 ? 4 : 2;
  for (uint64_t r = first; r < last; ++r) {
    const char* row = static_cast<const char*>(base) + r * stride * size;
    for (uint64_t at = 0; at < depth * size; at += 64) _mm_prefetch(row + at, _MM_HINT_T1);
    _mm_prefetch(row + depth * size - 1, _MM_HINT_T1);
  }
}

}  // namespace unetd::memory_efficient::UNETD_ME_ISA
