// A UNet2DConditionModel's config.json, checked, with every default of diffusers filled in and its
// lists brought to one entry a level.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/attention/attention_layer.h"
#include "server/base/status.h"
#include "server/plan/plan_builder.h"
#include "server/plan/value.h"

namespace unetd {

enum class ClassEmbedding { kNone, kLookup, kTimestep, kIdentity, kProjection, kSimpleProjection };
enum class AddEmbedding { kNone, kText, kTextImage, kTextTime, kImage, kImageHint };
enum class TextProjection { kNone, kText, kTextImage, kImage };
enum class Gligen { kNone, kText, kTextImage };  // attention_type
enum class MidBlock { kNone, kPlain, kCrossAttn, kSimple };

// What stands behind a block's resnets, and what kind of resnets and sampler these are.
enum class BlockKind {
  kPlain,   // DownBlock2D, UpBlock2D
  kCross,   // CrossAttn...: transformers
  kResnet,  // ResnetDownsampleBlock2D: the sampler is a resnet, too
  kSimple,  // SimpleCrossAttn...: the same, with attention layers that have added K/V projections
  kAttn,    // AttnDownBlock2D: self-attention layers
  kK,       // KDownBlock2D: resnets with adaptive norms, blurring samplers
  kKCross,  // KCrossAttn...
};
constexpr bool IsK(BlockKind kind) { return kind == BlockKind::kK || kind == BlockKind::kKCross; }

// One resolution, the finest first. The up block of a level is the one that works at its size.
struct LevelConfig {
  uint32_t channels = 0;
  uint32_t layers = 0;  // resnets of the down block; the up block has one more (none more if K)
  BlockKind down = BlockKind::kPlain;
  BlockKind up = BlockKind::kPlain;
  // The number of heads in the transformers of this level; elsewhere the width of one head, of the
  // down block here and of the up block that stands at this index among the up blocks. 0: null.
  uint32_t attention_head_dim = 0;
  uint32_t cross_dim = 0;  // width of the text
  bool only_cross =
      false;  // of down and up blocks: attn1 takes the text too, kSimple only the text
  std::vector<uint32_t> down_depths;  // transformer blocks behind each resnet; empty unless kCross
  std::vector<uint32_t> up_depths;
};

struct UNetConfig {
  std::string class_name = "UNet2DConditionModel";
  std::optional<Size> sample_size;
  uint32_t in_channels = 4;
  uint32_t out_channels = 4;
  uint32_t conv_in_kernel = 3;  // odd
  uint32_t conv_out_kernel = 3;
  bool center_input_sample = false;

  std::vector<LevelConfig> levels;
  MidBlock mid = MidBlock::kCrossAttn;
  uint32_t mid_depth = 1;
  float mid_block_scale_factor = 1;
  uint32_t downsample_padding = 1;  // 0: a row and a column of zeros below and right
  uint32_t norm_num_groups = 32;    // 0: null, there is no conv_norm_out
  float norm_eps = 1e-5f;
  bool scale_shift = false;                 // resnet_time_scale_shift
  bool skip_time_act = false;               // of kResnet, kSimple and MidBlock::kSimple
  float resnet_out_scale_factor = 1;        // of kResnet and kSimple
  NormCross cross_norm = NormCross::kNone;  // of kSimple and MidBlock::kSimple
  bool mid_only_cross = false;              // of MidBlock::kSimple
  bool upcast_attention = false;
  Gligen gligen = Gligen::kNone;
  Activation activation = Activation::kSilu;

  bool flip_sin_to_cos = true;
  float freq_shift = 0;
  bool fourier = false;
  uint32_t time_input_dim = 0;  // width of the timestep's sinusoid
  uint32_t time_embed_dim = 0;
  Activation timestep_post_activation = Activation::kNone;
  Activation time_embedding_activation = Activation::kNone;
  uint32_t time_cond_dim = 0;  // 0: takes no timestep_cond

  ClassEmbedding class_embedding = ClassEmbedding::kNone;
  uint32_t num_class_embeds = 0;      // of kLookup
  uint32_t projection_input_dim = 0;  // of kProjection, kSimpleProjection and kTextTime; 0 if null
  bool class_embeddings_concat = false;
  AddEmbedding add_embedding = AddEmbedding::kNone;
  uint32_t addition_time_embed_dim = 0;
  uint32_t add_heads = 64;  // of kText's pooling
  TextProjection text_projection = TextProjection::kNone;
  uint32_t encoder_hid_dim = 0;  // of what is projected; 0: nothing is
  // cross_attention_dim where it is one number, else 0: the parts outside the blocks need it.
  uint32_t cross_dim = 0;

  // Channels of the wire's sample: conv_in also reads what the hint became.
  uint32_t sample_channels() const {
    return in_channels - (add_embedding == AddEmbedding::kImageHint ? kHintChannels : 0);
  }
  static constexpr uint32_t kHintChannels = 4;

  std::vector<std::string> unknown_keys;  // not read; the first few, for one warning
  std::string json;                       // the text that all this was read from
};

// Strict: INVALID_ARGUMENT "<origin>: <key>: <what is wrong with which value>" for what diffusers
// cannot build or run. Costs next to nothing whatever the text holds.
StatusOr<UNetConfig> ParseUNetConfig(std::string_view json_text,
                                     const std::string& origin = "config.json");

// Reads `folder`/config.json (at most 1 MiB). NOT_FOUND or INVALID_ARGUMENT; messages begin with
// the file's path.
StatusOr<UNetConfig> LoadUNetConfig(const std::filesystem::path& folder);

}  // namespace unetd
