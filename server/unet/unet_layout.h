// The modules of a UNet by their diffusers paths: what the config says, spelled out. Emission, the
// list of attention layers and the checks of inputs all read it, so they cannot disagree.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/attention/attention_layer.h"
#include "server/unet/unet_config.h"

namespace unetd {

enum class Resample { kNone, kHalve, kDouble };  // averaged and nearest

// ResnetBlock2D, or ResnetBlockCondNorm2D where `adaptive`.
struct ResnetLayout {
  std::string path;  // "down_blocks.0.resnets.1"
  uint32_t in_channels = 0;
  uint32_t out_channels = 0;
  uint32_t hidden_channels = 0;  // between its two convolutions
  uint32_t groups_in = 0;        // of norm1
  uint32_t groups_out = 0;       // of norm2
  Resample resample = Resample::kNone;
  bool adaptive = false;       // scale and shift of both norms come from the raw time embedding
  bool skip_time_act = false;  // the time embedding is projected raw
  float out_scale = 1;         // 1 / output_scale_factor
};

// Transformer2DModel. Its inside is heads * head_dim wide, which may be less than its channels.
struct TransformerLayout {
  std::string path;  // "down_blocks.0.attentions.1"
  uint32_t channels = 0;
  uint32_t groups = 0;
  uint32_t heads = 0;
  uint32_t head_dim = 0;
  uint32_t depth = 0;  // transformer blocks; 0 is legal
  uint32_t cross_dim = 0;
  bool only_cross = false;
  bool upcast = false;
  bool gated = false;  // each block has a GLIGEN fuser

  uint32_t inner_dim() const { return heads * head_dim; }
  AttentionLayer Attn1(uint32_t block) const;
  AttentionLayer Attn2(uint32_t block) const;
  AttentionLayer FuserAttn(uint32_t block) const;
  std::string BlockPath(uint32_t block) const;
};

// KAttentionBlock.
struct KAttentionLayout {
  std::string path;
  uint32_t channels = 0;
  uint32_t groups = 0;
  std::optional<AttentionLayer> attn1;
  AttentionLayer attn2;
};

struct BlockLayout {
  BlockKind kind = BlockKind::kPlain;
  std::string path;       // "down_blocks.0", "mid_block"
  uint32_t level = 0;     // index of its size: 0 is the sample's
  uint32_t channels = 0;  // of its output
  std::vector<ResnetLayout> resnets;
  // Behind each resnet, or behind all but the first in the middle; of kCross, of kSimple and kAttn,
  // and of kKCross.
  std::vector<TransformerLayout> transformers;
  std::vector<AttentionLayer> attentions;
  std::vector<KAttentionLayout> k_attentions;
  // At most one of these: a convolution, a resnet, or K's fixed kernel.
  std::string sampler;
  std::optional<ResnetLayout> resnet_sampler;
  bool blurs = false;

  bool has_sampler() const { return !sampler.empty() || resnet_sampler || blurs; }
  // As diffusers' attribute: it gets the text, and an adapter's residual inside.
  bool has_cross_attention() const {
    return kind == BlockKind::kCross || kind == BlockKind::kSimple || kind == BlockKind::kKCross;
  }
};

struct UNetLayout {
  std::vector<BlockLayout> down, up;
  std::optional<BlockLayout> mid;
  uint64_t attention_layers = 0;
  uint32_t text_width = 0;  // of what layers read, after any projection; 0: none reads a text

  // down, up, mid: the order in which diffusers registers modules, so that of attn_processors.
  std::vector<const BlockLayout*> InModuleOrder() const;
};

UNetLayout MakeLayout(const UNetConfig& config);

// Every attention layer in diffusers' attn_processors order.
std::vector<AttentionLayer> ListLayers(const UNetLayout& layout);

// Channels of the text that a layer reads; 0: none.
uint32_t TextWidth(const AttentionLayer& layer);

// A tensor that a down block hands to its up block.
struct SkipShape {
  uint32_t channels = 0;  // 0: nothing stands at this place
  Size size;

  bool present() const { return channels != 0; }
  bool operator==(const SkipShape&) const = default;
};

// What the UNet's blocks work on for a sample of one size.
struct SizedLayout {
  std::vector<Size> levels;        // one a level, the sample's first
  std::vector<SkipShape> skips;    // conv_in's output, then what each down block appends
  std::vector<SkipShape> outputs;  // of each down block
};

// INVALID_ARGUMENT where the image becomes too small for a sampler, or an up block would read a
// skip connection of another size or width: what diffusers fails on, too.
StatusOr<SizedLayout> SizeLayout(const UNetConfig& config, const UNetLayout& layout, Size sample);

}  // namespace unetd
