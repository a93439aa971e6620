// Attention layers that stand in a block by themselves: with added K/V projections for the text in
// SimpleCrossAttn blocks, over the image alone in Attn blocks.
#include "server/unet/emission.h"

namespace unetd {

Value EmitSimpleAttention(Emission& e, const AttentionLayer& layer, const Value& x) {
  AttentionContext context;
  if (!layer.has_added_kv()) return EmitBoundLayer(e, layer, x, context);
  context.text = e.text;
  context.mask = e.self_mask.present() ? e.self_mask : e.text_mask;
  if (e.text.present()) return EmitBoundLayer(e, layer, x, context);
  // Without a text, diffusers takes the image for it, before its group norm and with no other norm.
  AttentionLayer alone = layer;
  alone.norm_cross = NormCross::kNone;
  context.text = x;
  return EmitBoundLayer(e, alone, x, context);
}

}  // namespace unetd
