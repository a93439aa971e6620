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

struct ResnetLayout {
  std::string path;  // "down_blocks.0.resnets.1"
  uint32_t in_channels = 0;
  uint32_t out_channels = 0;
};

// Transformer2DModel. Its inside is heads * head_dim wide, which may be less than its channels.
struct TransformerLayout {
  std::string path;  // "down_blocks.0.attentions.1"
  uint32_t channels = 0;
  uint32_t heads = 0;
  uint32_t head_dim = 0;
  uint32_t depth = 0;  // transformer blocks; 0 is legal
  uint32_t cross_dim = 0;
  bool only_cross = false;
  bool upcast = false;

  uint32_t inner_dim() const { return heads * head_dim; }
  AttentionLayer Attn1(uint32_t block) const;
  AttentionLayer Attn2(uint32_t block) const;
  std::string BlockPath(uint32_t block) const;
};

struct BlockLayout {
  std::string path;       // "down_blocks.0", "mid_block"
  uint32_t level = 0;     // index of its size: 0 is the sample's
  uint32_t channels = 0;  // of its output
  std::vector<ResnetLayout> resnets;
  std::vector<TransformerLayout> transformers;  // empty if it is a plain block
  std::string sampler;                          // its convolution, "" if it has none

  bool has_cross_attention() const { return !transformers.empty(); }
};

struct UNetLayout {
  std::vector<BlockLayout> down, up;
  std::optional<BlockLayout> mid;
  uint64_t attention_layers = 0;

  // down, up, mid: the order in which diffusers registers modules, so that of attn_processors.
  std::vector<const BlockLayout*> InModuleOrder() const;
};

UNetLayout MakeLayout(const UNetConfig& config);

// Every attention layer in diffusers' attn_processors order.
std::vector<AttentionLayer> ListLayers(const UNetLayout& layout);

// A tensor that a down block hands to its up block.
struct SkipShape {
  uint32_t channels = 0;
  Size size;
  bool operator==(const SkipShape&) const = default;
};

// What the UNet's blocks work on for a sample of one size.
struct SizedLayout {
  std::vector<Size> levels;        // one a level, the sample's first
  std::vector<SkipShape> skips;    // conv_in's output, then what each down block appends
  std::vector<SkipShape> outputs;  // of each down block
};

// Absent if the image becomes smaller than a downsampler's kernel.
std::optional<SizedLayout> SizeLayout(const UNetConfig& config, const UNetLayout& layout,
                                      Size sample);

}  // namespace unetd
