#include "server/base/text.h"
#include "server/unet/unet_inputs.h"

namespace unetd {
namespace {

// Whether any block is made for a text, even if none of its transformers has a layer that reads it.
bool HasCrossBlocks(const UNetLayout& layout) {
  for (const BlockLayout* block : layout.InModuleOrder()) {
    if (block->has_cross_attention()) return true;
  }
  return false;
}

// The width of the text that layers read; where there are none, that of the first block made for
// one.
uint32_t CrossDim(const UNetLayout& layout) {
  uint32_t width = 0;
  for (const BlockLayout* block : layout.InModuleOrder()) {
    for (const TransformerLayout& transformer : block->transformers) {
      if (transformer.depth > 0) return transformer.cross_dim;
      if (width == 0) width = transformer.cross_dim;
    }
  }
  return width;
}

void DeclareText(const UNetConfig& config, const UNetLayout& layout,
                 std::vector<InputDecl>& inputs) {
  if (!HasCrossBlocks(layout)) return;
  const int64_t width = config.encoder_hid_dim != 0 ? config.encoder_hid_dim : CrossDim(layout);
  InputDecl text{wire::kText, {-1, -1, width}};
  text.required = layout.attention_layers > 0;
  inputs.push_back(text);
}

void DeclareClassLabels(const UNetConfig& config, std::vector<InputDecl>& inputs) {
  InputDecl labels{wire::kClassLabels, {-1}};
  labels.any_number = true;
  labels.required = true;
  switch (config.class_embedding) {
    case ClassEmbedding::kNone:
      return;
    case ClassEmbedding::kLookup:
      labels.dtype = DType::kInt64;
      labels.entries = config.num_class_embeds;
      break;
    case ClassEmbedding::kTimestep:
      break;
    case ClassEmbedding::kIdentity:
      labels.shape.push_back(config.time_embed_dim);
      break;
    case ClassEmbedding::kProjection:
    case ClassEmbedding::kSimpleProjection:
      labels.shape.push_back(config.projection_input_dim);
      break;
  }
  inputs.push_back(labels);
}

void DeclareResiduals(const UNetConfig& config, const UNetLayout& layout,
                      std::vector<InputDecl>& inputs) {
  const auto residual = [&](std::string name, int64_t channels) {
    inputs.push_back({std::move(name), {-1, channels, -1, -1}});
  };
  std::vector<int64_t> adapter;
  for (const BlockLayout& block : layout.down) adapter.push_back(block.channels);
  if (layout.mid) adapter.push_back(layout.mid->channels);
  // Any size that can be halved will do to list the skips.
  constexpr uint32_t kAnySide = 1 << 16;
  const SizedLayout sized = *SizeLayout(config, layout, {kAnySide, kAnySide});
  for (size_t i = 0; i < sized.skips.size(); ++i) {
    // Without the middle's, the first few may be a T2I-Adapter's, as older clients send them.
    const int64_t channels = sized.skips[i].channels;
    const bool free = i < adapter.size() && adapter[i] != channels;
    residual(Format("{}{}", wire::kDownResidual, i), free ? -1 : channels);
  }
  residual(wire::kMidResidual, config.levels.back().channels);
  for (size_t i = 0; i < adapter.size(); ++i) {
    residual(Format("{}{}", wire::kAdapterResidual, i), adapter[i]);
  }
}

}  // namespace

bool InputDecl::Accepts(DType sent) const {
  return any_number || sent == DType::kFloat32 || sent == DType::kFloat16 ||
         sent == DType::kBFloat16;
}

std::vector<InputDecl> DeclareInputs(const UNetConfig& config, const UNetLayout& layout) {
  std::vector<InputDecl> inputs;
  InputDecl sample{wire::kSample, {-1, config.in_channels, -1, -1}};
  sample.required = true;
  inputs.push_back(sample);
  InputDecl timestep{wire::kTimestep, {-1}};
  timestep.any_number = true;
  timestep.required = true;
  inputs.push_back(timestep);
  DeclareText(config, layout, inputs);
  DeclareClassLabels(config, inputs);
  if (config.text_time) {
    InputDecl text{wire::kTextEmbeds, {-1, -1}};
    text.required = true;
    inputs.push_back(text);
    InputDecl ids{wire::kTimeIds, {-1, -1}};
    ids.required = true;
    ids.any_number = true;
    inputs.push_back(ids);
  }
  if (config.time_cond_dim != 0)
    inputs.push_back({wire::kTimestepCond, {-1, config.time_cond_dim}});
  if (layout.attention_layers > 0) {
    for (const char* name : {wire::kAttentionMask, wire::kTextMask}) {
      InputDecl mask{name, {-1, -1}};
      mask.any_number = true;
      inputs.push_back(mask);
    }
  }
  DeclareResiduals(config, layout, inputs);
  return inputs;
}

}  // namespace unetd
