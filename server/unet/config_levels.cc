#include "server/unet/config_levels.h"

#include <algorithm>
#include <cmath>

#include "server/base/text.h"
#include "server/unet/block_types.h"
#include "server/unet/unet_layout.h"

namespace unetd {
namespace {

constexpr size_t kMaxLevels = 10;
constexpr Range kLayers{1, 64};
constexpr Range kDepth{0, 256};
constexpr size_t kMaxAttentionLayers = 8192;

using Json = ConfigReader::Json;
using Depths = std::vector<uint32_t>;

void ReadTypes(ConfigReader& reader, UNetConfig& config) {
  const auto down = reader.Names(
      "down_block_types",
      {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"});
  const auto up = reader.Names("up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D",
                                                  "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"});
  if (down.empty() || down.size() > kMaxLevels) {
    return reader.Fail("down_block_types",
                       Format("expected 1 to {} blocks, got {}", kMaxLevels, down.size()));
  }
  if (up.size() != down.size()) {
    return reader.Fail("up_block_types",
                       Format("expected as many blocks as down_block_types has, {}, got {}",
                              down.size(), up.size()));
  }
  config.levels.resize(down.size());
  for (size_t i = 0; i < down.size(); ++i) {
    config.levels[i].down_cross =
        IsCrossBlock(reader, BlockSide::kDown, Format("down_block_types[{}]", i), down[i]);
    config.levels[down.size() - 1 - i].up_cross =
        IsCrossBlock(reader, BlockSide::kUp, Format("up_block_types[{}]", i), up[i]);
  }
}

void ReadMidType(ConfigReader& reader, UNetConfig& config) {
  const Json* value = reader.Find("mid_block_type");
  if (value == nullptr || *value == "UNetMidBlock2DCrossAttn") {
    config.mid = MidBlock::kCrossAttn;
  } else if (value->is_null()) {
    config.mid = MidBlock::kNone;
  } else if (*value == "UNetMidBlock2D") {
    config.mid = MidBlock::kPlain;
  } else if (*value == "UNetMidBlock2DSimpleCrossAttn") {
    reader.NotBuilt("mid_block_type", *value);
  } else {
    reader.Fail("mid_block_type",
                ShownJson(*value) +
                    ": expected null, 'UNetMidBlock2DCrossAttn', 'UNetMidBlock2D' "
                    "or 'UNetMidBlock2DSimpleCrossAttn'");
  }
}

// The transformer depths behind `count` resnets, from one integer or a list with one for each
// (longer ones are cut, as diffusers reads only so many).
Depths DepthsOf(ConfigReader& reader, const std::string& where, const Json& value, size_t count) {
  if (!value.is_array()) return Depths(count, reader.CountOf(where, value, kDepth));
  Depths depths(count, 0);
  if (value.size() < count) {
    reader.Fail(where, Format("expected one depth for each of {} resnets, got {}", count,
                              ShownJson(value)));
    return depths;
  }
  for (size_t i = 0; i < count; ++i)
    depths[i] = reader.CountOf(Format("{}[{}]", where, i), value[i], kDepth);
  return depths;
}

// `value`'s entry of a level, or `value` itself where it is one for all.
const Json& EntryOf(const Json& value, size_t index) {
  return value.is_array() ? value[index] : value;
}

void ReadDepths(ConfigReader& reader, UNetConfig& config) {
  constexpr char kKey[] = "transformer_layers_per_block";
  constexpr char kReverseKey[] = "reverse_transformer_layers_per_block";
  static const Json kOne = 1;
  const size_t count = config.levels.size();
  const Json& depths = reader.Find(kKey) != nullptr ? *reader.Find(kKey) : kOne;
  const Json* reverse = reader.IsNull(kReverseKey) ? nullptr : reader.Find(kReverseKey);
  if (depths.is_array() && depths.size() != count) {
    return reader.Fail(
        kKey, Format("expected an integer or a list of {}, got {}", count, ShownJson(depths)));
  }
  if (reverse != nullptr && (!reverse->is_array() || reverse->size() != count)) {
    return reader.Fail(kReverseKey,
                       Format("expected null or a list of {}, got {}", count, ShownJson(*reverse)));
  }
  const auto is_list = [](const Json& entry) { return entry.is_array(); };
  if (reverse == nullptr && depths.is_array() &&
      std::any_of(depths.begin(), depths.end(), is_list)) {
    return reader.Fail(kKey, ShownJson(depths) +
                                 ": a list in the list needs reverse_transformer_layers_per_block");
  }
  for (size_t i = 0; i < count; ++i) {
    LevelConfig& level = config.levels[i];
    const size_t up = count - 1 - i;  // the up block of this level, in the order of the up blocks
    const std::string where = depths.is_array() ? Format("{}[{}]", kKey, i) : kKey;
    if (level.down_cross)
      level.down_depths = DepthsOf(reader, where, EntryOf(depths, i), level.layers);
    if (!level.up_cross) continue;
    level.up_depths =
        reverse == nullptr
            ? DepthsOf(reader, where, EntryOf(depths, i), level.layers + 1)
            : DepthsOf(reader, Format("{}[{}]", kReverseKey, up), (*reverse)[up], level.layers + 1);
  }
  if (config.mid != MidBlock::kCrossAttn) return;
  const std::string where = depths.is_array() ? Format("{}[{}]", kKey, count - 1) : kKey;
  config.mid_depth = DepthsOf(reader, where, EntryOf(depths, count - 1), 1).front();
}

void ReadWidths(ConfigReader& reader, UNetConfig& config) {
  const size_t count = config.levels.size();
  const Json* channels = reader.Find("block_out_channels");
  static const Json kDefault = {320, 640, 1280, 1280};
  const Json& list = channels != nullptr ? *channels : kDefault;
  if (!list.is_array() || list.size() != count) {
    return reader.Fail("block_out_channels",
                       Format("expected a list of {} (one for each of down_block_types), got {}",
                              count, ShownJson(list)));
  }
  const auto layers = reader.Counts("layers_per_block", 2, count, kLayers);
  const auto heads = reader.Counts("attention_head_dim", 8, count, kChannels, true);
  const auto cross = reader.Counts("cross_attention_dim", 1280, count, kChannels);
  const auto only = reader.Bools("only_cross_attention", false, count);
  for (size_t i = 0; i < count; ++i) {
    LevelConfig& level = config.levels[i];
    level.channels = reader.CountOf(Format("block_out_channels[{}]", i), list[i], kChannels);
    level.layers = layers[i];
    level.heads = heads[i];
    level.cross_dim = cross[i];
    level.only_cross = only[i];
  }
}

void CheckHeads(ConfigReader& reader, const UNetConfig& config) {
  for (size_t i = 0; i < config.levels.size(); ++i) {
    const LevelConfig& level = config.levels[i];
    const bool mid = i + 1 == config.levels.size() && config.mid == MidBlock::kCrossAttn;
    if (!level.down_cross && !level.up_cross && !mid) continue;
    if (level.heads == 0 || level.heads > level.channels) {
      const std::string got = level.heads == 0 ? "null" : Format("{}", level.heads);
      reader.Fail("attention_head_dim",
                  Format("{} at level {}: expected 1 to {} heads (block_out_channels[{}]); in "
                         "these blocks the key is the number of heads",
                         got, i, level.channels, i));
    }
  }
}

void CheckGroups(ConfigReader& reader, const UNetConfig& config, const UNetLayout& layout) {
  const auto check = [&](const std::string& norm, uint32_t channels) {
    if (channels % config.norm_num_groups == 0) return;
    reader.Fail("norm_num_groups",
                Format("{} does not divide the {} channels of {} (see block_out_channels)",
                       config.norm_num_groups, channels, norm));
  };
  for (const BlockLayout* block : layout.InModuleOrder()) {
    for (const ResnetLayout& resnet : block->resnets) {
      check(resnet.path + ".norm1", resnet.in_channels);
      check(resnet.path + ".norm2", resnet.out_channels);
    }
  }
  check("conv_norm_out", config.levels.front().channels);
}

// One text serves all layers, so all that read it must agree on its width.
void CheckText(ConfigReader& reader, const UNetLayout& layout) {
  const std::vector<AttentionLayer> layers = ListLayers(layout);
  const AttentionLayer* first = nullptr;
  for (const AttentionLayer& layer : layers) {
    if (!layer.is_cross()) continue;
    if (first == nullptr) first = &layer;
    if (layer.cross_dim != first->cross_dim) {
      reader.Fail("cross_attention_dim",
                  Format("{} reads a text {} wide, {} one {} wide, and there is one text for "
                         "all",
                         first->name, first->cross_dim, layer.name, layer.cross_dim));
    }
  }
}

}  // namespace

void ReadLevels(ConfigReader& reader, UNetConfig& config) {
  ReadTypes(reader, config);
  ReadMidType(reader, config);
  if (!reader.status().ok()) return;
  ReadWidths(reader, config);
  ReadDepths(reader, config);
  config.upcast_attention = reader.Bool("upcast_attention", false);
  reader.Bool("use_linear_projection", false);  // the same numbers either way
  config.downsample_padding = reader.Count("downsample_padding", 1, {0, 1});
  if (reader.Find("norm_num_groups") != nullptr && reader.IsNull("norm_num_groups")) {
    reader.Fail("norm_num_groups", "null is for K blocks, which are not built yet");
  }
  config.norm_num_groups = reader.Count("norm_num_groups", 32, kChannels);
  config.norm_eps = static_cast<float>(reader.Number("norm_eps", 1e-5));
  if (!(config.norm_eps >= 0))
    reader.Fail("norm_eps", Format("expected a number >= 0, got {}", config.norm_eps));
  config.mid_block_scale_factor = static_cast<float>(reader.Number("mid_block_scale_factor", 1));
  if (!std::isnormal(config.mid_block_scale_factor)) {
    reader.Fail("mid_block_scale_factor",
                Format("expected a number other than 0, got {}", config.mid_block_scale_factor));
  }
  if (!reader.status().ok()) return;
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
}

}  // namespace unetd
