// Custom Diffusion: some projections are trained ones from the rule's file, the others the layer's.
// Linears take their weights from both stores, so a variant costs its trained tensors alone.
#include "server/attention/attention_layer.h"
#include "server/attention/binding.h"
#include "server/attention/trained_weights.h"

namespace unetd {
namespace {

LinearSegment Segment(const AttentionLayer& layer, const LayerBinding& binding, bool trained,
                      const char* own, const char* custom) {
  if (!trained) return OwnProjection(layer, own);
  LinearSegment segment;
  segment.weight = {TrainedName(layer, custom), binding.weights.get()};
  segment.out = layer.inner_dim();
  return segment;
}

}  // namespace

Streams ProjectCustomDiffusion(PlanBuilder& builder, const AttentionLayer& layer,
                               const LayerBinding& binding, const ProjectionInput& in) {
  const uint32_t width = layer.inner_dim();
  const bool kv_trained = binding.options.train_kv.value_or(false);
  LinearSpec q, kv;
  q.segments = {
      Segment(layer, binding, binding.options.train_q_out.value_or(false), "to_q", kTrainedQ)};
  kv.segments = {Segment(layer, binding, kv_trained, "to_k", kTrainedK),
                 Segment(layer, binding, kv_trained, "to_v", kTrainedV)};
  if (!in.text.present()) {
    q.segments.insert(q.segments.end(), kv.segments.begin(), kv.segments.end());
    const Value qkv = builder.Linear(in.x, q);
    return {SliceChannels(qkv, 0, width), SliceChannels(qkv, width, width),
            SliceChannels(qkv, 2 * width, width)};
  }
  const Value both = builder.Linear(in.text, kv);
  return {builder.Linear(in.x, q), SliceChannels(both, 0, width),
          SliceChannels(both, width, width)};
}

LinearSegment CustomDiffusionOut(const AttentionLayer& layer, const LayerBinding& binding) {
  if (!binding.options.train_q_out.value_or(false)) return OwnProjection(layer, "to_out.0");
  LinearSegment segment;
  segment.weight = {TrainedName(layer, kTrainedOut), binding.weights.get()};
  if (binding.options.out_bias.value_or(false)) {
    segment.bias = {TrainedName(layer, kTrainedOutBias), binding.weights.get()};
  }
  segment.out = layer.query_dim;
  return segment;
}

}  // namespace unetd
