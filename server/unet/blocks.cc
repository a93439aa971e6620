// Down, middle and up blocks: resnets, what stands behind each, and samplers.
#include "server/base/text.h"
#include "server/unet/emission.h"

namespace unetd {
namespace {

Conv2dSpec SamplerOf(const BlockLayout& block) {
  Conv2dSpec spec;
  spec.weight = {block.sampler + ".weight"};
  spec.bias = {block.sampler + ".bias"};
  spec.out_channels = block.channels;
  return spec;
}

Value Downsample(Emission& e, const BlockLayout& block, const Value& x) {
  if (block.resnet_sampler) return EmitResnet(e, *block.resnet_sampler, x);
  if (block.blurs) {
    e.builder.SetLayer(block.path + ".downsamplers.0");
    return e.builder.BlurDown2(x);
  }
  Conv2dSpec conv = SamplerOf(block);
  conv.stride = 2;
  if (e.config.downsample_padding == 0) conv.pad_top = conv.pad_left = 0;
  e.builder.SetLayer(block.sampler);
  return e.builder.Conv2d(x, conv);
}

// A convolution follows the nearest pixels, to the size of the skips that the next block reads:
// twice, or one less on an odd side. The others just double.
Value Upsample(Emission& e, const BlockLayout& block, const Value& x, Size size) {
  if (block.resnet_sampler) return EmitResnet(e, *block.resnet_sampler, x);
  if (block.blurs) {
    e.builder.SetLayer(block.path + ".upsamplers.0");
    return e.builder.BlurUp2(x);
  }
  Conv2dSpec conv = SamplerOf(block);
  conv.resize = size;
  e.builder.SetLayer(block.sampler);
  return e.builder.Conv2d(x, conv);
}

// What stands behind the j-th resnet that has something behind it.
Value EmitBehind(Emission& e, const BlockLayout& block, size_t j, const Value& x) {
  if (j < block.transformers.size()) return EmitTransformer(e, block.transformers[j], x);
  if (j < block.attentions.size()) return EmitSimpleAttention(e, block.attentions[j], x);
  if (j < block.k_attentions.size()) return EmitKAttention(e, block.k_attentions[j], x);
  return x;
}

}  // namespace

Value EmitDownBlock(Emission& e, const BlockLayout& block, Value x, const Value& adapter,
                    std::vector<Value>& skips) {
  const bool cross = block.has_cross_attention();
  const bool empty = block.kind == BlockKind::kKCross && !block.has_sampler();
  for (size_t j = 0; j < block.resnets.size(); ++j) {
    x = EmitBehind(e, block, j, EmitResnet(e, block.resnets[j], x));
    const bool last = j + 1 == block.resnets.size();
    if (last && cross && adapter.present()) x = e.builder.Add(x, adapter);
    skips.push_back(empty ? Value{} : x);
  }
  if (block.has_sampler()) {
    x = Downsample(e, block, x);
    if (!block.blurs) skips.push_back(x);
  }
  if (!cross && adapter.present()) {
    x = e.builder.Add(x, adapter);
    // diffusers adds in place to the tensor that is the last skip too; a blurred one is none.
    if (!block.blurs) skips.back() = x;
  }
  return x;
}

Value EmitMidBlock(Emission& e, const BlockLayout& block, Value x) {
  x = EmitResnet(e, block.resnets.front(), x);
  for (size_t j = 1; j < block.resnets.size(); ++j) {
    x = EmitResnet(e, block.resnets[j], EmitBehind(e, block, j - 1, x));
  }
  return x;
}

Value EmitUpBlock(Emission& e, const BlockLayout& block, Value x, std::vector<Value>& skips) {
  if (skips.size() < block.resnets.size()) {
    e.builder.Fail(Internal(Format("{}: no skip connection is left", block.path)));
    return {};
  }
  // A K block reads the last of its share only, if there is one, and its first resnet does.
  if (IsK(block.kind)) {
    x = Concat(x, skips.back());
    skips.resize(skips.size() - block.resnets.size());
  }
  for (size_t j = 0; j < block.resnets.size(); ++j) {
    if (!IsK(block.kind)) {
      x = Concat(x, skips.back());
      skips.pop_back();
    }
    x = EmitBehind(e, block, j, EmitResnet(e, block.resnets[j], x));
  }
  if (block.has_sampler() && !skips.empty()) x = Upsample(e, block, x, skips.back().size);
  return x;
}

}  // namespace unetd
