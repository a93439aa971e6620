#include "server/unet/config_checks.h"

#include <algorithm>

#include "server/base/text.h"
#include "server/unet/unet_layout.h"

namespace unetd {
namespace {

constexpr size_t kMaxAttentionLayers = 8192;
constexpr uint32_t kCrossNormGroups = 32;  // whatever norm_num_groups says

void CheckHeadDim(ConfigReader& reader, uint32_t head_dim, uint32_t index, uint32_t channels,
                  const std::string& block) {
  if (head_dim <= channels) return;
  reader.Fail("attention_head_dim",
              Format("{} at index {}: expected at most the {} channels of {}, where the key is the "
                     "width of a head",
                     head_dim, index, channels, block));
}

void CheckTransformerHeads(ConfigReader& reader, const UNetConfig& config, size_t i, bool mid) {
  const LevelConfig& level = config.levels[i];
  const bool used = level.down == BlockKind::kCross || level.up == BlockKind::kCross ||
                    (mid && config.mid == MidBlock::kCrossAttn);
  if (!used || (level.attention_head_dim != 0 && level.attention_head_dim <= level.channels)) {
    return;
  }
  const uint32_t heads = level.attention_head_dim;
  reader.Fail("attention_head_dim",
              Format("{} at level {}: expected 1 to {} heads (block_out_channels[{}]); in these "
                     "blocks the key is the number of heads",
                     heads == 0 ? "null" : Format("{}", heads), i, level.channels, i));
}

bool HasHeadDim(BlockKind kind) {
  return kind == BlockKind::kSimple || kind == BlockKind::kAttn || kind == BlockKind::kKCross;
}

// Before there is a layout: it divides by these.
void CheckHeads(ConfigReader& reader, const UNetConfig& config) {
  const size_t count = config.levels.size();
  for (size_t i = 0; i < count; ++i) {
    const LevelConfig& down = config.levels[i];
    const LevelConfig& up = config.levels[count - 1 - i];  // the up block that reads this entry
    CheckTransformerHeads(reader, config, i, i + 1 == count);
    const uint32_t index = static_cast<uint32_t>(i), head_dim = down.attention_head_dim;
    if (HasHeadDim(down.down))
      CheckHeadDim(reader, head_dim, index, down.channels, Format("down_blocks.{}", i));
    if (!HasHeadDim(up.up)) continue;
    uint32_t channels = up.channels;
    // Its last layer is as wide as the next block wants it.
    if (up.up == BlockKind::kKCross && i + 1 < count)
      channels = std::min(channels, config.levels[count - 2 - i].channels);
    // null: as wide as the block.
    CheckHeadDim(reader, head_dim != 0 || up.up != BlockKind::kKCross ? head_dim : up.channels,
                 index, channels, Format("up_blocks.{}", i));
  }
  if (config.mid != MidBlock::kSimple) return;
  const LevelConfig& last = config.levels.back();
  const uint32_t index = static_cast<uint32_t>(count) - 1;
  CheckHeadDim(reader, last.attention_head_dim, index, last.channels, "mid_block");
  if (last.attention_head_dim == 0) {
    reader.Fail("attention_head_dim",
                Format("null at level {}: mid_block needs the width of its heads", index));
  }
}

void CheckDivides(ConfigReader& reader, uint32_t groups, uint32_t channels, bool fixed,
                  const std::string& norm) {
  if (groups != 0 && channels % groups == 0) return;
  if (fixed) {
    return reader.Fail("block_out_channels",
                       Format("the {} channels of {} are not in {} equal groups{}", channels, norm,
                              groups, groups == 0 ? ": K blocks need at least 32 channels" : ""));
  }
  reader.Fail("norm_num_groups", Format("{} does not divide the {} channels of {} (see "
                                        "block_out_channels)",
                                        groups, channels, norm));
}

void CheckResnetGroups(ConfigReader& reader, const ResnetLayout& resnet) {
  CheckDivides(reader, resnet.groups_in, resnet.in_channels, resnet.adaptive,
               resnet.path + ".norm1");
  CheckDivides(reader, resnet.groups_out, resnet.hidden_channels, resnet.adaptive,
               resnet.path + ".norm2");
}

void CheckGroups(ConfigReader& reader, const UNetConfig& config, const UNetLayout& layout) {
  for (const BlockLayout* block : layout.InModuleOrder()) {
    for (const ResnetLayout& resnet : block->resnets) CheckResnetGroups(reader, resnet);
    for (const KAttentionLayout& attention : block->k_attentions) {
      CheckDivides(reader, attention.groups, attention.channels, true, attention.path + ".norm2");
    }
  }
  if (config.norm_num_groups == 0) return;
  CheckDivides(reader, config.norm_num_groups, config.levels.front().channels, false,
               "conv_norm_out");
}

// One text serves all layers, so all that read it must agree on its width.
void CheckText(ConfigReader& reader, const UNetLayout& layout) {
  const std::vector<AttentionLayer> layers = ListLayers(layout);
  const AttentionLayer* first = nullptr;
  for (const AttentionLayer& layer : layers) {
    if (TextWidth(layer) == 0) continue;
    if (first == nullptr) first = &layer;
    if (TextWidth(layer) != TextWidth(*first)) {
      reader.Fail("cross_attention_dim",
                  Format("{} reads a text {} wide, {} one {} wide, and there is one text for "
                         "all",
                         first->name, TextWidth(*first), layer.name, TextWidth(layer)));
    }
    if (!layer.has_added_kv()) continue;
    const uint32_t width = TextWidth(layer);
    if (layer.norm_cross == NormCross::kGroupNorm && width % kCrossNormGroups != 0) {
      reader.Fail("cross_attention_norm",
                  Format("'group_norm' has {} groups, which do not divide the {} channels of the "
                         "text of {}",
                         kCrossNormGroups, width, layer.name));
    }
    // diffusers makes it as wide as the image, and then norms the text with it.
    if (layer.norm_cross == NormCross::kLayerNorm && width != layer.query_dim) {
      reader.Fail("cross_attention_norm",
                  Format("'layer_norm' of {} is {} wide and its text {}: diffusers cannot run it",
                         layer.name, layer.query_dim, width));
    }
  }
}

// Whether every skip connection fits the resnet that reads it: K blocks hand on fewer and need
// others than the rest.
void CheckSkips(ConfigReader& reader, const UNetConfig& config, const UNetLayout& layout) {
  constexpr uint32_t kAnySide = 1 << 16;  // can be halved as often as there may be levels
  const auto sized = SizeLayout(config, layout, {kAnySide, kAnySide});
  if (!sized.ok()) {
    reader.Fail("up_block_types",
                "diffusers itself cannot run these blocks: " + sized.status().message());
  }
}

}  // namespace

void CheckModules(ConfigReader& reader, const UNetConfig& config) {
  CheckHeads(reader, config);
  if (!reader.status().ok()) return;
  const UNetLayout layout = MakeLayout(config);
  if (layout.attention_layers > kMaxAttentionLayers) {
    return reader.Fail("transformer_layers_per_block",
                       Format("{} attention layers in all, at most {} are served",
                              layout.attention_layers, kMaxAttentionLayers));
  }
  CheckGroups(reader, config, layout);
  CheckText(reader, layout);
  CheckSkips(reader, config, layout);
}

}  // namespace unetd
