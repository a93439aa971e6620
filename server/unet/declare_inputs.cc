#include <algorithm>

#include "server/base/text.h"
#include "server/unet/mask_checks.h"
#include "server/unet/stage_row.h"
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

// Whether requests may leave the text out: layers with added keys and values then take the image
// for it, if that is as wide. A transformer's would too in diffusers, but a text forgotten there
// would go unseen, so it is asked for.
bool TextIsOptional(const UNetConfig& config, const UNetLayout& layout) {
  if (config.add_embedding == AddEmbedding::kText) return false;
  if (config.text_projection == TextProjection::kImage) return true;
  if (config.text_projection != TextProjection::kNone) return false;
  for (const AttentionLayer& layer : ListLayers(layout)) {
    if (layer.is_cross()) return false;
    if (TextWidth(layer) != 0 && TextWidth(layer) != layer.query_dim) return false;
  }
  return true;
}

void DeclareText(const UNetConfig& config, const UNetLayout& layout,
                 std::vector<InputDecl>& inputs) {
  if (!HasCrossBlocks(layout) && !ReadsText(config, layout) &&
      config.text_projection == TextProjection::kNone) {
    return;
  }
  const uint32_t width = RawTextWidth(config, layout);
  InputDecl text{wire::kText, {-1, -1, width != 0 ? int64_t{width} : -1}};
  text.required = !TextIsOptional(config, layout);
  inputs.push_back(text);
}

void DeclareAddition(const UNetConfig& config, std::vector<InputDecl>& inputs) {
  const auto declare = [&](const char* name, Shape shape) -> InputDecl& {
    InputDecl& input = inputs.emplace_back(InputDecl{name, std::move(shape)});
    input.required = true;
    return input;
  };
  if (config.add_embedding == AddEmbedding::kTextTime) {
    declare(wire::kTextEmbeds, {-1, -1});
    declare(wire::kTimeIds, {-1, -1}).any_number = true;
  }
  if (config.add_embedding == AddEmbedding::kTextImage)
    declare(wire::kTextEmbeds, {-1, config.cross_dim});
  if (const uint32_t width = ImageWidth(config)) declare(wire::kImageEmbeds, {-1, width});
  if (config.add_embedding == AddEmbedding::kImageHint) declare(wire::kHint, {-1, 3, -1, -1});
}

void DeclareObjects(const UNetConfig& config, const UNetLayout& layout,
                    std::vector<InputDecl>& inputs) {
  const std::vector<AttentionLayer> layers = ListLayers(layout);
  const auto is_fuser = [](const AttentionLayer& layer) {
    return layer.name.ends_with(".fuser.attn");
  };
  if (std::none_of(layers.begin(), layers.end(), is_fuser)) return;
  const auto mask = [&](const char* name) {
    inputs.push_back({name, {-1, -1}});
    inputs.back().any_number = true;
  };
  const Shape embeddings = {-1, -1, config.cross_dim};
  inputs.push_back({wire::kBoxes, {-1, -1, kBoxNumbers}});
  mask(wire::kBoxMasks);
  if (config.gligen == Gligen::kText) {
    inputs.push_back({wire::kBoxTexts, embeddings});
    return;
  }
  mask(wire::kPhraseMasks);
  mask(wire::kBoxImageMasks);
  inputs.push_back({wire::kPhraseEmbeds, embeddings});
  inputs.push_back({wire::kBoxImageEmbeds, embeddings});
}

