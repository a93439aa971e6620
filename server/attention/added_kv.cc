// Added keys and values: the text's tokens through add_k_proj and add_v_proj, then the input's own.
#include "server/attention/attention_layer.h"
#include "server/base/text.h"

namespace unetd {

Streams ProjectAddedKv(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding&,
                       const ProjectionInput& in) {
  const uint32_t width = layer.inner_dim();
  // Without a text its place is taken by the input, as it was before group_norm.
  if (!in.text.present() && layer.added_kv_dim != layer.query_dim && builder.status().ok()) {
    builder.Fail(InvalidArgument(
        Format("layer '{}': without a text its added keys would be made of the {} channels of the "
               "image, and they take {}",
               layer.name, layer.query_dim, layer.added_kv_dim)));
  }
  const Value added = ProjectTogether(builder, layer, in.text.present() ? in.text : in.raw,
                                      {"add_k_proj", "add_v_proj"});
  if (layer.only_cross) {
    const Value q = ProjectTogether(builder, layer, in.x, {"to_q"});
    return {q, SliceChannels(added, 0, width), SliceChannels(added, width, width)};
  }
  const Value qkv = ProjectTogether(builder, layer, in.x, {"to_q", "to_k", "to_v"});
  const Value kv = builder.ConcatTokens(added, SliceChannels(qkv, width, 2 * width));
  return {SliceChannels(qkv, 0, width), SliceChannels(kv, 0, width),
          SliceChannels(kv, width, width)};
}

}  // namespace unetd
