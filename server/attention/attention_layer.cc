#include "server/attention/attention_layer.h"

#include <cmath>

#include "server/attention/binding.h"
#include "server/attention/processor_table.h"

namespace unetd {
namespace {

ProjectFunction FunctionOf(Projection projection) {
  switch (projection) {
    case Projection::kFused:
      return ProjectFused;
    case Projection::kPlain:
      break;
  }
  return ProjectPlain;
}

}  // namespace

Value ProjectTogether(PlanBuilder& builder, const AttentionLayer& layer, const Value& x,
                      std::initializer_list<const char*> names) {
  LinearSpec spec;
  for (const char* name : names) {
    spec.segments.push_back({{layer.name + "." + name + ".weight"}, {}, layer.inner_dim()});
  }
  return builder.Linear(x, spec);
}

Value EmitAttention(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding& binding,
                    const Value& x, const AttentionContext& context) {
  const ProcessorRow& row = *binding.processor;
  builder.SetLayer(layer.name);
  const Streams streams = FunctionOf(row.projection)(builder, layer, x, context.text);

  AttentionSpec spec;
  spec.algorithm = row.algorithm;
  spec.heads = layer.heads;
  spec.head_dim = layer.head_dim;
  spec.scale =
      row.Has(kScaleOfLayer) ? layer.scale : 1.0f / std::sqrt(static_cast<float>(layer.head_dim));
  spec.slice_size = binding.options.slice_size;
  spec.upcast_scores = row.Has(kHonoursUpcast) && layer.upcast_attention;
  spec.mask = context.mask;
  spec.backends = binding.backends;
  spec.fallback_to_sdpa = binding.fallback_to_sdpa;
  const Value heads = builder.Attention(streams.q, streams.k, streams.v, spec);

  LinearSpec out;
  out.segments = {
      {{layer.name + ".to_out.0.weight"}, {layer.name + ".to_out.0.bias"}, layer.query_dim}};
  out.residual = context.residual;
  return builder.Linear(heads, out);
}

}  // namespace unetd
