#include "server/unet/config_levels.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "server/base/text.h"
#include "server/unet/block_types.h"

namespace unetd {
namespace {

constexpr size_t kMaxLevels = 10;
constexpr Range kLayers{1, 64};
constexpr Range kDepth{0, 256};

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
    config.levels[i].down =
        KindOfBlock(reader, BlockSide::kDown, Format("down_block_types[{}]", i), down[i]);
    config.levels[down.size() - 1 - i].up =
        KindOfBlock(reader, BlockSide::kUp, Format("up_block_types[{}]", i), up[i]);
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
    config.mid = MidBlock::kSimple;
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
    if (level.down == BlockKind::kCross)
      level.down_depths = DepthsOf(reader, where, EntryOf(depths, i), level.layers);
    if (level.up != BlockKind::kCross) continue;
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
  const auto head_dims = reader.Counts("attention_head_dim", 8, count, kChannels, true);
  const auto cross = reader.Counts("cross_attention_dim", 1280, count, kChannels);
  const Json* cross_key = reader.Find("cross_attention_dim");
  if (cross_key == nullptr || !cross_key->is_array()) config.cross_dim = cross.front();
  const auto only = reader.Bools("only_cross_attention", false, count);
  for (size_t i = 0; i < count; ++i) {
    LevelConfig& level = config.levels[i];
    level.channels = reader.CountOf(Format("block_out_channels[{}]", i), list[i], kChannels);
    level.layers = layers[i];
    level.attention_head_dim = head_dims[i];
    level.cross_dim = cross[i];
    level.only_cross = only[i];
  }
}

bool HasResnetBlock2D(const UNetConfig& config) {
  if (config.mid != MidBlock::kNone) return true;
  return std::any_of(config.levels.begin(), config.levels.end(),
                     [](const LevelConfig& level) { return !IsK(level.down) || !IsK(level.up); });
}

void ReadNorms(ConfigReader& reader, UNetConfig& config) {
  constexpr char kGroups[] = "norm_num_groups", kShift[] = "resnet_time_scale_shift";
  const auto is_k = [](const LevelConfig& level) { return IsK(level.down) && IsK(level.up); };
  const bool all_k = std::all_of(config.levels.begin(), config.levels.end(), is_k);
  const bool null = reader.Find(kGroups) != nullptr && reader.IsNull(kGroups);
  if (null && !all_k) {
    reader.Fail(kGroups, "null, which only K blocks can do without; expected a number");
  }
  config.norm_num_groups = null ? 0 : reader.Count(kGroups, 32, kChannels);
  config.norm_eps = static_cast<float>(reader.Number("norm_eps", 1e-5));
  if (!(config.norm_eps >= 0))
    reader.Fail("norm_eps", Format("expected a number >= 0, got {}", config.norm_eps));
  const std::string shift = reader.Text(kShift, "default");
  config.scale_shift = shift == "scale_shift";
  if (!config.scale_shift && shift != "default" && HasResnetBlock2D(config)) {
    reader.Fail(kShift, Quoted(shift) +
                            ": diffusers runs these blocks with 'default' or "
                            "'scale_shift' only");
  }
}

float ReadFactor(ConfigReader& reader, const char* key) {
  const float factor = static_cast<float>(reader.Number(key, 1));
  if (!std::isnormal(factor))
    reader.Fail(key, Format("expected a number other than 0, got {}", factor));
  return factor;
}

// What only some blocks read; a wrong value is no error where there are none of them.
void ReadSimpleKeys(ConfigReader& reader, UNetConfig& config) {
  config.skip_time_act = reader.Bool("resnet_skip_time_act", false);
  const auto is_scaled = [](const LevelConfig& level) {
    return level.down == BlockKind::kResnet || level.up == BlockKind::kResnet ||
           level.down == BlockKind::kSimple || level.up == BlockKind::kSimple;
  };
  reader.Number("resnet_out_scale_factor", 1);
  if (std::any_of(config.levels.begin(), config.levels.end(), is_scaled))
    config.resnet_out_scale_factor = ReadFactor(reader, "resnet_out_scale_factor");
  const auto is_simple = [](const LevelConfig& level) {
    return level.down == BlockKind::kSimple || level.up == BlockKind::kSimple;
  };
  const bool used = config.mid == MidBlock::kSimple ||
                    std::any_of(config.levels.begin(), config.levels.end(), is_simple);
  const std::string norm = reader.TextOrNone("cross_attention_norm");
  if (norm == "layer_norm") config.cross_norm = NormCross::kLayerNorm;
  if (norm == "group_norm") config.cross_norm = NormCross::kGroupNorm;
  if (used && !norm.empty() && config.cross_norm == NormCross::kNone) {
    reader.Fail("cross_attention_norm",
                Quoted(norm) + ": expected null, 'layer_norm' or 'group_norm'");
  }
  // null: as only_cross_attention says, if that is one value for all.
  const Json* only = reader.Find("only_cross_attention");
  const bool one = only != nullptr && only->is_boolean() && *only == true;
  config.mid_only_cross = reader.Bool("mid_block_only_cross_attention", one);
}

void ReadAttentionType(ConfigReader& reader, UNetConfig& config) {
  const auto is_cross = [](const LevelConfig& level) {
    return level.down == BlockKind::kCross || level.up == BlockKind::kCross;
  };
  const bool transformers = config.mid == MidBlock::kCrossAttn ||
                            std::any_of(config.levels.begin(), config.levels.end(), is_cross);
  if (reader.Bool("dual_cross_attention", false) && transformers) {
    reader.Fail("dual_cross_attention",
                "true: diffusers itself cannot run it in a UNet2DConditionModel "
                "(DualTransformer2DModel takes no encoder_attention_mask)");
  }
  const std::string type = reader.Text("attention_type", "default");
  if (type == "gated") config.gligen = Gligen::kText;
  if (type == "gated-text-image") config.gligen = Gligen::kTextImage;
  if (config.gligen != Gligen::kNone && config.cross_dim == 0) {
    reader.Fail("attention_type", Quoted(type) +
                                      " needs cross_attention_dim to be one integer, got " +
                                      ShownJson(*reader.Find("cross_attention_dim")));
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
  ReadNorms(reader, config);
  config.mid_block_scale_factor = ReadFactor(reader, "mid_block_scale_factor");
  ReadSimpleKeys(reader, config);
  ReadAttentionType(reader, config);
}

}  // namespace unetd
