// Text2Video-Zero: the rows of a request are videos of group_size // batch_size frames, and in
// self-attention every frame reads the keys and values of its video's first one.
#include "server/attention/attention_layer.h"
#include "server/attention/binding.h"

namespace unetd {

Streams ProjectCrossFrame(PlanBuilder& builder, const AttentionLayer& layer,
                          const LayerBinding& binding, const ProjectionInput& in) {
  if (in.text.present()) return ProjectPlain(builder, layer, binding, in);
  const uint32_t width = layer.inner_dim();
  const Value qkv = ProjectTogether(builder, layer, in.x, {"to_q", "to_k", "to_v"});
  const Value kv =
      builder.GatherRows(SliceChannels(qkv, width, 2 * width), binding.options.batch_size);
  return {SliceChannels(qkv, 0, width), SliceChannels(kv, 0, width),
          SliceChannels(kv, width, width)};
}

}  // namespace unetd
