// KAttentionBlock: attention between adaptive group norms, with no feed-forward.
#include "server/unet/emission.h"

namespace unetd {
namespace {

constexpr float kNormEps = 1e-5f;  // whatever norm_eps says

// x + attention(norm(x)).
Value EmitLayer(Emission& e, const KAttentionLayout& attention, const AttentionLayer& layer,
                const std::string& norm, const Value& x, AttentionContext context) {
  const uint32_t channels = attention.channels;
  e.builder.SetLayer(attention.path);
  const Value scale_shift =
      e.builder.Linear(e.raw_time, LinearOf(attention.path + norm + ".linear", 2 * channels));
  GroupNormSpec spec;
  spec.groups = attention.groups;
  spec.eps = kNormEps;
  spec.row_scale = SliceChannels(scale_shift, 0, channels);
  spec.row_shift = SliceChannels(scale_shift, channels, channels);
  context.residual = x;
  return EmitBoundLayer(e, layer, e.builder.GroupNorm(x, spec), context);
}

}  // namespace

Value EmitKAttention(Emission& e, const KAttentionLayout& attention, const Value& x_in) {
  Value x = x_in;
  AttentionContext context;
  context.mask = e.self_mask;
  if (attention.attn1) x = EmitLayer(e, attention, *attention.attn1, ".norm1", x, context);
  AttentionLayer layer = attention.attn2;
  if (e.text.present()) {
    context.text = e.text;
    context.mask = e.text_mask;
  } else {
    // Without a text it attends to itself, and that is not normed.
    layer.cross_dim = 0;
    layer.norm_cross = NormCross::kNone;
  }
  return EmitLayer(e, attention, layer, ".norm2", x, context);
}

}  // namespace unetd
