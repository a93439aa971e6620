// A block of queries on its way through blocks of keys, with a softmax that is corrected when a
// maximum rises. For x_kernels.cc files only; each says how it multiplies:
//   struct Products {
//     // Of a row of keys or values in a block; what BringKeys and BringValues give.
//     static auto BringKeys(shape, head, first key, keys, scratch), BringValues(...);
//     static void BringQueries(shape, head, first query, width, queries);  // one panel
//     // Dot products, which shape.scale has been applied to if kScaled.
//     static constexpr bool kScaled;
//     static void Scores(shape, keys brought, count, queries, scores, width, highest);
//     template <bool kMasked> static float Log2PerScore(shape);  // 2^that is a weight's unit
//     // Scores become weights, as AddValues wants them, added up in `sum`.
//     template <bool kMasked> static void Weigh(shape, scores, count, highest, sum);
//     static void AddValues(shape, values brought, count, weights, out);
//   };
#pragma once

#include "backends/cpu/attention_blocks.h"

namespace unetd::cpu::UNETD_ISA {

constexpr float kInfinity = __builtin_inff();

// In a lane whose keys are all masked away (-inf) so far, the maximum is taken as 0: weights come
// out 0, not NaN.
UNETD_SIMD Panel Finite(const Panel& highest) {
  Panel x;
  UNETD_EACH_VEC(n) { x.v[n] = Select(Less(Set1(-kInfinity), highest.v[n]), highest.v[n], Zero()); }
  return x;
}

// What has been summed with an older maximum is brought to the new one; a lane whose maximum stays
// is multiplied by 1.
UNETD_SIMD void Rescale(const Panel& from, const Panel& to, float log2_per_score, uint32_t depth,
                        float* out, Panel* sum) {
  Panel factor;
  UNETD_EACH_VEC(n) {
    factor.v[n] = Exp2((from.v[n] - to.v[n]) * Set1(log2_per_score));
    sum->v[n] = sum->v[n] * factor.v[n];
  }
  for (uint32_t d = 0; d < depth; ++d) {
    float* row = out + d * kPanel;
    UNETD_EACH_VEC(n) Store(row + n * kLanes, Load(row + n * kLanes) * factor.v[n]);
  }
}

// One panel of queries on its way through the blocks of keys.
struct State {
  float* queries;  // as Products has them, at most [head_dim][kPanel]
  float* out;      // [head_dim][kPanel]
  float* highest;  // [kPanel]
  float* sum;      // [kPanel]
  uint64_t first;  // its first query
  int width;       // queries in it
};
UNETD_SIMD State StateOf(const AttentionShape& shape, float* scratch, uint64_t first,
                         uint64_t count, uint64_t panel) {
  const uint64_t floats = uint64_t{shape.head_dim} * kPanel;
  return {scratch + shape.queries_at + panel * floats,
          scratch + shape.out_at + panel * floats,
          scratch + shape.max_at + panel * kPanel,
          scratch + shape.sum_at + panel * kPanel,
          first + panel * kPanel,
          AtMost(count - panel * kPanel, kPanel)};
}
template <typename Products>
UNETD_SIMD void Begin(const AttentionShape& shape, const AttentionHead& head, const State& state) {
  Products::BringQueries(shape, head, state.first, state.width, state.queries);
  __builtin_memset(state.out, 0, sizeof(float) * kPanel * shape.head_dim);
  UNETD_EACH_VEC(n) {
    Store(state.highest + n * kLanes, Set1(-kInfinity));
    Store(state.sum + n * kLanes, Zero());
  }
}
UNETD_SIMD uint64_t KeysFrom(const AttentionShape& shape, uint64_t key) {
  return key + shape.key_block < shape.keys ? shape.key_block : shape.keys - key;
}

template <typename Products, bool kMasked>
void Sdpa(const AttentionShape& shape, const AttentionHead& head, uint64_t first, uint64_t count,
          float* scratch) {
  const uint32_t depth = shape.head_dim;
  const uint64_t panels = (count + kPanel - 1) / kPanel;
  float* scores = scratch + shape.scores_at;
  for (uint64_t key = 0; key < shape.keys; key += shape.key_block) {
    const uint64_t keys = KeysFrom(shape, key), next = key + keys;
    const uint64_t coming = next < shape.keys ? KeysFrom(shape, next) : 0;
    const auto k = Products::BringKeys(shape, head, key, keys, scratch);
    const auto v = Products::BringValues(shape, head, key, keys, scratch);
    for (uint64_t p = 0; p < panels; ++p) {
      const State state = StateOf(shape, scratch, first, count, p);
      if (key == 0) Begin<Products>(shape, head, state);
      const uint64_t from = next + coming * p / panels, to = next + coming * (p + 1) / panels;
      PrefetchHead(head.key, shape.key_dtype, shape.key_stride, depth, from, to);
      PrefetchHead(head.value, shape.value_dtype, shape.value_stride, depth, from, to);

      if (key == 0 && p + 1 < panels) {
        const State after = StateOf(shape, scratch, first, count, p + 1);
        PrefetchHead(head.query, shape.query_dtype, shape.query_stride, depth, after.first,
                     after.first + static_cast<uint64_t>(after.width));
      }
      if (next == shape.keys) {
        PrefetchHead(head.dst, shape.dst_dtype, shape.dst_stride, depth, state.first,
                     state.first + static_cast<uint64_t>(state.width));
      }

      const Panel before = LoadPanel(state.highest);
      Panel highest = before, unused = before;
      Products::Scores(shape, k, keys, state.queries, scores, kPanel, kMasked ? &unused : &highest);
      if (kMasked) {
        const MaskBlock mask =
            BringMask(shape, head, state.first, state.width, key, keys, scratch + shape.mask_at);
        // A negative scale's sign is the queries'.
        AddMask<Products::kScaled>(mask, __builtin_fabsf(shape.scale), keys, scores, kPanel,
                                   &highest);
      }
      Panel sum = LoadPanel(state.sum);
      const Panel finite = Finite(highest);
      bool rises = false;
      UNETD_EACH_VEC(n) rises = rises || Any(Less(before.v[n], highest.v[n]));
      if (rises) {
        if (key != 0) {
          Rescale(before, finite, Products::template Log2PerScore<kMasked>(shape), depth, state.out,
                  &sum);
        }
        StorePanel(state.highest, highest);
      }
      Products::template Weigh<kMasked>(shape, scores, keys, finite, &sum);
      StorePanel(state.sum, sum);
      Products::AddValues(shape, v, keys, scores, state.out);
      if (next == shape.keys) {
        // Where no key at all had a weight the result is 0, as torch's.
        UNETD_EACH_VEC(n) {
          sum.v[n] = Select(Less(Zero(), sum.v[n]), sum.v[n], sum.v[n] + Set1(1.0f));
        }
        Finish(shape, head, state.first, state.width, state.out, sum);
      }
    }
  }
}

template <typename Products>
void RunSdpa(const AttentionShape& shape, const AttentionHead& head, uint64_t first, uint64_t count,
             float* scratch) {
  if (shape.mask != 0) {
    Sdpa<Products, true>(shape, head, first, count, scratch);
  } else {
    Sdpa<Products, false>(shape, head, first, count, scratch);
  }
}

}  // namespace unetd::cpu::UNETD_ISA
