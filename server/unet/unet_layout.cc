#include "server/unet/unet_layout.h"

#include <cmath>

#include "server/base/text.h"
#include "server/unet/block_layout.h"

namespace unetd {

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

AttentionLayer TransformerLayout::FuserAttn(uint32_t block) const {
  AttentionLayer layer = Attn1(block);
  layer.name = BlockPath(block) + ".fuser.attn";
  layer.cross_dim = 0;
  layer.upcast_attention = false;
  return layer;
}

std::vector<const BlockLayout*> UNetLayout::InModuleOrder() const {
  std::vector<const BlockLayout*> blocks;
  for (const BlockLayout& block : down) blocks.push_back(&block);
  for (const BlockLayout& block : up) blocks.push_back(&block);
  if (mid) blocks.push_back(&*mid);
  return blocks;
}

namespace {

uint64_t CountLayers(const BlockLayout& block) {
  uint64_t layers = block.attentions.size();
  for (const TransformerLayout& transformer : block.transformers) {
    layers += (transformer.gated ? 3 : 2) * uint64_t{transformer.depth};
  }
  for (const KAttentionLayout& attention : block.k_attentions) layers += attention.attn1 ? 2 : 1;
  return layers;
}

uint32_t TextWidthOf(const BlockLayout& block) {
  for (const TransformerLayout& transformer : block.transformers) {
    if (transformer.depth > 0) return transformer.cross_dim;
  }
  for (const AttentionLayer& layer : block.attentions) return TextWidth(layer);
  for (const KAttentionLayout& attention : block.k_attentions) return TextWidth(attention.attn2);
  return 0;
}

}  // namespace

UNetLayout MakeLayout(const UNetConfig& config) {
  UNetLayout layout;
  const uint32_t count = static_cast<uint32_t>(config.levels.size());
  for (uint32_t i = 0; i < count; ++i) layout.down.push_back(DownBlockOf(config, i));
  for (uint32_t i = 0; i < count; ++i) layout.up.push_back(UpBlockOf(config, i));
  if (config.mid != MidBlock::kNone) layout.mid = MidBlockOf(config);
  for (const BlockLayout* block : layout.InModuleOrder()) {
    layout.attention_layers += CountLayers(*block);
    if (layout.text_width == 0) layout.text_width = TextWidthOf(*block);
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
        if (transformer.gated) layers.push_back(transformer.FuserAttn(k));
      }
    }
    layers.insert(layers.end(), block->attentions.begin(), block->attentions.end());
    for (const KAttentionLayout& attention : block->k_attentions) {
      if (attention.attn1) layers.push_back(*attention.attn1);
      layers.push_back(attention.attn2);
    }
  }
  return layers;
}

uint32_t TextWidth(const AttentionLayer& layer) {
  return layer.has_added_kv() ? layer.added_kv_dim : layer.cross_dim;
}

}  // namespace unetd
