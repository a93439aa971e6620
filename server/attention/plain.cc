// q of the layer's input; k and v of the text, or of the input where there is none.
#include "server/attention/attention_layer.h"

namespace unetd {

Streams ProjectPlain(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding&,
                     const ProjectionInput& in) {
  const uint32_t width = layer.inner_dim();
  if (!in.text.present()) {
    const Value qkv = ProjectTogether(builder, layer, in.x, {"to_q", "to_k", "to_v"});
    return {SliceChannels(qkv, 0, width), SliceChannels(qkv, width, width),
            SliceChannels(qkv, 2 * width, width)};
  }
  // The text alone decides k and v, so they land in the condition section.
  const Value q = ProjectTogether(builder, layer, in.x, {"to_q"});
  const Value kv = ProjectTogether(builder, layer, in.text, {"to_k", "to_v"});
  return {q, SliceChannels(kv, 0, width), SliceChannels(kv, width, width)};
}

}  // namespace unetd
