// What sdpa and math do alike with a block of queries: bring in queries, keys, values and masks,
// and write the result. For x_kernels.cc files only.
#pragma once

#include "backends/cpu/attention_tiles.h"

namespace unetd::cpu::UNETD_ISA {

// Rows of floats, `stride` apart.
struct Rows {
  const float* data;
  uint64_t stride;
};

// Keys or values [first, first + count): where they lie, or packed into `room`.
UNETD_SIMD Rows BringRows(const void* source, int32_t dtype, uint64_t stride, uint64_t first,
                          uint64_t count, uint32_t depth, bool pack, float* room) {
  if (!pack) return {static_cast<const float*>(source) + first * stride, stride};
  WithType(source, dtype, [&](const auto* typed) {
    PackRows(typed + first * stride, stride, count, depth, room);
  });
  return {room, PackedStride(depth)};
}

// Without a mask the scores come out in units of log2, so that the softmax is 2^(s - max). With one
// they are as they are, mask added, for the same rounding as softmax(scale * q k + mask): masks of
// -10000 round the scores away.
UNETD_SIMD float QueryScale(const AttentionShape& shape) {
  return shape.mask != 0 ? shape.scale : shape.scale * kLog2E;
}

// Queries of one panel, from token `first`.
UNETD_SIMD void BringQueries(const AttentionShape& shape, const AttentionHead& head, uint64_t first,
                             int width, float* queries) {
  WithType(head.query, shape.query_dtype, [&](const auto* typed) {
    PackPanel(typed + first * shape.query_stride, shape.query_stride, width, shape.head_dim,
              QueryScale(shape), queries);
  });
}

// What is added to the scores of keys [first_key, first_key + keys) for the `width` queries from
// `first_query`: one float a key where `step` is 0, else a panel a key.
struct MaskBlock {
  const float* data;
  uint64_t step;
};
UNETD_SIMD MaskBlock BringMask(const AttentionShape& shape, const AttentionHead& head,
                               uint64_t first_query, int width, uint64_t first_key, uint64_t keys,
                               float* room) {
  if (shape.mask != 2) return {head.mask + first_key, 0};
  const float* mask = head.mask + first_query * shape.mask_stride + first_key;
  for (uint64_t j = 0; j < keys; j += kLanes) {
    const int columns = AtMost(keys - j, kLanes);
    UNETD_EACH_VEC(n) {
      Vec square[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        const int query = n * kLanes + i;
        square[i] =
            query < width
                ? LoadPart(mask + static_cast<uint64_t>(query) * shape.mask_stride + j, columns)
                : Zero();
      }
      Transpose(square);
      for (int i = 0; i < columns; ++i) {
        Store(room + (j + static_cast<uint64_t>(i)) * kPanel + n * kLanes, square[i]);
      }
    }
  }
  return {room, kPanel};
}

// scores = scores * scale + mask, rows of `width` lanes; `highest` is raised. Scores that come
// scaled are left so.
template <bool kScaled>
UNETD_SIMD void AddMask(const MaskBlock& mask, float scale, uint64_t count, float* scores,
                        int width, Panel* highest) {
  for (uint64_t j = 0; j < count; ++j, scores += width) {
    UNETD_EACH_VEC(n) {
      const int lanes = LanesOf(width, n);
      if (lanes == 0) continue;
      const Vec add =
          mask.step == 0 ? Set1(mask.data[j]) : Load(mask.data + j * kPanel + n * kLanes);
      Vec s = LoadPart(scores + n * kLanes, lanes);
      s = kScaled ? s + add : Fma(s, Set1(scale), add);
      StorePart(scores + n * kLanes, s, lanes);
      highest->v[n] = Max(highest->v[n], s);
    }
  }
}

// weights[j][lane] = e^(scores[j][lane] - highest[lane]), added up in `sum`. They may be the same
// memory if width is kPanel.
template <bool kMasked>
UNETD_SIMD void Weigh(const float* scores, int width, uint64_t count, const Panel& highest,
                      float* weights, Panel* sum) {
  for (uint64_t j = 0; j < count; ++j, scores += width, weights += kPanel) {
    UNETD_EACH_VEC(n) {
      const Vec s = width == kPanel ? Load(scores + n * kLanes)
                                    : LoadPart(scores + n * kLanes, LanesOf(width, n));
      Vec x = s - highest.v[n];
      if (kMasked) x = x * Set1(kLog2E);
      const Vec p = Exp2(x);
      sum->v[n] = sum->v[n] + p;
      Store(weights + n * kLanes, p);
    }
  }
}

// Writes one panel of dst, from token `first`.
UNETD_SIMD void Finish(const AttentionShape& shape, const AttentionHead& head, uint64_t first,
                       int width, const float* out, const Panel& sum) {
  WithMutableType(head.dst, shape.dst_dtype, [&](auto* typed) {
    WritePanel(out, sum, width, shape.head_dim, typed + first * shape.dst_stride, shape.dst_stride);
  });
}

// Rows [first, last) of a head towards L2: they lie far apart, so the hardware does not foresee
// them.
UNETD_SIMD void PrefetchHead(const void* source, int32_t dtype, uint64_t stride, uint32_t depth,
                             uint64_t first, uint64_t last) {
  const uint64_t bytes = DTypeBytes(dtype);
  const char* row = static_cast<const char*>(source) + first * stride * bytes;
  for (uint64_t j = first; j < last; ++j, row += stride * bytes) {
    for (uint64_t at = 0; at < depth * bytes; at += 64) PrefetchL2(row + at);
    PrefetchL2(row + depth * bytes - 1);
  }
}

}  // namespace unetd::cpu::UNETD_ISA
