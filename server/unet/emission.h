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

  Value time;       // [1, n]: the embedding as resnets project it, already activated
  Value text;       // [S, cross_dim]
  Value self_mask;  // float32 [1, keys], added to the scores of attn1
  Value text_mask;  // float32 [1, S], of attn2
};

// "<module>.weight" and "<module>.bias" as one linear of `out` channels.
LinearSpec LinearOf(const std::string& module, uint32_t out, Activation act = Activation::kNone);

// Stages everything that conditions the UNet and fills time, text and masks.
void EmitConditions(Emission& e);

// x may be a concatenation; the result times out_scale.
Value EmitResnet(Emission& e, const ResnetLayout& resnet, const Value& x, float out_scale = 1);
Value EmitTransformer(Emission& e, const TransformerLayout& transformer, const Value& x);

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
