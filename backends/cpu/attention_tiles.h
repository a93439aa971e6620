// The pieces of attention's kernels. Lanes are queries: a panel of kPanel queries is held
// transposed ([head_dim][kPanel]), so that the scores of one key against the panel are a dot
// product a lane, and the softmax needs no step across lanes. Sums are of floats, or of BF16Pairs:
// then two neighbours of a sum, of head_dim or of keys, lie in one 32-bit lane. For x_kernels.cc
// files only.
#pragma once

#include "backends/cpu/attention_kernels.h"
#include "backends/cpu/simd_pairs.h"
#include "backends/cpu/typed_rows.h"

namespace unetd::cpu::UNETD_ISA {

constexpr int kPanelVecs = 2;
constexpr int kPanel = kPanelVecs * kLanes;
constexpr int kTile = kRegisters == 32 ? 8 : 6;  // rows a register tile
constexpr float kLog2E = 1.44269504088896341f;

struct Panel {
  Vec v[kPanelVecs];
};
#define UNETD_EACH_VEC(n) for (int n = 0; n < kPanelVecs; ++n)

UNETD_SIMD int AtMost(uint64_t value, int limit) {
  return value < static_cast<uint64_t>(limit) ? static_cast<int>(value) : limit;
}
// Lanes of vector n that lie within the first `width` of a panel.
UNETD_SIMD int LanesOf(int width, int n) {
  const int left = width - n * kLanes;
  return left < 0 ? 0 : left > kLanes ? kLanes : left;
}
UNETD_SIMD Panel LoadPanel(const float* p) {
  Panel x;
  UNETD_EACH_VEC(n) x.v[n] = Load(p + n * kLanes);
  return x;
}
UNETD_SIMD void StorePanel(float* p, const Panel& x) {
  UNETD_EACH_VEC(n) Store(p + n * kLanes, x.v[n]);
}

// scores[r][lane] = sum over d of keys[r][d] * queries[d][lane], for `width` lanes of rows that are
// `width` long. Item: float or BF16Pair.
template <int R, typename Item>
UNETD_SIMD void ScoreRows(const Item* keys, uint64_t stride, const Item* queries, uint32_t depth,
                          float* scores, int width, Panel* highest) {
  Vec sum[R][kPanelVecs];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    UNETD_EACH_VEC(n) sum[r][n] = Zero();
  }
  for (uint32_t d = 0; d < depth; ++d) {
    decltype(Load(queries)) q[kPanelVecs];
    UNETD_EACH_VEC(n) q[n] = Load(queries + d * kPanel + n * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto key = Set1(keys[r * stride + d]);
      UNETD_EACH_VEC(n) sum[r][n] = Fma(key, q[n], sum[r][n]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    UNETD_EACH_VEC(n) {
      highest->v[n] = Max(highest->v[n], sum[r][n]);
      float* row = scores + r * width + n * kLanes;
      if (width == kPanel) {
        Store(row, sum[r][n]);
      } else if (LanesOf(width, n) > 0) {
        StorePart(row, sum[r][n], LanesOf(width, n));
      }
    }
  }
}

// out[r][lane] += sum over j of values[j][r] * weights[j][lane]; values' rows are `stride` apart.
template <int R, typename Item>
UNETD_SIMD void OutRows(const Item* values, uint64_t stride, const Item* weights, uint64_t count,
                        float* out) {
  Vec sum[R][kPanelVecs];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    UNETD_EACH_VEC(n) sum[r][n] = Load(out + r * kPanel + n * kLanes);
  }
  for (uint64_t j = 0; j < count; ++j) {
    decltype(Load(weights)) p[kPanelVecs];
    UNETD_EACH_VEC(n) p[n] = Load(weights + j * kPanel + n * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto value = Set1(values[j * stride + r]);
      UNETD_EACH_VEC(n) sum[r][n] = Fma(value, p[n], sum[r][n]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    UNETD_EACH_VEC(n) Store(out + r * kPanel + n * kLanes, sum[r][n]);
  }
}

template <int R, typename Item>
void ScoreTile(int rows, const Item* keys, uint64_t stride, const Item* queries, uint32_t depth,
               float* scores, int width, Panel* highest) {
  if (rows == R) {
    ScoreRows<R>(keys, stride, queries, depth, scores, width, highest);
  } else if constexpr (R > 1) {
    ScoreTile<R - 1>(rows, keys, stride, queries, depth, scores, width, highest);
  }
}
template <int R, typename Item>
void OutTile(int rows, const Item* values, uint64_t stride, const Item* weights, uint64_t count,
             float* out) {
  if (rows == R) {
    OutRows<R>(values, stride, weights, count, out);
  } else if constexpr (R > 1) {
    OutTile<R - 1>(rows, values, stride, weights, count, out);
  }
}

// All keys of a block against one panel; `highest` is raised to the largest score of each lane.
// Strides and `depth` (head_dim) are counted in Items.
template <typename Item>
UNETD_SIMD void Scores(const Item* keys, uint64_t stride, uint64_t count, const Item* queries,
                       uint32_t depth, float* scores, int width, Panel* highest) {
  const uint64_t tiles = (count + kTile - 1) / kTile;
  for (uint64_t t = 0; t < tiles; ++t) {
    const uint64_t begin = count * t / tiles, end = count * (t + 1) / tiles;
    ScoreTile<kTile>(static_cast<int>(end - begin), keys + begin * stride, stride, queries, depth,
                     scores + begin * static_cast<uint64_t>(width), width, highest);
  }
}
// `count` is counted in Items, `depth` is head_dim.
template <typename Item>
UNETD_SIMD void AddValues(const Item* values, uint64_t stride, uint64_t count, const Item* weights,
                          uint32_t depth, float* out) {
  const uint32_t tiles = (depth + kTile - 1) / kTile;
  for (uint32_t t = 0; t < tiles; ++t) {
    const uint64_t begin = uint64_t{depth} * t / tiles, end = uint64_t{depth} * (t + 1) / tiles;
    OutTile<kTile>(static_cast<int>(end - begin), values + begin, stride, weights, count,
                   out + begin * kPanel);
  }
}

// ---- in and out ----

// queries[d][lane] = scale * source[lane][d]; lanes from `width` on are zeros.
template <typename T>
void PackPanel(const T* source, uint64_t stride, int width, uint32_t depth, float scale,
               float* queries) {
  const Vec factor = Set1(scale);
  UNETD_EACH_VEC(n) {
    const int lanes = LanesOf(width, n);
    const T* rows = source + static_cast<uint64_t>(n * kLanes) * stride;
    for (uint32_t d = 0; d < depth; d += kLanes) {
      const int channels = AtMost(depth - d, kLanes);
      Vec square[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        square[i] =
            i < lanes ? LoadPart(rows + static_cast<uint64_t>(i) * stride + d, channels) : Zero();
      }
      Transpose(square);
      for (int i = 0; i < channels; ++i) {
        Store(queries + (d + static_cast<uint32_t>(i)) * kPanel + n * kLanes, square[i] * factor);
      }
    }
  }
}

// dst[lane][d] = out[d][lane] / sum[lane]
template <typename T>
void WritePanel(const float* out, const Panel& sum, int width, uint32_t depth, T* dst,
                uint64_t stride) {
  UNETD_EACH_VEC(n) {
    const int lanes = LanesOf(width, n);
    T* rows = dst + static_cast<uint64_t>(n * kLanes) * stride;
    const Vec factor = Set1(1.0f) / sum.v[n];
    for (uint32_t d = 0; d < depth; d += kLanes) {
      const int channels = AtMost(depth - d, kLanes);
      Vec square[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        square[i] = i < channels
                        ? Load(out + (d + static_cast<uint32_t>(i)) * kPanel + n * kLanes) * factor
                        : Zero();
      }
      Transpose(square);
      for (int i = 0; i < lanes; ++i) {
        StorePart(rows + static_cast<uint64_t>(i) * stride + d, square[i], channels);
      }
    }
  }
}

// rows[j][0..depth) = source[j][0..depth) as floats; rows are PackedStride(depth) apart, zeros
// between.
template <typename T>
void PackRows(const T* source, uint64_t stride, uint64_t count, uint32_t depth, float* rows) {
  for (uint64_t j = 0; j < count; ++j, source += stride) {
    uint32_t d = 0;
    for (; d + kLanes <= depth; d += kLanes, rows += kLanes) Store(rows, Load(source + d));
    if (d < depth) {
      Store(rows, LoadPart(source + d, static_cast<int>(depth - d)));
      rows += kLanes;
    }
  }
}
UNETD_SIMD uint64_t PackedStride(uint32_t depth) {
  return (uint64_t{depth} + kLanes - 1) / kLanes * kLanes;
}

}  // namespace unetd::cpu::UNETD_ISA
