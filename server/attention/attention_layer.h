// One attention module of a UNet, and the contract of the processors that compute it.
#pragma once

#include <cstdint>
#include <string>

#include "server/plan/plan_builder.h"

namespace unetd {

struct LayerBinding;

// What diffusers' Attention is constructed with, as far as UNets vary it.
struct AttentionLayer {
  std::string name;        // diffusers' path: "mid_block.attentions.0.transformer_blocks.0.attn2"
  uint32_t query_dim = 0;  // channels of its input and of its output
  uint32_t cross_dim =
      0;  // channels of the text that keys and values are made of; 0: self-attention
  uint32_t heads = 1;
  uint32_t head_dim = 1;
  float scale = 1.0f;  // head_dim ** -0.5 in every UNet
  bool upcast_attention = false;

  bool is_cross() const { return cross_dim != 0; }
  uint32_t inner_dim() const { return heads * head_dim; }
};

// What a layer sees beside its input. Absent values are not there.
struct AttentionContext {
  Value text;      // [S, cross_dim]: there if and only if the layer is_cross
  Value mask;      // float32 [1, keys], added to the scores
  Value residual;  // as the output, added to it
};

// Emits the whole layer as `binding` says: projections, attention, output projection. x [Q,
// query_dim] -> the same.
Value EmitAttention(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding& binding,
                    const Value& x, const AttentionContext& context);

// -- for the projections --

struct Streams {
  Value q, k, v;  // [tokens, inner_dim]
};
using ProjectFunction = Streams (*)(PlanBuilder& builder, const AttentionLayer& layer,
                                    const Value& x, const Value& text);
Streams ProjectPlain(PlanBuilder& builder, const AttentionLayer& layer, const Value& x,
                     const Value& text);
Streams ProjectFused(PlanBuilder& builder, const AttentionLayer& layer, const Value& x,
                     const Value& text);

// x through the layer's to_<name> for each of `names`, side by side: one linear, whose packed
// weights are the same as apart.
Value ProjectTogether(PlanBuilder& builder, const AttentionLayer& layer, const Value& x,
                      std::initializer_list<const char*> names);

}  // namespace unetd
