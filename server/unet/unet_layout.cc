#include "server/unet/unet_layout.h"

#include <cmath>

#include "server/base/text.h"

namespace unetd {
namespace {

void AddTransformer(const UNetConfig& config, const LevelConfig& level, uint32_t depth,
                    bool only_cross, BlockLayout& block) {
  TransformerLayout transformer;
  transformer.path = Format("{}.attentions.{}", block.path, block.transformers.size());
  transformer.channels = level.channels;
  transformer.heads = level.heads;
  transformer.head_dim = level.channels / level.heads;
  transformer.depth = depth;
  transformer.cross_dim = level.cross_dim;
  transformer.only_cross = only_cross;
  transformer.upcast = config.upcast_attention;
  block.transformers.push_back(std::move(transformer));
}

void AddResnet(uint32_t in_channels, BlockLayout& block) {
  block.resnets.push_back(
      {Format("{}.resnets.{}", block.path, block.resnets.size()), in_channels, block.channels});
}

BlockLayout DownBlock(const UNetConfig& config, uint32_t index) {
  const LevelConfig& level = config.levels[index];
  BlockLayout block;
  block.path = Format("down_blocks.{}", index);
  block.level = index;
  block.channels = level.channels;
  const uint32_t before = config.levels[index == 0 ? 0 : index - 1].channels;
  for (uint32_t j = 0; j < level.layers; ++j) {
    AddResnet(j == 0 ? before : level.channels, block);
    if (level.down_cross)
      AddTransformer(config, level, level.down_depths[j], level.only_cross, block);
  }
  if (index + 1 < config.levels.size()) block.sampler = block.path + ".downsamplers.0.conv";
  return block;
}

BlockLayout UpBlock(const UNetConfig& config, uint32_t index) {
  const uint32_t count = static_cast<uint32_t>(config.levels.size());
  const uint32_t at = count - 1 - index;
  const LevelConfig& level = config.levels[at];
  BlockLayout block;
  block.path = Format("up_blocks.{}", index);
  block.level = at;
  block.channels = level.channels;
  const uint32_t before = config.levels[at + 1 < count ? at + 1 : at].channels;
  const uint32_t last_skip = config.levels[at > 0 ? at - 1 : 0].channels;
  for (uint32_t j = 0; j <= level.layers; ++j) {
    AddResnet((j == 0 ? before : level.channels) + (j == level.layers ? last_skip : level.channels),
              block);
    if (level.up_cross) AddTransformer(config, level, level.up_depths[j], level.only_cross, block);
  }
  if (at > 0) block.sampler = block.path + ".upsamplers.0.conv";
  return block;
}

BlockLayout MidBlockOf(const UNetConfig& config) {
  const LevelConfig& level = config.levels.back();
  BlockLayout block;
  block.path = "mid_block";
  block.level = static_cast<uint32_t>(config.levels.size()) - 1;
  block.channels = level.channels;
  AddResnet(level.channels, block);
  if (config.mid == MidBlock::kCrossAttn) {
    // only_cross_attention never reaches the middle.
    AddTransformer(config, level, config.mid_depth, false, block);
    AddResnet(level.channels, block);
  }
  return block;
}

// A 3x3 convolution of stride 2.
uint32_t Halved(uint32_t side, uint32_t padding) {
  // Without padding, diffusers adds one row of zeros at the far end.
  const uint32_t padded = side + (padding == 0 ? 1 : 2 * padding);
  return padded < 3 ? 0 : (padded - 3) / 2 + 1;
}

}  // namespace

std::string TransformerLayout::BlockPath(uint32_t block) const {
  return Format("{}.transformer_blocks.{}", path, block);
}

AttentionLayer TransformerLayout::Attn1(uint32_t block) const {
  AttentionLayer layer;
  layer.name = BlockPath(block) + ".attn1";
  layer.query_dim = inner_dim();
  layer.cross_dim = only_cross ? cross_dim : 0;
  layer.heads = heads;
  layer.head_dim = head_dim;
  layer.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  layer.upcast_attention = upcast;
  return layer;
}

AttentionLayer TransformerLayout::Attn2(uint32_t block) const {
  AttentionLayer layer = Attn1(block);
  layer.name = BlockPath(block) + ".attn2";
  layer.cross_dim = cross_dim;
  return layer;
}

std::vector<const BlockLayout*> UNetLayout::InModuleOrder() const {
  std::vector<const BlockLayout*> blocks;
  for (const BlockLayout& block : down) blocks.push_back(&block);
  for (const BlockLayout& block : up) blocks.push_back(&block);
  if (mid) blocks.push_back(&*mid);
  return blocks;
}

UNetLayout MakeLayout(const UNetConfig& config) {
  UNetLayout layout;
  const uint32_t count = static_cast<uint32_t>(config.levels.size());
  for (uint32_t i = 0; i < count; ++i) layout.down.push_back(DownBlock(config, i));
  for (uint32_t i = 0; i < count; ++i) layout.up.push_back(UpBlock(config, i));
  if (config.mid != MidBlock::kNone) layout.mid = MidBlockOf(config);
  for (const BlockLayout* block : layout.InModuleOrder()) {
    for (const TransformerLayout& transformer : block->transformers) {
      layout.attention_layers += 2 * uint64_t{transformer.depth};
    }
  }
  return layout;
}

std::vector<AttentionLayer> ListLayers(const UNetLayout& layout) {
  std::vector<AttentionLayer> layers;
  for (const BlockLayout* block : layout.InModuleOrder()) {
    for (const TransformerLayout& transformer : block->transformers) {
      for (uint32_t k = 0; k < transformer.depth; ++k) {
        layers.push_back(transformer.Attn1(k));
        layers.push_back(transformer.Attn2(k));
      }
    }
  }
  return layers;
}

std::optional<SizedLayout> SizeLayout(const UNetConfig& config, const UNetLayout& layout,
                                      Size sample) {
  SizedLayout sized;
  Size size = sample;
  sized.skips.push_back({config.levels.front().channels, size});
  for (const BlockLayout& block : layout.down) {
    sized.levels.push_back(size);
    for (size_t j = 0; j < block.resnets.size(); ++j) sized.skips.push_back({block.channels, size});
    if (!block.sampler.empty()) {
      size = {Halved(size.h, config.downsample_padding), Halved(size.w, config.downsample_padding)};
      if (size.h == 0 || size.w == 0) return std::nullopt;
      sized.skips.push_back({block.channels, size});
    }
    sized.outputs.push_back({block.channels, size});
  }
  return sized;
}

}  // namespace unetd
