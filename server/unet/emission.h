// Emission: each part of the UNet as operators of a plan, in diffusers' order and with its numbers.
#pragma once

#include <string>
#include <vector>

#include "server/attention/binding.h"
#include "server/plan/plan_builder.h"
#include "server/unet/unet_config.h"
#include "server/unet/unet_inputs.h"
#include "server/unet/unet_layout.h"

namespace unetd {

// What every part sees. Absent values are not there.
struct Emission {
  PlanBuilder& builder;
  const UNetConfig& config;
  const UNetLayout& layout;
  const UNetShape& shape;
  const VariantBindings& bindings;

  Value raw_time = {};      // [1, n]: the embedding of the timestep and all that is added to it
  Value time = {};          // the same, activated as most resnets project it
  Value raw_text = {};      // [S, width], as it was sent
  Value text = {};          // [S', text_width]: as layers read it
  Value image_embeds = {};  // [1, width]
  Value hint = {};          // [4, h, w]: beside the sample
  Value objects = {};       // [n, cross_dim]: what GLIGEN's fusers read
  // Biases as the request gives them: float32 [1, n].
  Value self_mask = {};  // attention_mask: of attn1, and of added K/V whatever text_mask is
  Value text_mask = {};  // encoder_attention_mask: of attn2, and of added K/V
};

// "<module>.weight" and "<module>.bias" as one linear of `out` channels.
LinearSpec LinearOf(const std::string& module, uint32_t out, Activation act = Activation::kNone);
// The LayerNorm `module`, of eps 1e-5.
Value EmitLayerNorm(Emission& e, const std::string& module, const Value& x);
// FeedForward with GEGLU, 4 times as wide inside.
Value EmitFeedForward(Emission& e, const std::string& module, const Value& x,
                      const Value& residual = {});
// A vector of the checkpoint, of whatever shape, as [1, channels]. `some` [1, n] is any value:
// the section follows from it.
Value EmitVector(Emission& e, const std::string& name, uint32_t channels, const Value& some);

// Stages everything that conditions the UNet and fills times, texts, objects and masks.
void EmitConditions(Emission& e);
// The text as layers read it, of e.raw_text and e.image_embeds.
Value EmitTextProjection(Emission& e);
// What addition_embed_type adds to the time embedding, plus `residual` where present; fills hint.
Value EmitAddition(Emission& e, const Value& residual);
// [1, width] from the request; staged once.
Value ImageEmbeds(Emission& e);
// TimestepEmbedding: linear_2(act(linear_1(x))) + residual.
Value EmitTimestepMlp(Emission& e, const std::string& module, const Value& x, Activation act,
                      const Value& residual = {}, Activation post_act = Activation::kNone);
// GLIGEN's position_net over what the request sent.
Value EmitObjects(Emission& e);
// GatedSelfAttentionDense: x, having seen the objects.
Value EmitFuser(Emission& e, const TransformerLayout& transformer, uint32_t index, const Value& x);

// The whole layer as it was bound.
Value EmitBoundLayer(Emission& e, const AttentionLayer& layer, const Value& x,
                     const AttentionContext& context);

// x may be a concatenation.
Value EmitResnet(Emission& e, const ResnetLayout& resnet, const Value& x);
Value EmitTransformer(Emission& e, const TransformerLayout& transformer, const Value& x);
// An attention layer of a Simple or an Attn block.
Value EmitSimpleAttention(Emission& e, const AttentionLayer& layer, const Value& x);
Value EmitKAttention(Emission& e, const KAttentionLayout& attention, const Value& x);

// Appends what the block hands to its up block. `adapter`: added inside, or absent.
Value EmitDownBlock(Emission& e, const BlockLayout& block, Value x, const Value& adapter,
                    std::vector<Value>& skips);
Value EmitMidBlock(Emission& e, const BlockLayout& block, Value x);
// Takes its share of `skips` from their end.
Value EmitUpBlock(Emission& e, const BlockLayout& block, Value x, std::vector<Value>& skips);

// The whole UNet, from its inputs to its output.
void EmitUNet(PlanBuilder& builder, const UNetConfig& config, const UNetLayout& layout,
              const UNetShape& shape, const VariantBindings& bindings);

}  // namespace unetd
