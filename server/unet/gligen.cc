// GLIGEN: the objects that a request places in the image, and the gated layers that see them.
#include <cmath>

#include "server/plan/graph.h"
#include "server/tensor/convert.h"
#include "server/unet/emission.h"
#include "server/unet/stage_row.h"

namespace unetd {
namespace {

constexpr char kModule[] = "position_net";
constexpr uint32_t kHidden = 512;

// What the request sends, one token an object.
Value Objects(Emission& e, const char* name, uint32_t channels) {
  e.builder.SetLayer(name);
  return e.builder.TokensInput(name, e.shape.boxes, channels, e.builder.context().dtype);
}

// x where the mask is 1, the checkpoint's `null` feature where it is 0.
Value OrNull(Emission& e, const Value& x, const Value& mask, const char* null) {
  e.builder.SetLayer(kModule);
  const Value dropped = e.builder.Elementwise(mask, Activation::kNone, -1, 1);
  LinearSpec spec;
  spec.segments = {{{std::string(kModule) + "." + null}, {}, x.channels()}};
  spec.residual = e.builder.Multiply(x, mask);
  return e.builder.Linear(dropped, spec);
}

Value EmitMlp(Emission& e, const std::string& linears, const Value& features) {
  const std::string module = std::string(kModule) + "." + linears;
  e.builder.SetLayer(module);
  Value h = e.builder.Linear(features, LinearOf(module + ".0", kHidden, Activation::kSilu));
  h = e.builder.Linear(h, LinearOf(module + ".2", kHidden, Activation::kSilu));
  return e.builder.Linear(h, LinearOf(module + ".4", e.config.cross_dim));
}

// The tanh of a gate.
float GateOf(Emission& e, const std::string& name) {
  PlanBuilder::Graph& graph = e.builder.graph();
  if (!graph.CheckWeight({name}, {})) return 0;
  const auto value = ConvertedTo(*e.builder.context().weights->Find(name), DType::kFloat32);
  if (!value.ok()) {
    e.builder.Fail(value.status());
    return 0;
  }
  return std::tanh(value->as<float>()[0]);
}

}  // namespace

Value EmitObjects(Emission& e) {
  const uint32_t width = e.config.cross_dim;
  const Value masks = Objects(e, wire::kBoxMasks, 1);
  const Value boxes =
      OrNull(e, Objects(e, wire::kBoxes, kBoxFeatures), masks, "null_position_feature");
  if (e.config.gligen == Gligen::kText) {
    const Value text =
        OrNull(e, Objects(e, wire::kBoxTexts, width), masks, "null_positive_feature");
    return EmitMlp(e, "linears", Concat(text, boxes));
  }
  const Value phrases = OrNull(e, Objects(e, wire::kPhraseEmbeds, width),
                               Objects(e, wire::kPhraseMasks, 1), "null_text_feature");
  const Value images = OrNull(e, Objects(e, wire::kBoxImageEmbeds, width),
                              Objects(e, wire::kBoxImageMasks, 1), "null_image_feature");
  const Value text_objects = EmitMlp(e, "linears_text", Concat(phrases, boxes));
  const Value image_objects = EmitMlp(e, "linears_image", Concat(images, boxes));
  return e.builder.ConcatTokens(text_objects, image_objects);
}

Value EmitFuser(Emission& e, const TransformerLayout& transformer, uint32_t index, const Value& x) {
  const std::string module = transformer.BlockPath(index) + ".fuser";
  PlanBuilder& b = e.builder;
  b.SetLayer(module);
  const Value objects = b.Linear(e.objects, LinearOf(module + ".linear", x.channels()));
  // A norm is of one token, so the objects' is of the condition.
  const Value both = b.ConcatTokens(EmitLayerNorm(e, module + ".norm1", x),
                                    EmitLayerNorm(e, module + ".norm1", objects));
  const Value seen = EmitBoundLayer(e, transformer.FuserAttn(index), both, {});
  b.SetLayer(module);
  Value image = SliceTokens(seen, 0, static_cast<uint32_t>(x.tokens()));
  image.size = x.size;
  const Value h = b.Elementwise(image, Activation::kNone, GateOf(e, module + ".alpha_attn"), 0, x);
  const Value dense = EmitFeedForward(e, module + ".ff", EmitLayerNorm(e, module + ".norm2", h));
  return b.Elementwise(dense, Activation::kNone, GateOf(e, module + ".alpha_dense"), 0, h);
}

}  // namespace unetd
