// Transformer2DModel over BasicTransformerBlocks.
#include "server/base/text.h"
#include "server/unet/emission.h"

namespace unetd {
namespace {

constexpr float kGroupNormEps = 1e-6f;  // whatever norm_eps says
constexpr float kLayerNormEps = 1e-5f;

// x + attention(norm(x)).
Value EmitLayer(Emission& e, const AttentionLayer& layer, const std::string& norm, const Value& x,
                const Value& mask) {
  AttentionContext context;
  if (layer.is_cross()) context.text = e.text;
  context.mask = mask;
  context.residual = x;
  return EmitBoundLayer(e, layer, EmitLayerNorm(e, norm, x), context);
}

Value EmitBlock(Emission& e, const TransformerLayout& transformer, uint32_t index, Value x) {
  const std::string path = transformer.BlockPath(index);
  x = EmitLayer(e, transformer.Attn1(index), path + ".norm1", x, e.self_mask);
  if (transformer.gated && e.objects.present()) x = EmitFuser(e, transformer, index, x);
  x = EmitLayer(e, transformer.Attn2(index), path + ".norm2", x, e.text_mask);
  return EmitFeedForward(e, path + ".ff", EmitLayerNorm(e, path + ".norm3", x), x);
}

}  // namespace

Value EmitLayerNorm(Emission& e, const std::string& module, const Value& x) {
  e.builder.SetLayer(module);
  return e.builder.LayerNorm(x, {module + ".weight"}, {module + ".bias"}, kLayerNormEps);
}

Value EmitFeedForward(Emission& e, const std::string& module, const Value& x,
                      const Value& residual) {
  const uint32_t width = x.channels();
  e.builder.SetLayer(module);
  const Value hidden =
      e.builder.Linear(x, LinearOf(module + ".net.0.proj", 8 * width, Activation::kGeglu));
  LinearSpec out = LinearOf(module + ".net.2", width);
  out.residual = residual;
  return e.builder.Linear(hidden, out);
}

Value EmitBoundLayer(Emission& e, const AttentionLayer& layer, const Value& x,
                     const AttentionContext& context) {
  const LayerBinding* binding = e.bindings.Find(layer.name);
  if (binding == nullptr) {
    e.builder.Fail(Internal(Format("layer '{}' was not bound", layer.name)));
    return {};
  }
  return EmitAttention(e.builder, layer, *binding, x, context);
}

Value EmitTransformer(Emission& e, const TransformerLayout& transformer, const Value& x) {
  const std::string& path = transformer.path;
  e.builder.SetLayer(path);
  GroupNormSpec norm;
  norm.gamma = {path + ".norm.weight"};
  norm.beta = {path + ".norm.bias"};
  norm.groups = transformer.groups;
  norm.eps = kGroupNormEps;
  Value h = e.builder.GroupNorm(x, norm);
  // A 1x1 convolution and a linear are the same numbers in the same order.
  h = e.builder.Linear(h, LinearOf(path + ".proj_in", transformer.inner_dim()));
  for (uint32_t k = 0; k < transformer.depth; ++k) h = EmitBlock(e, transformer, k, h);
  e.builder.SetLayer(path);
  LinearSpec out = LinearOf(path + ".proj_out", transformer.channels);
  out.residual = x;
  return e.builder.Linear(h, out);
}

}  // namespace unetd
