// Time and class embeddings and the masks, and the order of all that conditions the UNet. What the
// timestep does not touch is summed apart, so that it is computed once a request.
#include <algorithm>

#include "server/unet/emission.h"

namespace unetd {
namespace {

// `time_proj` of [1, 1] float32.
Value TimeSinusoid(Emission& e, const Value& x) {
  WeightRef fourier;
  if (e.config.fourier) fourier.name = "time_proj.weight";
  return e.builder.Sinusoid(x, e.config.time_input_dim, e.config.flip_sin_to_cos,
                            e.config.freq_shift, fourier);
}

Value EmitClassEmbedding(Emission& e) {
  const std::string module = "class_embedding";
  const UNetConfig& c = e.config;
  PlanBuilder& b = e.builder;
  const auto input = [&](uint32_t channels, DType dtype) {
    b.SetLayer(module);
    return b.TokensInput(wire::kClassLabels, 1, channels, dtype);
  };
  switch (c.class_embedding) {
    case ClassEmbedding::kNone:
      return {};
    case ClassEmbedding::kLookup:
      return b.Lookup(input(1, DType::kInt32), {module + ".weight"}, c.num_class_embeds,
                      c.time_embed_dim);
    case ClassEmbedding::kTimestep:
      return EmitTimestepMlp(e, module, TimeSinusoid(e, input(1, DType::kFloat32)), c.activation);
    case ClassEmbedding::kIdentity:
      return input(c.time_embed_dim, b.context().dtype);
    case ClassEmbedding::kProjection:  // always silu, whatever act_fn says
      return EmitTimestepMlp(e, module, input(c.projection_input_dim, b.context().dtype),
                             Activation::kSilu);
    case ClassEmbedding::kSimpleProjection:
      return b.Linear(input(c.projection_input_dim, b.context().dtype),
                      LinearOf(module, c.time_embed_dim));
  }
  return {};
}

Value EmitTimeEmbedding(Emission& e, const Value& conditions) {
  const std::string module = "time_embedding";
  e.builder.SetLayer(module);
  Value t = TimeSinusoid(e, e.builder.TimeInput());
  if (e.shape.timestep_cond) {
    const Value cond = e.builder.TokensInput(wire::kTimestepCond, 1, e.config.time_cond_dim,
                                             e.builder.context().dtype);
    LinearSpec spec;
    spec.segments = {{{module + ".cond_proj.weight"}, {}, e.config.time_input_dim}};
    spec.residual = t;
    t = e.builder.Linear(cond, spec);
  }
  return EmitTimestepMlp(e, module, t, e.config.activation, conditions,
                         e.config.timestep_post_activation);
}

// 1 keeps, 0 drops: (1 - mask) * -10000, in this order, so that values near 1 keep their digits.
Value EmitMask(Emission& e, const char* name, uint32_t keys) {
  e.builder.SetLayer(name);
  const Value mask = e.builder.TokensInput(name, 1, keys, DType::kFloat32);
  const Value drop =
      e.builder.Elementwise(mask, Activation::kNone, -1.0f, 1.0f, {}, DType::kFloat32);
  return e.builder.Elementwise(drop, Activation::kNone, -10000.0f, 0.0f, {}, DType::kFloat32);
}

// Whether any resnet projects the activated embedding.
bool NeedsActiveTime(const UNetLayout& layout) {
  const auto needs = [](const ResnetLayout& resnet) {
    return !resnet.adaptive && !resnet.skip_time_act;
  };
  for (const BlockLayout* block : layout.InModuleOrder()) {
    if (block->resnet_sampler && needs(*block->resnet_sampler)) return true;
    if (std::any_of(block->resnets.begin(), block->resnets.end(), needs)) return true;
  }
  return false;
}

}  // namespace

LinearSpec LinearOf(const std::string& module, uint32_t out, Activation act) {
  LinearSpec spec;
  spec.segments = {{{module + ".weight"}, {module + ".bias"}, out}};
  spec.activation = act;
  return spec;
}

Value EmitTimestepMlp(Emission& e, const std::string& module, const Value& x, Activation act,
                      const Value& residual, Activation post_act) {
  const uint32_t width = e.config.time_embed_dim;
  e.builder.SetLayer(module);
  const Value hidden = e.builder.Linear(x, LinearOf(module + ".linear_1", width, act));
  LinearSpec out = LinearOf(module + ".linear_2", width, post_act);
  out.residual = residual;
  return e.builder.Linear(hidden, out);
}

Value EmitVector(Emission& e, const std::string& name, uint32_t channels, const Value& some) {
  const Value one = e.builder.Elementwise(SliceChannels(some, 0, 1), Activation::kNone, 0, 1);
  LinearSpec spec;
  spec.segments = {{{name}, {}, channels}};
  return e.builder.Linear(one, spec);
}

void EmitConditions(Emission& e) {
  const UNetConfig& c = e.config;
  if (e.shape.text_tokens != 0) {
    e.builder.SetLayer(wire::kText);
    e.raw_text = e.builder.TokensInput(wire::kText, e.shape.text_tokens, RawTextWidth(c, e.layout),
                                       e.builder.context().dtype);
  }
  const Value class_embedding = EmitClassEmbedding(e);
  Value conditions = c.class_embeddings_concat ? Value{} : class_embedding;
  if (c.add_embedding != AddEmbedding::kNone) conditions = EmitAddition(e, conditions);
  e.raw_time = EmitTimeEmbedding(e, conditions);
  if (c.class_embeddings_concat) e.raw_time = Concat(e.raw_time, class_embedding);
  e.builder.SetLayer("time_embedding");
  if (c.time_embedding_activation != Activation::kNone) {
    e.raw_time = e.builder.Elementwise(e.raw_time, c.time_embedding_activation);
  }
  // Most resnets activate it before its projection: once for all.
  if (NeedsActiveTime(e.layout)) e.time = e.builder.Elementwise(e.raw_time, c.activation);

  if (e.layout.text_width != 0) e.text = EmitTextProjection(e);
  if (e.shape.boxes != 0) e.objects = EmitObjects(e);
  if (e.shape.attention_mask != 0) {
    e.self_mask = EmitMask(e, wire::kAttentionMask, e.shape.attention_mask);
  }
  if (e.shape.text_mask != 0) e.text_mask = EmitMask(e, wire::kTextMask, e.shape.text_mask);
}

}  // namespace unetd
