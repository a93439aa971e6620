#include "server/attention/attention_layer.h"

#include <cmath>
#include <string_view>

#include "server/attention/binding.h"
#include "server/attention/layer_mask.h"
#include "server/attention/processor_table.h"

namespace unetd {
namespace {

constexpr uint32_t kTextNormGroups = 32;  // of norm_cross: no UNet says another number
constexpr float kTextNormEps = 1e-5f;

ProjectFunction FunctionOf(Projection projection) {
  switch (projection) {
    case Projection::kFused:
      return ProjectFused;
    case Projection::kAddedKv:
      return ProjectAddedKv;
    case Projection::kCrossFrame:
      return ProjectCrossFrame;
    case Projection::kCustomDiffusion:
      return ProjectCustomDiffusion;
    case Projection::kPlain:
      break;
  }
  return ProjectPlain;
}

Value NormInput(PlanBuilder& builder, const AttentionLayer& layer, const Value& x) {
  if (layer.norm_groups == 0) return x;
  GroupNormSpec spec;
  spec.gamma = {layer.name + ".group_norm.weight"};
  spec.beta = {layer.name + ".group_norm.bias"};
  spec.groups = layer.norm_groups;
  spec.eps = layer.norm_eps;
  return builder.GroupNorm(x, spec);
}

Value NormText(PlanBuilder& builder, const AttentionLayer& layer, const Value& text) {
  if (!text.present() || layer.norm_cross == NormCross::kNone) return text;
  const WeightRef gamma = {layer.name + ".norm_cross.weight"};
  const WeightRef beta = {layer.name + ".norm_cross.bias"};
  if (layer.norm_cross == NormCross::kLayerNorm) {
    return builder.LayerNorm(text, gamma, beta, kTextNormEps);
  }
  GroupNormSpec spec;
  spec.gamma = gamma;
  spec.beta = beta;
  spec.groups = kTextNormGroups;
  spec.eps = kTextNormEps;
  return builder.GroupNorm(text, spec);
}

// to_out, the layer's own residual and rescaling, then the residual of the block around it.
Value EmitOutput(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding& binding,
                 const Value& heads, const Value& x, const Value& block_residual) {
  const bool added = binding.processor->projection == Projection::kAddedKv;
  const Value own = added || layer.residual_connection ? x : Value{};
  const float factor = added ? 1.0f : layer.rescale_output_factor;
  LinearSpec spec;
  spec.segments = {binding.processor->projection == Projection::kCustomDiffusion
                       ? CustomDiffusionOut(layer, binding)
                       : OwnProjection(layer, "to_out.0")};
  spec.out_scale = 1.0f / factor;
  const bool one = !own.present() && factor == 1.0f;
  spec.residual = one ? block_residual : own;
  const Value out = builder.Linear(heads, spec);
  return one || !block_residual.present() ? out : builder.Add(out, block_residual);
}

}  // namespace

LinearSegment OwnProjection(const AttentionLayer& layer, const char* name) {
  const std::string module = layer.name + "." + name;
  const std::string_view kind = name;
  const bool out = kind.starts_with("to_out");
  LinearSegment segment;
  segment.weight = {module + ".weight"};
  if (out || layer.qkv_bias || kind.starts_with("add_")) segment.bias = {module + ".bias"};
  segment.out = out ? layer.query_dim : layer.inner_dim();
  return segment;
}

Value ProjectTogether(PlanBuilder& builder, const AttentionLayer& layer, const Value& x,
                      std::initializer_list<const char*> names) {
  LinearSpec spec;
  for (const char* name : names) spec.segments.push_back(OwnProjection(layer, name));
  return builder.Linear(x, spec);
}

Value EmitAttention(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding& binding,
                    const Value& x, const AttentionContext& context) {
  const ProcessorRow& row = *binding.processor;
  builder.SetLayer(layer.name);
  const ProjectionInput input = {x, NormInput(builder, layer, x),
                                 NormText(builder, layer, context.text)};
  Streams streams = FunctionOf(row.projection)(builder, layer, binding, input);
  const Value mask =
      EmitLayerMask(builder, layer, binding, context.mask, x.tokens(), context.text, streams);

  AttentionSpec spec;
  spec.algorithm = binding.algorithm;
  spec.heads = layer.heads;
  spec.head_dim = layer.head_dim;
  spec.scale =
      row.Has(kScaleOfLayer) ? layer.scale : 1.0f / std::sqrt(static_cast<float>(layer.head_dim));
  spec.slice_size = binding.options.slice_size;
  spec.upcast_scores = row.Has(kHonoursUpcast) && (layer.upcast_attention || layer.upcast_softmax);
  spec.bool_mask = mask.present() && binding.algorithm == UNETD_ATTENTION_NPU;
  spec.op = binding.options.attention_op;
  spec.compute = binding.options.compute;
  spec.mask = mask;
  spec.backends = binding.backends;
  spec.fallback_to_sdpa = binding.fallback_to_sdpa;
  const Value heads = builder.Attention(streams.q, streams.k, streams.v, spec);
  return EmitOutput(builder, layer, binding, heads, x, context.residual);
}

}  // namespace unetd
