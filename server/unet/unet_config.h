// A UNet2DConditionModel's config.json, checked, with every default of diffusers filled in and its
// lists brought to one entry a level.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/status.h"
#include "server/plan/plan_builder.h"
#include "server/plan/value.h"

namespace unetd {

enum class ClassEmbedding { kNone, kLookup, kTimestep, kIdentity, kProjection, kSimpleProjection };
enum class MidBlock { kNone, kPlain, kCrossAttn };

// One resolution, the finest first. The up block of a level is the one that works at its size.
struct LevelConfig {
  uint32_t channels = 0;
  uint32_t layers = 0;      // resnets of the down block; the up block has one more
  bool down_cross = false;  // CrossAttnDownBlock2D, else DownBlock2D
  bool up_cross = false;    // CrossAttnUpBlock2D, else UpBlock2D
  uint32_t heads = 0;       // 0: said to be null, and not needed
  uint32_t cross_dim = 0;   // width of the text
  bool only_cross = false;  // attn1 takes the text too; of down and up blocks, not of the middle
  std::vector<uint32_t>
      down_depths;  // transformer blocks behind each resnet; empty unless down_cross
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
  uint32_t norm_num_groups = 32;
  float norm_eps = 1e-5f;
  bool scale_shift = false;  // resnet_time_scale_shift
  bool upcast_attention = false;
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
  uint32_t projection_input_dim = 0;  // of kProjection, kSimpleProjection and text_time; 0 if null
  bool class_embeddings_concat = false;
  bool text_time = false;  // addition_embed_type
  uint32_t addition_time_embed_dim = 0;
  uint32_t encoder_hid_dim =
      0;  // 0: the text is used as it comes; else text_proj brings it to cross_dim

  std::vector<std::string> unknown_keys;  // not read; the first few, for one warning
};

// Strict: INVALID_ARGUMENT "<origin>: <key>: <what is wrong with which value>"; what diffusers has
// and this server has not is "... is not built yet". Costs next to nothing whatever the text holds.
StatusOr<UNetConfig> ParseUNetConfig(std::string_view json_text,
                                     const std::string& origin = "config.json");

// Reads `folder`/config.json (at most 1 MiB). NOT_FOUND or INVALID_ARGUMENT; messages begin with
// the file's path.
StatusOr<UNetConfig> LoadUNetConfig(const std::filesystem::path& folder);

}  // namespace unetd
