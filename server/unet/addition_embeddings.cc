// addition_embed_type: what is added to the time embedding beside the class labels.
#include <cmath>

#include "server/unet/emission.h"

namespace unetd {
namespace {

constexpr char kModule[] = "add_embedding";

Value Vector(Emission& e, const char* name, uint32_t width) {
  e.builder.SetLayer(kModule);
  return e.builder.TokensInput(name, 1, width, e.builder.context().dtype);
}

LinearSpec PartOf(Emission& e, const char* part) {
  return LinearOf(std::string(kModule) + part, e.config.time_embed_dim);
}

Value Sum(Emission& e, const Value& x, const Value& residual) {
  return residual.present() ? e.builder.Add(x, residual) : x;
}

// The pooled text beside the sinusoids of all time_ids.
Value EmitTextTime(Emission& e, const Value& residual) {
  const UNetConfig& c = e.config;
  const uint32_t ids = e.shape.time_ids;
  const Value pooled =
      Vector(e, wire::kTextEmbeds, c.projection_input_dim - ids * c.addition_time_embed_dim);
  const Value numbers = e.builder.TokensInput(wire::kTimeIds, ids, 1, DType::kFloat32);
  const Value sinusoids =
      e.builder.Sinusoid(numbers, c.addition_time_embed_dim, c.flip_sin_to_cos, c.freq_shift);
  return EmitTimestepMlp(e, kModule, Concat(pooled, sinusoids), Activation::kSilu, residual);
}

// AttentionPooling: one token, made of all, asks all of them and itself.
Value EmitPooling(Emission& e, const Value& text) {
  const std::string pool = std::string(kModule) + ".pool";
  const uint32_t width = text.channels();
  PlanBuilder& b = e.builder;
  b.SetLayer(pool);
  const Value mean = b.MeanTokens(text);
  const Value token = b.Add(EmitVector(e, pool + ".positional_embedding", width, mean), mean);
  LinearSpec kv = LinearOf(pool + ".k_proj", width);
  kv.segments.push_back(LinearOf(pool + ".v_proj", width).segments.front());
  const Value keys = b.Linear(b.ConcatTokens(token, text), kv);
  AttentionSpec spec;
  spec.heads = e.config.add_heads;
  spec.head_dim = width / spec.heads;
  spec.scale = 1.0f / std::sqrt(static_cast<float>(spec.head_dim));
  return b.Attention(b.Linear(token, LinearOf(pool + ".q_proj", width)),
                     SliceChannels(keys, 0, width), SliceChannels(keys, width, width), spec);
}

// Of the text as it was sent, whatever encoder_hid_proj makes of it.
Value EmitText(Emission& e) {
  const std::string module = kModule;
  const Value pooled = EmitPooling(e, EmitLayerNorm(e, module + ".norm1", e.raw_text));
  const Value projected = e.builder.Linear(pooled, PartOf(e, ".proj"));
  return EmitLayerNorm(e, module + ".norm2", projected);
}

Value EmitTextImage(Emission& e) {
  const Value sent = Vector(e, wire::kTextEmbeds, e.config.cross_dim);
  const Value text = EmitLayerNorm(e, std::string(kModule) + ".text_norm",
                                   e.builder.Linear(sent, PartOf(e, ".text_proj")));
  LinearSpec image = PartOf(e, ".image_proj");
  image.residual = text;
  return e.builder.Linear(ImageEmbeds(e), image);
}

Value EmitImage(Emission& e) {
  const Value projected = e.builder.Linear(ImageEmbeds(e), PartOf(e, ".image_proj"));
  return EmitLayerNorm(e, std::string(kModule) + ".image_norm", projected);
}

// Eight convolutions, of which three halve: the hint at the size of the sample.
Value EmitHint(Emission& e) {
  struct Layer {
    uint32_t channels, stride;
  };
  constexpr Layer kLayers[] = {{16, 1}, {16, 1}, {32, 2},  {32, 1},
                               {96, 2}, {96, 1}, {256, 2}, {UNetConfig::kHintChannels, 1}};
  const std::string module = std::string(kModule) + ".input_hint_block";
  e.builder.SetLayer(module);
  Value h = e.builder.ImageInput(wire::kHint, 3, e.shape.hint, 1, 0, Section::kCondition);
  for (size_t i = 0; i < std::size(kLayers); ++i) {
    const std::string name = module + "." + std::to_string(2 * i);
    Conv2dSpec conv;
    conv.weight = {name + ".weight"};
    conv.bias = {name + ".bias"};
    conv.out_channels = kLayers[i].channels;
    conv.stride = kLayers[i].stride;
    if (i + 1 < std::size(kLayers)) conv.activation = Activation::kSilu;
    h = e.builder.Conv2d(h, conv);
  }
  return h;
}

}  // namespace

Value EmitAddition(Emission& e, const Value& residual) {
  switch (e.config.add_embedding) {
    case AddEmbedding::kNone:
      return residual;
    case AddEmbedding::kTextTime:
      return EmitTextTime(e, residual);
    case AddEmbedding::kText:
      return Sum(e, EmitText(e), residual);
    case AddEmbedding::kTextImage:
      return Sum(e, EmitTextImage(e), residual);
    case AddEmbedding::kImageHint:
      e.hint = EmitHint(e);
      [[fallthrough]];
    case AddEmbedding::kImage:
      return Sum(e, EmitImage(e), residual);
  }
  return residual;
}

}  // namespace unetd
