// sdpa where queries, keys and values are bfloat16 and the CPU multiplies them in pairs: neighbours
// of head_dim for the scores, neighbouring keys for the result. Scores, softmax and sums are
// float32; what multiplies the values, the softmax's weights, is rounded to bfloat16.
#include "backends/cpu/attention_kernels.h"
#include "backends/cpu/attention_online.h"

namespace unetd::cpu::UNETD_ISA {
namespace {

constexpr uint32_t kValues = 2 * kLanes;  // of bfloat16, a vector

// Rows of pairs, `stride` pairs apart.
struct PairRows {
  const BF16Pair* data;
  uint64_t stride;
};

uint32_t PairsOf(uint32_t depth) { return (depth + 1) / 2; }
uint64_t PackedPairs(uint32_t depth) { return (uint64_t{depth} + kValues - 1) / kValues * kLanes; }
const BF16* Values(const void* p, uint64_t at) { return static_cast<const BF16*>(p) + at; }
BF16Pair* AsPairs(float* p) { return reinterpret_cast<BF16Pair*>(p); }

// The sign that queries take over from shape.scale, in both values of every pair.
__m512i Signs(float scale) { return _mm512_set1_epi16(scale < 0 ? INT16_MIN : 0); }

struct PairProducts {
  static constexpr bool kScaled = false;  // the scale's size would cost queries their last digits

  static PairRows BringKeys(const AttentionShape& shape, const AttentionHead& head, uint64_t first,
                            uint64_t count, float* scratch) {
    const BF16* rows = Values(head.key, first * shape.key_stride);
    if (!shape.pack_keys) {
      return {reinterpret_cast<const BF16Pair*>(rows), shape.key_stride / 2};
    }
    const PairRows packed = {AsPairs(scratch + shape.keys_at), PackedPairs(shape.head_dim)};
    BF16* out = reinterpret_cast<BF16*>(scratch + shape.keys_at);
    for (uint64_t j = 0; j < count; ++j, rows += shape.key_stride) {
      for (uint32_t d = 0; d < shape.head_dim; d += kValues, out += kValues) {
        StoreValues(out, LoadValues(rows + d, shape.head_dim - d), kValues);
      }
    }
    return packed;
  }

  // [key / 2][head_dim] pairs of neighbouring keys; after an odd last key comes a zero.
  static PairRows BringValues(const AttentionShape& shape, const AttentionHead& head,
                              uint64_t first, uint64_t count, float* scratch) {
    const uint64_t stride = (uint64_t{shape.head_dim} + kLanes - 1) / kLanes * kLanes;
    BF16Pair* out = AsPairs(scratch + shape.values_at);
    for (uint64_t j = 0; j < count; j += 2, out += stride) {
      const BF16* one = Values(head.value, (first + j) * shape.value_stride);
      const BF16* other = one + shape.value_stride;
      for (uint32_t d = 0; d < shape.head_dim; d += kLanes) {
        const int n = AtMost(shape.head_dim - d, kLanes);
        const auto load = [&](const BF16* row) __attribute__((always_inline)) {
          return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(FirstLanes(n), row + d));
        };
        const __m512i next =
            j + 1 < count ? _mm512_slli_epi32(load(other), 16) : _mm512_setzero_si512();
        Store(out + d, _mm512_or_si512(load(one), next));
      }
    }
    return {AsPairs(scratch + shape.values_at), stride};
  }

  // [head_dim / 2][panel] pairs.
  static void BringQueries(const AttentionShape& shape, const AttentionHead& head, uint64_t first,
                           int width, float* queries) {
    const __m512i signs = Signs(shape.scale);
    BF16Pair* out = AsPairs(queries);
    UNETD_EACH_VEC(n) {
      const int lanes = LanesOf(width, n);
      const BF16* rows =
          Values(head.query, (first + static_cast<uint64_t>(n * kLanes)) * shape.query_stride);
      for (uint32_t d = 0; d < shape.head_dim; d += kValues) {
        Vec square[kLanes];
        for (int i = 0; i < kLanes; ++i) {
          const BF16* row = rows + static_cast<uint64_t>(i) * shape.query_stride + d;
          square[i] = i < lanes ? _mm512_castsi512_ps(LoadValues(row, shape.head_dim - d)) : Zero();
        }
        Transpose(square);
        const int pairs = AtMost(PairsOf(shape.head_dim - d), kLanes);
        for (int i = 0; i < pairs; ++i) {
          const __m512i pair = _mm512_xor_si512(_mm512_castps_si512(square[i]), signs);
          Store(out + (d / 2 + static_cast<uint32_t>(i)) * kPanel + n * kLanes, pair);
        }
      }
    }
  }

  UNETD_SIMD void Scores(const AttentionShape& shape, const PairRows& keys, uint64_t count,
                         const float* queries, float* scores, int width, Panel* highest) {
    unetd::cpu::UNETD_ISA::Scores(keys.data, keys.stride, count,
                                  reinterpret_cast<const BF16Pair*>(queries),
                                  PairsOf(shape.head_dim), scores, width, highest);
  }

  template <bool kMasked>
  static float Log2PerScore(const AttentionShape& shape) {
    return kMasked ? kLog2E : __builtin_fabsf(shape.scale) * kLog2E;
  }

  // Two rows of scores become one of pairs of weights, in the same memory.
  template <bool kMasked>
  static void Weigh(const AttentionShape& shape, float* scores, uint64_t count,
                    const Panel& highest, Panel* sum) {
    const Vec unit = Set1(Log2PerScore<kMasked>(shape));
    BF16Pair* weights = AsPairs(scores);
    for (uint64_t j = 0; j < count; j += 2, scores += 2 * kPanel, weights += kPanel) {
      UNETD_EACH_VEC(n) {
        const Vec origin = Zero() - highest.v[n] * unit;
        const auto weight = [&](const float* row) __attribute__((always_inline)) {
          return Exp2Short(Fma(Load(row + n * kLanes), unit, origin));
        };
        const Vec one = weight(scores);
        const Vec other = j + 1 < count ? weight(scores + kPanel) : Zero();
        sum->v[n] = sum->v[n] + (one + other);
        Store(weights + n * kLanes, PairUp(one, other));
      }
    }
  }

  UNETD_SIMD void AddValues(const AttentionShape& shape, const PairRows& values, uint64_t count,
                            const float* weights, float* out) {
    unetd::cpu::UNETD_ISA::AddValues(values.data, values.stride, (count + 1) / 2,
                                     reinterpret_cast<const BF16Pair*>(weights), shape.head_dim,
                                     out);
  }
};

}  // namespace

const AttentionKernels kAttentionKernels = {kPanel, RunSdpa<PairProducts>, nullptr};

}  // namespace unetd::cpu::UNETD_ISA
