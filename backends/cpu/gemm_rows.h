// Gathering rows of A: the values that a block of tokens needs for a block of k, in rows of
// kRowStride steps: as float32, or bfloat16 as they are. Included by gemm_task.h alone.
#pragma once

#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/gemm_tile.h"

namespace unetd::cpu::UNETD_ISA {

// While a token is copied, the same channels of the one this much further are fetched.
constexpr uint64_t kTokensAhead = 3;

// Channels [first, first + count) of a token; those of the token at `ahead` bytes are fetched.
template <typename T>
UNETD_SIMD void CopyAs(const uint8_t* source, uint64_t ahead, uint32_t first, uint32_t count,
                       float* out) {
  const T* in = reinterpret_cast<const T*>(source) + first;
  const char* next = reinterpret_cast<const char*>(in) + ahead;
  uint32_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    PrefetchL1(next + i * sizeof(T));
    Store(out + i, Load(in + i));
  }
  if (i < count) {
    const int n = static_cast<int>(count - i);
    StorePart(out + i, LoadPart(in + i, n), n);
  }
}

// A segment's channels [first, first + count) of a token.
UNETD_SIMD void CopyChannels(const uint8_t* token, const GemmSegment& segment, uint32_t first,
                             uint32_t count, float* out) {
  const uint64_t ahead = kTokensAhead * segment.token_bytes;
  switch (segment.dtype) {
    case UNETD_DTYPE_F16:
      return CopyAs<F16>(token, ahead, first, count, out);
    case UNETD_DTYPE_BF16:
      return CopyAs<BF16>(token, ahead, first, count, out);
    default:
      return CopyAs<float>(token, ahead, first, count, out);
  }
}
UNETD_SIMD void CopyZeros(uint32_t count, float* out) {
  for (uint32_t i = 0; i < count; i += kLanes) {
    const int n = count - i < kLanes ? static_cast<int>(count - i) : kLanes;
    StorePart(out + i, Zero(), n);
  }
}

#if defined(__AVX512BF16__)
constexpr uint32_t kValues = 2 * kLanes;  // of bfloat16, a vector

UNETD_SIMD void CopyChannels(const uint8_t* token, const GemmSegment& segment, uint32_t first,
                             uint32_t count, BF16* out) {
  const BF16* in = reinterpret_cast<const BF16*>(token) + first;
  const char* next = reinterpret_cast<const char*>(in) + kTokensAhead * segment.token_bytes;
  for (uint32_t i = 0; i < count; i += kValues) {
    PrefetchL1(next + i * sizeof(BF16));
    StoreValues(out + i, LoadValues(in + i, count - i), count - i);
  }
}
UNETD_SIMD void CopyZeros(uint32_t count, BF16* out) {
  for (uint32_t i = 0; i < count; i += kValues) {
    StoreValues(out + i, _mm512_setzero_si512(), count - i);
  }
}
#endif

// Channels [begin, end) of one tap, from every segment that holds some. `base` has each segment's
// address in this row of the batch; source < 0 is padding.
template <typename Value>
UNETD_SIMD Value* CopyTap(const GemmPlan& plan, const uint8_t* const* base, int64_t source,
                          uint32_t begin, uint32_t end, Value* out) {
  uint32_t start = 0;
  for (uint32_t s = 0; s < plan.segments && start < end; ++s) {
    const GemmSegment& segment = plan.segment[s];
    const uint32_t stop = start + segment.channels;
    if (stop > begin) {
      const uint32_t from = begin > start ? begin : start;
      const uint32_t count = (end < stop ? end : stop) - from;
      if (source < 0) {
        CopyZeros(count, out);
      } else {
        CopyChannels(base[s] + static_cast<uint64_t>(source) * segment.token_bytes, segment,
                     from - start, count, out);
      }
      out += count;
    }
    start = stop;
  }
  return out;
}

// Rows m_begin.. (`rows` of them, counted over all rows of the batch), k in [k_begin, k_end). The
// last step is filled up with zeros.
template <typename Value>
void GatherRows(const GemmPlan& plan, const unetd_exec& exec, const unetd_args& args,
                uint64_t m_begin, uint32_t rows, uint32_t k_begin, uint32_t k_end, Value* out) {
  constexpr uint64_t kStride = kRowStride * sizeof(float) / sizeof(Value);
  uint32_t row = static_cast<uint32_t>(m_begin / plan.tokens);
  uint64_t token = m_begin % plan.tokens;
  const uint8_t* base[UNETD_MAX_SEGMENTS];
  bool fresh = true;
  const uint32_t first_tap = k_begin / plan.channels;
  for (uint32_t r = 0; r < rows; ++r, out += kStride) {
    if (fresh) {
      for (uint32_t s = 0; s < plan.segments; ++s) {
        const unetd_operand& operand = args.args[plan.segment[s].arg];
        base[s] = exec.spaces[operand.space][row] + operand.offset;
      }
      fresh = false;
    }
    Value* next = out;
    if (plan.y_map == nullptr) {
      next = CopyTap(plan, base, static_cast<int64_t>(token), k_begin, k_end, next);
    } else {
      const int32_t* ys = plan.y_map + token / plan.out_w * plan.kernel_h;
      const int32_t* xs = plan.x_map + token % plan.out_w * plan.kernel_w;
      uint32_t tap_k = first_tap * plan.channels;  // k of the tap's first channel
      for (uint32_t tap = first_tap; tap_k < k_end; ++tap, tap_k += plan.channels) {
        const int64_t y = ys[tap / plan.kernel_w];
        const int64_t x = xs[tap % plan.kernel_w];
        const uint32_t begin = k_begin > tap_k ? k_begin - tap_k : 0;
        const uint32_t left = k_end - tap_k;
        next = CopyTap(plan, base, y < 0 || x < 0 ? -1 : y * plan.in_w + x, begin,
                       left < plan.channels ? left : plan.channels, next);
      }
    }
    if (sizeof(Value) < sizeof(float) && (k_end - k_begin) % 2 != 0) *next = {};
    if (++token == plan.tokens) {
      token = 0;
      ++row;
      fresh = true;
    }
  }
}

}  // namespace unetd::cpu::UNETD_ISA
