// Down, middle and up blocks, plain and with cross-attention.
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
  Conv2dSpec conv = SamplerOf(block);
  conv.stride = 2;
  if (e.config.downsample_padding == 0) conv.pad_top = conv.pad_left = 0;
  e.builder.SetLayer(block.sampler);
  return e.builder.Conv2d(x, conv);
}

// Nearest, to the size of the skips that the next block reads: twice, or one less on an odd side.
Value Upsample(Emission& e, const BlockLayout& block, const Value& x, Size size) {
  Conv2dSpec conv = SamplerOf(block);
  conv.resize = size;
  e.builder.SetLayer(block.sampler);
  return e.builder.Conv2d(x, conv);
}

}  // namespace

Value EmitDownBlock(Emission& e, const BlockLayout& block, Value x, const Value& adapter,
                    std::vector<Value>& skips) {
  const bool cross = block.has_cross_attention();
  for (size_t j = 0; j < block.resnets.size(); ++j) {
    x = EmitResnet(e, block.resnets[j], x);
    if (cross) x = EmitTransformer(e, block.transformers[j], x);
    const bool last = j + 1 == block.resnets.size();
    if (last && cross && adapter.present()) x = e.builder.Add(x, adapter);
    skips.push_back(x);
  }
  if (!block.sampler.empty()) {
    x = Downsample(e, block, x);
    skips.push_back(x);
  }
  if (!cross && adapter.present()) {
    // diffusers adds in place to the tensor that is the last skip too.
    x = e.builder.Add(x, adapter);
    skips.back() = x;
  }
  return x;
}

Value EmitMidBlock(Emission& e, const BlockLayout& block, Value x) {
  const float out_scale = 1.0f / e.config.mid_block_scale_factor;
  x = EmitResnet(e, block.resnets.front(), x, out_scale);
  for (size_t j = 0; j < block.transformers.size(); ++j) {
    x = EmitTransformer(e, block.transformers[j], x);
    x = EmitResnet(e, block.resnets[j + 1], x, out_scale);
  }
  return x;
}

Value EmitUpBlock(Emission& e, const BlockLayout& block, Value x, std::vector<Value>& skips) {
  for (size_t j = 0; j < block.resnets.size(); ++j) {
    if (skips.empty()) {
      e.builder.Fail(Internal(Format("{}: no skip connection is left", block.path)));
      return {};
    }
    x = EmitResnet(e, block.resnets[j], Concat(x, skips.back()));
    skips.pop_back();
    if (block.has_cross_attention()) x = EmitTransformer(e, block.transformers[j], x);
  }
  if (!block.sampler.empty() && !skips.empty()) x = Upsample(e, block, x, skips.back().size);
  return x;
}

}  // namespace unetd