void DeclareMasks(const UNetConfig& config, const UNetLayout& layout,
                  std::vector<InputDecl>& inputs) {
  // Of any size: who reads them does not depend on it.
  SizedLayout sized;
  sized.levels.resize(config.levels.size());
  for (const auto& [name, kind] : {std::pair{wire::kAttentionMask, MaskInput::kAttention},
                                   {wire::kTextMask, MaskInput::kText}}) {
    const auto layers = MaskedLayers(layout, sized, 1, kind == MaskInput::kAttention);
    const auto reads = [kind = kind](const MaskedLayer& layer) { return layer.reads == kind; };
    if (std::none_of(layers.begin(), layers.end(), reads)) continue;
    InputDecl mask{name, {-1, -1}};
    mask.any_number = true;
    inputs.push_back(mask);
  }
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
  bool all = true;  // of the blocks take one
  for (const BlockLayout& block : layout.down) {
    all = all && (!block.has_cross_attention() || block.kind == BlockKind::kCross);
    if (all) adapter.push_back(block.channels);
  }
  if (all && layout.mid) adapter.push_back(layout.mid->channels);
  // Any size that can be halved will do to list the skips.
  constexpr uint32_t kAnySide = 1 << 16;
  const SizedLayout sized = *SizeLayout(config, layout, {kAnySide, kAnySide});
  const auto& skips = sized.skips;
  const bool controlnet =
      std::all_of(skips.begin(), skips.end(), [](const SkipShape& skip) { return skip.present(); });
  for (size_t i = 0; i < (controlnet ? skips.size() : adapter.size()); ++i) {
    // Without the middle's, the first few may be a T2I-Adapter's, as older clients send them.
    const int64_t channels = controlnet ? skips[i].channels : adapter[i];
    const bool free = i < adapter.size() && adapter[i] != channels;
    residual(Format("{}{}", wire::kDownResidual, i), free ? -1 : channels);
  }
  if (controlnet) residual(wire::kMidResidual, config.levels.back().channels);
  for (size_t i = 0; i < adapter.size(); ++i) {
    residual(Format("{}{}", wire::kAdapterResidual, i), adapter[i]);
  }
}

}  // namespace

uint32_t RawTextWidth(const UNetConfig& config, const UNetLayout& layout) {
  if (config.text_projection == TextProjection::kImage &&
      config.add_embedding != AddEmbedding::kText) {
    return 0;  // ignored
  }
  if (config.encoder_hid_dim != 0) return config.encoder_hid_dim;
  if (layout.text_width != 0) return layout.text_width;
  if (config.cross_dim != 0) return config.cross_dim;
  for (const BlockLayout* block : layout.InModuleOrder()) {
    // Made for a text, though no layer of it reads one.
    if (block->has_cross_attention()) return config.levels[block->level].cross_dim;
  }
  return 0;
}

uint32_t ImageWidth(const UNetConfig& config) {
  if (config.add_embedding == AddEmbedding::kTextImage ||
      config.text_projection == TextProjection::kTextImage) {
    return config.cross_dim;
  }
  const bool reads = config.add_embedding == AddEmbedding::kImage ||
                     config.add_embedding == AddEmbedding::kImageHint ||
                     config.text_projection == TextProjection::kImage;
  return reads ? config.encoder_hid_dim : 0;
}

bool ReadsText(const UNetConfig& config, const UNetLayout& layout) {
  return config.add_embedding == AddEmbedding::kText ||
         (layout.text_width != 0 && config.text_projection != TextProjection::kImage);
}

uint32_t SeenTokens(const UNetConfig& config, uint32_t sent) {
  if (config.text_projection == TextProjection::kImage) return kImageTokens;
  return sent + (config.text_projection == TextProjection::kTextImage ? kImageTokensBesideText : 0);
}

bool InputDecl::Accepts(DType sent) const {
  return any_number || sent == DType::kFloat32 || sent == DType::kFloat16 ||
         sent == DType::kBFloat16;
}

std::vector<InputDecl> DeclareInputs(const UNetConfig& config, const UNetLayout& layout) {
  std::vector<InputDecl> inputs;
  InputDecl sample{wire::kSample, {-1, config.sample_channels(), -1, -1}};
  sample.required = true;
  inputs.push_back(sample);
  InputDecl timestep{wire::kTimestep, {-1}};
  timestep.any_number = true;
  timestep.required = true;
  inputs.push_back(timestep);
  DeclareText(config, layout, inputs);
  DeclareClassLabels(config, inputs);
  DeclareAddition(config, inputs);
  if (config.time_cond_dim != 0)
    inputs.push_back({wire::kTimestepCond, {-1, config.time_cond_dim}});
  DeclareMasks(config, layout, inputs);
  DeclareObjects(config, layout, inputs);
  DeclareResiduals(config, layout, inputs);
  return inputs;
}

}  // namespace unetd
