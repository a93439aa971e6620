#include "server/unet/block_layout.h"

#include <algorithm>
#include <cmath>

#include "server/base/text.h"

namespace unetd {
namespace {

// Of K blocks, whatever norm_num_groups says.
constexpr uint32_t kGroupSize = 32;

void AddTransformer(const UNetConfig& config, const LevelConfig& level, uint32_t depth,
                    bool only_cross, uint32_t groups, BlockLayout& block) {
  TransformerLayout transformer;
  transformer.path = Format("{}.attentions.{}", block.path, block.transformers.size());
  transformer.channels = level.channels;
  transformer.groups = groups;
  transformer.heads = level.attention_head_dim;
  transformer.head_dim = level.channels / level.attention_head_dim;
  transformer.depth = depth;
  transformer.cross_dim = level.cross_dim;
  transformer.only_cross = only_cross;
  transformer.upcast = config.upcast_attention;
  transformer.gated = config.gligen != Gligen::kNone;
  block.transformers.push_back(std::move(transformer));
}

// One Attention over the image's own tokens, with biases everywhere.
AttentionLayer BiasedLayer(const std::string& name, uint32_t channels, uint32_t head_dim) {
  AttentionLayer layer;
  layer.name = name;
  layer.query_dim = channels;
  layer.heads = channels / head_dim;
  layer.head_dim = head_dim;
  layer.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  layer.qkv_bias = true;
  return layer;
}

void AddSimpleAttention(const UNetConfig& config, const LevelConfig& level, uint32_t head_dim,
                        bool only_cross, uint32_t groups, BlockLayout& block) {
  const std::string name = Format("{}.attentions.{}", block.path, block.attentions.size());
  AttentionLayer layer = BiasedLayer(name, block.channels, head_dim);
  layer.upcast_softmax = true;
  layer.added_kv_dim = level.cross_dim;
  layer.only_cross = only_cross;
  layer.norm_groups = groups;
  layer.norm_cross = config.cross_norm;
  block.attentions.push_back(std::move(layer));
}

void AddSelfAttention(const UNetConfig& config, uint32_t head_dim, BlockLayout& block) {
  const std::string name = Format("{}.attentions.{}", block.path, block.attentions.size());
  AttentionLayer layer = BiasedLayer(name, block.channels, head_dim);
  layer.upcast_softmax = true;
  layer.norm_groups = config.norm_num_groups;
  layer.norm_eps = config.norm_eps;
  layer.residual_connection = true;
  block.attentions.push_back(std::move(layer));
}

void AddKAttention(const LevelConfig& level, uint32_t channels, uint32_t head_dim, bool self,
                   BlockLayout& block) {
  KAttentionLayout attention;
  attention.path = Format("{}.attentions.{}", block.path, block.k_attentions.size());
  attention.channels = channels;
  attention.groups = std::max(1u, channels / kGroupSize);
  if (self) attention.attn1 = BiasedLayer(attention.path + ".attn1", channels, head_dim);
  attention.attn2 = BiasedLayer(attention.path + ".attn2", channels, head_dim);
  attention.attn2.cross_dim = level.cross_dim;
  attention.attn2.norm_cross = NormCross::kLayerNorm;
  block.k_attentions.push_back(std::move(attention));
}

ResnetLayout ResnetOf(const UNetConfig& config, const BlockLayout& block, uint32_t in_channels) {
  ResnetLayout resnet;
  resnet.path = Format("{}.resnets.{}", block.path, block.resnets.size());
  resnet.in_channels = in_channels;
  resnet.out_channels = resnet.hidden_channels = block.channels;
  resnet.groups_in = resnet.groups_out = config.norm_num_groups;
  if (block.kind == BlockKind::kResnet || block.kind == BlockKind::kSimple) {
    resnet.skip_time_act = config.skip_time_act;
    resnet.out_scale = 1.0f / config.resnet_out_scale_factor;
  }
  return resnet;
}

// `groups_of`: norm2 is grouped as if there were so many channels.
ResnetLayout KResnetOf(const BlockLayout& block, uint32_t in_channels, uint32_t groups_of) {
  ResnetLayout resnet;
  resnet.path = Format("{}.resnets.{}", block.path, block.resnets.size());
  resnet.in_channels = in_channels;
  resnet.out_channels = resnet.hidden_channels = block.channels;
  resnet.groups_in = in_channels / kGroupSize;
  resnet.groups_out = groups_of / kGroupSize;
  resnet.adaptive = true;
  return resnet;
}

void AddSampler(const UNetConfig& config, bool down, BlockLayout& block) {
  const std::string path = block.path + (down ? ".downsamplers.0" : ".upsamplers.0");
  switch (block.kind) {
    case BlockKind::kPlain:
    case BlockKind::kCross:
    case BlockKind::kAttn:
      block.sampler = path + ".conv";
      break;
    case BlockKind::kResnet:
    case BlockKind::kSimple:
      block.resnet_sampler = ResnetOf(config, block, block.channels);
      block.resnet_sampler->path = path;
      block.resnet_sampler->resample = down ? Resample::kHalve : Resample::kDouble;
      break;
    case BlockKind::kK:
    case BlockKind::kKCross:
      block.blurs = true;
      break;
  }
}

// The widths of resnets as a K up block has them: it reads one skip connection, and is as wide at
// its end as the next block.
void FillKUpBlock(const UNetConfig& config, uint32_t head_dim, uint32_t next, BlockLayout& block) {
  const LevelConfig& level = config.levels[block.level];
  const bool cross = block.kind == BlockKind::kKCross;
  const uint32_t width = level.channels;
  const uint32_t time = config.time_embed_dim * (config.class_embeddings_concat ? 2 : 1);
  // diffusers tells the first block by these three being one number.
  const bool first = cross && next == width && width == time;
  for (uint32_t j = 0; j < level.layers; ++j) {
    const bool last = j + 1 == level.layers;
    ResnetLayout resnet = KResnetOf(block, j == 0 && !first ? 2 * width : width, width);
    if (last) resnet.out_channels = next;
    if (last && !cross) resnet.hidden_channels = next;
    block.resnets.push_back(std::move(resnet));
    if (cross) AddKAttention(level, last ? next : width, head_dim, first, block);
  }
  block.channels = next;
}

uint32_t HeadDim(const LevelConfig& entry, uint32_t channels) {
  return entry.attention_head_dim != 0 ? entry.attention_head_dim : channels;
}

}  // namespace

BlockLayout DownBlockOf(const UNetConfig& config, uint32_t index) {
  const LevelConfig& level = config.levels[index];
  const bool last = index + 1 == config.levels.size();
  BlockLayout block;
  block.kind = level.down;
  block.path = Format("down_blocks.{}", index);
  block.level = index;
  block.channels = level.channels;
  const uint32_t before = config.levels[index == 0 ? 0 : index - 1].channels;
  const uint32_t head_dim = HeadDim(level, level.channels);
  for (uint32_t j = 0; j < level.layers; ++j) {
    const uint32_t in = j == 0 ? before : level.channels;
    block.resnets.push_back(IsK(level.down) ? KResnetOf(block, in, level.channels)
                                            : ResnetOf(config, block, in));
    switch (level.down) {
      case BlockKind::kCross:
        AddTransformer(config, level, level.down_depths[j], level.only_cross,
                       config.norm_num_groups, block);
        break;
      case BlockKind::kSimple:
        AddSimpleAttention(config, level, head_dim, level.only_cross, config.norm_num_groups,
                           block);
        break;
      case BlockKind::kAttn:
        AddSelfAttention(config, head_dim, block);
        break;
      case BlockKind::kKCross:
        AddKAttention(level, level.channels, head_dim, last, block);
        break;
      default:
        break;
    }
  }
  if (!last) AddSampler(config, true, block);
  return block;
}

BlockLayout UpBlockOf(const UNetConfig& config, uint32_t index) {
  const uint32_t count = static_cast<uint32_t>(config.levels.size());
  const uint32_t at = count - 1 - index;
  const LevelConfig& level = config.levels[at];
  BlockLayout block;
  block.kind = level.up;
  block.path = Format("up_blocks.{}", index);
  block.level = at;
  block.channels = level.channels;
  const uint32_t before = config.levels[at + 1 < count ? at + 1 : at].channels;
  const uint32_t next = config.levels[at > 0 ? at - 1 : 0].channels;
  // The number of heads belongs to the level; their width, as diffusers has it, to the index.
  const uint32_t head_dim = HeadDim(config.levels[index], level.channels);
  if (IsK(level.up)) {
    FillKUpBlock(config, head_dim, next, block);
  } else {
    for (uint32_t j = 0; j <= level.layers; ++j) {
      const uint32_t skip = j == level.layers ? next : level.channels;
      block.resnets.push_back(ResnetOf(config, block, (j == 0 ? before : level.channels) + skip));
      if (level.up == BlockKind::kCross) {
        AddTransformer(config, level, level.up_depths[j], level.only_cross, config.norm_num_groups,
                       block);
      } else if (level.up == BlockKind::kSimple) {
        AddSimpleAttention(config, level, head_dim, level.only_cross, config.norm_num_groups,
                           block);
      } else if (level.up == BlockKind::kAttn) {
        AddSelfAttention(config, head_dim, block);
      }
    }
  }
  if (at > 0) AddSampler(config, false, block);
  return block;
}

BlockLayout MidBlockOf(const UNetConfig& config) {
  const LevelConfig& level = config.levels.back();
  BlockLayout block;
  block.path = "mid_block";
  block.level = static_cast<uint32_t>(config.levels.size()) - 1;
  block.channels = level.channels;
  const uint32_t groups =
      config.norm_num_groups != 0 ? config.norm_num_groups : std::min(level.channels / 4, 32u);
  if (config.mid == MidBlock::kCrossAttn) {
    block.kind = BlockKind::kCross;
    // only_cross_attention never reaches the middle's transformers.
    AddTransformer(config, level, config.mid_depth, false, groups, block);
  } else if (config.mid == MidBlock::kSimple) {
    block.kind = BlockKind::kSimple;
    AddSimpleAttention(config, level, level.attention_head_dim, config.mid_only_cross, groups,
                       block);
  }
  const size_t resnets = config.mid == MidBlock::kPlain ? 1 : 2;
  for (size_t j = 0; j < resnets; ++j) {
    ResnetLayout resnet = ResnetOf(config, block, level.channels);
    resnet.groups_in = resnet.groups_out = groups;
    resnet.out_scale = 1.0f / config.mid_block_scale_factor;
    block.resnets.push_back(std::move(resnet));
  }
  return block;
}

}  // namespace unetd
