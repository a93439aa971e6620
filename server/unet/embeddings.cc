// Time, class and addition embeddings, the text's projection and the masks. What the timestep does
// not touch is summed apart, so that it is computed once a request.
#include "server/unet/emission.h"

namespace unetd {
namespace {

// TimestepEmbedding: linear_2(act(linear_1(x))) + residual.
Value TimestepMlp(Emission& e, const std::string& module, const Value& x, Activation act,
                  const Value& residual = {}, Activation post_act = Activation::kNone) {
  const uint32_t width = e.config.time_embed_dim;
  e.builder.SetLayer(module);
  const Value hidden = e.builder.Linear(x, LinearOf(module + ".linear_1", width, act));
  LinearSpec out = LinearOf(module + ".linear_2", width, post_act);
  out.residual = residual;
  return e.builder.Linear(hidden, out);
}

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
      return TimestepMlp(e, module, TimeSinusoid(e, input(1, DType::kFloat32)), c.activation);
    case ClassEmbedding::kIdentity:
      return input(c.time_embed_dim, b.context().dtype);
    case ClassEmbedding::kProjection:  // always silu, whatever act_fn says
      return TimestepMlp(e, module, input(c.projection_input_dim, b.context().dtype),
                         Activation::kSilu);
    case ClassEmbedding::kSimpleProjection:
      return b.Linear(input(c.projection_input_dim, b.context().dtype),
                      LinearOf(module, c.time_embed_dim));
  }
  return {};
}

// text_time: the pooled text beside the sinusoids of all time_ids. Plus `residual`, where present.
Value EmitTextTime(Emission& e, const Value& residual) {
  const UNetConfig& c = e.config;
  const std::string module = "add_embedding";
  const uint32_t ids = e.shape.time_ids;
  e.builder.SetLayer(module);
  const uint32_t pooled_dim = c.projection_input_dim - ids * c.addition_time_embed_dim;
  const Value pooled =
      e.builder.TokensInput(wire::kTextEmbeds, 1, pooled_dim, e.builder.context().dtype);
  const Value numbers = e.builder.TokensInput(wire::kTimeIds, ids, 1, DType::kFloat32);
  const Value sinusoids =
      e.builder.Sinusoid(numbers, c.addition_time_embed_dim, c.flip_sin_to_cos, c.freq_shift);
  return TimestepMlp(e, module, Concat(pooled, sinusoids), Activation::kSilu, residual);
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
  return TimestepMlp(e, module, t, e.config.activation, conditions,
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

Value EmitText(Emission& e) {
  const UNetConfig& c = e.config;
  // All that read the text agree on its width; the last layer is an attn2, which always reads it.
  const uint32_t cross_dim = ListLayers(e.layout).back().cross_dim;
  e.builder.SetLayer("encoder_hid_proj");
  const Value text = e.builder.TokensInput(wire::kText, e.shape.text_tokens,
                                           c.encoder_hid_dim != 0 ? c.encoder_hid_dim : cross_dim,
                                           e.builder.context().dtype);
  if (c.encoder_hid_dim == 0) return text;
  return e.builder.Linear(text, LinearOf("encoder_hid_proj", cross_dim));
}

}  // namespace

LinearSpec LinearOf(const std::string& module, uint32_t out, Activation act) {
  LinearSpec spec;
  spec.segments = {{{module + ".weight"}, {module + ".bias"}, out}};
  spec.activation = act;
  return spec;
}

void EmitConditions(Emission& e) {
  const UNetConfig& c = e.config;
  const Value class_embedding = EmitClassEmbedding(e);
  Value conditions = c.class_embeddings_concat ? Value{} : class_embedding;
  if (c.text_time) conditions = EmitTextTime(e, conditions);
  Value time = EmitTimeEmbedding(e, conditions);
  if (c.class_embeddings_concat) time = Concat(time, class_embedding);
  e.builder.SetLayer("time_embedding");
  if (c.time_embedding_activation != Activation::kNone) {
    time = e.builder.Elementwise(time, c.time_embedding_activation);
  }
  // Every resnet activates it before its projection: once for all.
  e.time = e.builder.Elementwise(time, c.activation);

  if (e.shape.text_tokens != 0 && e.layout.attention_layers != 0) e.text = EmitText(e);
  if (e.shape.attention_mask != 0) {
    e.self_mask = EmitMask(e, wire::kAttentionMask, e.shape.attention_mask);
  }
  if (e.shape.text_mask) e.text_mask = EmitMask(e, wire::kTextMask, e.shape.text_tokens);
}

}  // namespace unetd
