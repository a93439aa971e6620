#include "server/base/text.h"
#include "server/unet/emission.h"

namespace unetd {
namespace {

Conv2dSpec EndConv(const std::string& module, uint32_t out_channels, uint32_t kernel) {
  Conv2dSpec spec;
  spec.weight = {module + ".weight"};
  spec.bias = {module + ".bias"};
  spec.out_channels = out_channels;
  spec.kernel = kernel;
  spec.pad_top = spec.pad_left = spec.pad_bottom = spec.pad_right = (kernel - 1) / 2;
  return spec;
}

// A residual that the request sends, shaped as `like`.
Value ResidualInput(Emission& e, const std::string& name, uint32_t channels, Size size) {
  e.builder.SetLayer(name);
  return e.builder.ImageInput(name, channels, size);
}

// The T2I-Adapter's residual `index`, or an absent value.
Value AdapterInput(Emission& e, uint32_t index, uint32_t channels, Size size) {
  if (index >= e.shape.adapter) return {};
  const char* prefix = e.shape.legacy_adapter ? wire::kDownResidual : wire::kAdapterResidual;
  return ResidualInput(e, prefix + std::to_string(index), channels, size);
}

Value EmitConvIn(Emission& e) {
  const UNetConfig& c = e.config;
  e.builder.SetLayer("conv_in");
  const float scale = c.center_input_sample ? 2.0f : 1.0f;
  const float shift = c.center_input_sample ? -1.0f : 0.0f;
  const Value sample =
      e.builder.ImageInput(wire::kSample, c.sample_channels(), e.shape.size, scale, shift);
  return e.builder.Conv2d(Concat(sample, e.hint),
                          EndConv("conv_in", c.levels.front().channels, c.conv_in_kernel));
}

Value EmitDownPath(Emission& e, Value x, const SizedLayout& sized, std::vector<Value>& skips) {
  skips.push_back(x);
  for (uint32_t i = 0; i < e.layout.down.size(); ++i) {
    const BlockLayout& block = e.layout.down[i];
    const Size size = block.has_cross_attention() ? sized.levels[i] : sized.outputs[i].size;
    x = EmitDownBlock(e, block, x, AdapterInput(e, i, block.channels, size), skips);
  }
  if (!e.shape.controlnet) return x;
  for (uint32_t i = 0; i < skips.size(); ++i) {
    const std::string name = wire::kDownResidual + std::to_string(i);
    skips[i] = e.builder.Add(skips[i],
                             ResidualInput(e, name, sized.skips[i].channels, sized.skips[i].size));
  }
  return x;
}

Value EmitMiddle(Emission& e, Value x, const SizedLayout& sized) {
  const SkipShape& shape = sized.outputs.back();
  if (e.layout.mid) {
    x = EmitMidBlock(e, *e.layout.mid, x);
    const uint32_t last = static_cast<uint32_t>(e.layout.down.size());
    const Value adapter = AdapterInput(e, last, shape.channels, shape.size);
    if (adapter.present()) x = e.builder.Add(x, adapter);
  }
  if (!e.shape.controlnet) return x;
  return e.builder.Add(x, ResidualInput(e, wire::kMidResidual, shape.channels, shape.size));
}

}  // namespace

void EmitUNet(PlanBuilder& builder, const UNetConfig& config, const UNetLayout& layout,
              const UNetShape& shape, const VariantBindings& bindings) {
  const auto sized = SizeLayout(config, layout, shape.size);
  if (!sized.ok()) {
    return builder.Fail(sized.status().WithContext(
        Format("a sample of {}x{} does not fit this UNet: ", shape.size.h, shape.size.w)));
  }
  Emission e{builder, config, layout, shape, bindings};
  EmitConditions(e);
  std::vector<Value> skips;
  Value x = EmitDownPath(e, EmitConvIn(e), *sized, skips);
  x = EmitMiddle(e, x, *sized);
  for (const BlockLayout& block : layout.up) x = EmitUpBlock(e, block, x, skips);

  if (config.norm_num_groups != 0) {
    builder.SetLayer("conv_norm_out");
    GroupNormSpec norm;
    norm.gamma = {"conv_norm_out.weight"};
    norm.beta = {"conv_norm_out.bias"};
    norm.groups = config.norm_num_groups;
    norm.eps = config.norm_eps;
    norm.activation = config.activation;
    x = builder.GroupNorm(x, norm);
  }
  builder.SetLayer("conv_out");
  x = builder.Conv2d(x, EndConv("conv_out", config.out_channels, config.conv_out_kernel));
  builder.Output(x);
}

}  // namespace unetd
