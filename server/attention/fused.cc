// fuse_qkv_projections: to_qkv is to_q, to_k and to_v stacked, to_kv is to_k and to_v. The stacked
// weights are never read: a checkpoint saved after fusing holds the single ones too, and a linear
// of segments stacks them as it packs.
#include "server/attention/attention_layer.h"
#include "server/base/text.h"

namespace unetd {

Streams ProjectFused(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding& binding,
                     const ProjectionInput& in) {
  if (layer.is_cross() != in.text.present() && builder.status().ok()) {
    // diffusers fuses by how a layer was made and runs by whether it is given a text.
    builder.Fail(InvalidArgument(
        Format("layer '{}': fused projections need a text exactly where the layer was made for one",
               layer.name)));
  }
  return ProjectPlain(builder, layer, binding, in);
}

}  // namespace unetd
