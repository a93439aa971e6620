// Attention with float32 products, in two ways through a block of queries: sdpa looks at the
// softmax once a block of keys and corrects what it has when a maximum rises; math has all the
// scores first.
#include "backends/cpu/attention_kernels.h"

#include "backends/cpu/attention_online.h"

namespace unetd::cpu::UNETD_ISA {
namespace {

struct FloatProducts {
  static constexpr bool kScaled = true;  // by the queries

  static Rows BringKeys(const AttentionShape& shape, const AttentionHead& head, uint64_t first,
                        uint64_t count, float* scratch) {
    return BringRows(head.key, shape.key_dtype, shape.key_stride, first, count, shape.head_dim,
                     shape.pack_keys, scratch + shape.keys_at);
  }
  static Rows BringValues(const AttentionShape& shape, const AttentionHead& head, uint64_t first,
                          uint64_t count, float* scratch) {
    return BringRows(head.value, shape.value_dtype, shape.value_stride, first, count,
                     shape.head_dim, shape.pack_values, scratch + shape.values_at);
  }
  static void BringQueries(const AttentionShape& shape, const AttentionHead& head, uint64_t first,
                           int width, float* queries) {
    unetd::cpu::UNETD_ISA::BringQueries(shape, head, first, width, queries);
  }
  UNETD_SIMD void Scores(const AttentionShape& shape, const Rows& keys, uint64_t count,
                         const float* queries, float* scores, int width, Panel* highest) {
    unetd::cpu::UNETD_ISA::Scores(keys.data, keys.stride, count, queries, shape.head_dim, scores,
                                  width, highest);
  }
  template <bool kMasked>
  static float Log2PerScore(const AttentionShape&) {
    return kMasked ? kLog2E : 1.0f;
  }
  template <bool kMasked>
  UNETD_SIMD void Weigh(const AttentionShape&, float* scores, uint64_t count, const Panel& highest,
                        Panel* sum) {
    unetd::cpu::UNETD_ISA::Weigh<kMasked>(scores, kPanel, count, highest, scores, sum);
  }
  UNETD_SIMD void AddValues(const AttentionShape& shape, const Rows& values, uint64_t count,
                            const float* weights, float* out) {
    unetd::cpu::UNETD_ISA::AddValues(values.data, values.stride, count, weights, shape.head_dim,
                                     out);
  }
};

template <bool kMasked>
void Math(const AttentionShape& shape, const AttentionHead& head, uint64_t first, uint64_t count,
          float* scores, float* scratch) {
  const uint32_t depth = shape.head_dim;
  const uint64_t panels = (count + kPanel - 1) / kPanel;
  float* weights = scratch + shape.scores_at;
  const auto block_of = [&](const State& state, uint64_t key) {
    return scores + state.first * shape.keys + key * static_cast<uint64_t>(state.width);
  };
  for (uint64_t key = 0; key < shape.keys; key += shape.key_block) {
    const uint64_t keys = KeysFrom(shape, key);
    const Rows k = BringRows(head.key, shape.key_dtype, shape.key_stride, key, keys, depth,
                             shape.pack_keys, scratch + shape.keys_at);
    for (uint64_t p = 0; p < panels; ++p) {
      const State state = StateOf(shape, scratch, first, count, p);
      if (key == 0) Begin<FloatProducts>(shape, head, state);
      float* block = block_of(state, key);
      Panel highest = LoadPanel(state.highest), unused = highest;
      Scores(k.data, k.stride, keys, state.queries, depth, block, state.width,
             kMasked ? &unused : &highest);
      if (kMasked) {
        const MaskBlock mask =
            BringMask(shape, head, state.first, state.width, key, keys, scratch + shape.mask_at);
        AddMask<true>(mask, shape.scale, keys, block, state.width, &highest);
      }
      StorePanel(state.highest, highest);
    }
  }
  for (uint64_t key = 0; key < shape.keys; key += shape.key_block) {
    const uint64_t keys = KeysFrom(shape, key);
    const Rows v = BringRows(head.value, shape.value_dtype, shape.value_stride, key, keys, depth,
                             shape.pack_values, scratch + shape.values_at);
    for (uint64_t p = 0; p < panels; ++p) {
      const State state = StateOf(shape, scratch, first, count, p);
      Panel sum = LoadPanel(state.sum);
      Weigh<kMasked>(block_of(state, key), state.width, keys, LoadPanel(state.highest), weights,
                     &sum);
      StorePanel(state.sum, sum);
      AddValues(v.data, v.stride, keys, weights, depth, state.out);
      if (key + keys == shape.keys) {
        Finish(shape, head, state.first, state.width, state.out, sum);
      }
    }
  }
}

void RunMath(const AttentionShape& shape, const AttentionHead& head, uint64_t first, uint64_t count,
             float* scores, float* scratch) {
  if (shape.mask != 0) {
    Math<true>(shape, head, first, count, scores, scratch);
  } else {
    Math<false>(shape, head, first, count, scores, scratch);
  }
}

}  // namespace

const AttentionKernels kAttentionKernels = {kPanel, RunSdpa<FloatProducts>, RunMath};

}  // namespace unetd::cpu::UNETD_ISA
