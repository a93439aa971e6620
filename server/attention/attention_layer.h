// One attention module of a UNet, and the contract of the processors that compute it.
#pragma once

#include <cstdint>
#include <string>

#include "server/plan/plan_builder.h"

namespace unetd {

struct LayerBinding;

// What is done to the text first (Attention.norm_cross).
enum class NormCross { kNone, kLayerNorm, kGroupNorm };

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
  bool upcast_softmax = false;
  bool qkv_bias = false;  // to_q, to_k and to_v have biases

  // Layers of the SimpleCrossAttn blocks: the text goes through add_k_proj and add_v_proj (with
  // biases) and stands before the layer's own tokens; cross_dim is 0 then.
  uint32_t added_kv_dim = 0;  // channels of that text; 0: none
  bool only_cross = false;    // with added_kv_dim: no to_k and to_v, the text alone

  uint32_t norm_groups = 0;  // of group_norm, applied to the layer's input; 0: it has none
  float norm_eps = 1e-5f;
  NormCross norm_cross = NormCross::kNone;
  bool residual_connection = false;  // the raw input is added to the output
  float rescale_output_factor = 1.0f;

  bool is_cross() const { return cross_dim != 0; }
  bool has_added_kv() const { return added_kv_dim != 0; }
  // Its input is [B, C, H, W] in diffusers, not [B, H * W, C].
  bool takes_images() const { return has_added_kv() || norm_groups != 0 || residual_connection; }
  uint32_t inner_dim() const { return heads * head_dim; }
};

// What a layer sees beside its input. Absent values are not there.
struct AttentionContext {
  Value text;      // [S, cross_dim], or [S, added_kv_dim] where the layer has added keys and values
  Value mask;      // float32 [1, n], added to the scores, as the request gives it
  Value residual;  // as the output, added to it
};

// Emits the whole layer as `binding` says: norms, projections, attention, output projection and
// residuals. x [Q, query_dim] -> the same. The mask is brought to the keys' number where the
// processor's namesake does so; where diffusers fails on it, the builder fails with
// INVALID_ARGUMENT.
Value EmitAttention(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding& binding,
                    const Value& x, const AttentionContext& context);

// -- for the projections --

struct ProjectionInput {
  Value raw;   // the layer's input
  Value x;     // the same after group_norm
  Value text;  // after norm_cross; or absent
};
struct Streams {
  Value q, k, v;  // [tokens, inner_dim]
};
using ProjectFunction = Streams (*)(PlanBuilder& builder, const AttentionLayer& layer,
                                    const LayerBinding& binding, const ProjectionInput& in);
Streams ProjectPlain(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding& binding,
                     const ProjectionInput& in);
Streams ProjectFused(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding& binding,
                     const ProjectionInput& in);
Streams ProjectAddedKv(PlanBuilder& builder, const AttentionLayer& layer,
                       const LayerBinding& binding, const ProjectionInput& in);
Streams ProjectCrossFrame(PlanBuilder& builder, const AttentionLayer& layer,
                          const LayerBinding& binding, const ProjectionInput& in);
Streams ProjectCustomDiffusion(PlanBuilder& builder, const AttentionLayer& layer,
                               const LayerBinding& binding, const ProjectionInput& in);
// Custom diffusion's to_out, the layer's own unless it is trained.
LinearSegment CustomDiffusionOut(const AttentionLayer& layer, const LayerBinding& binding);

// The layer's own projection: "to_q", "add_k_proj", ..., with the bias that it has.
LinearSegment OwnProjection(const AttentionLayer& layer, const char* name);
// x through the layer's own projections `names`, side by side: one linear, whose packed weights are
// the same as apart.
Value ProjectTogether(PlanBuilder& builder, const AttentionLayer& layer, const Value& x,
                      std::initializer_list<const char*> names);

}  // namespace unetd
