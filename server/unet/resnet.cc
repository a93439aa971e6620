// ResnetBlock2D, and ResnetBlockCondNorm2D with adaptive group norms.
#include "server/unet/emission.h"

namespace unetd {
namespace {

Conv2dSpec ConvOf(const std::string& module, uint32_t out_channels) {
  Conv2dSpec spec;
  spec.weight = {module + ".weight"};
  spec.bias = {module + ".bias"};
  spec.out_channels = out_channels;
  return spec;
}

// GroupNorm, times (1 + scale) plus shift where there are such.
GroupNormSpec NormOf(const Emission& e, uint32_t groups, const Value& scale_shift) {
  GroupNormSpec spec;
  spec.groups = groups;
  spec.eps = e.config.norm_eps;
  spec.activation = e.config.activation;
  if (scale_shift.present()) {
    const uint32_t channels = scale_shift.channels() / 2;
    spec.row_scale = SliceChannels(scale_shift, 0, channels);
    spec.row_shift = SliceChannels(scale_shift, channels, channels);
  }
  return spec;
}

// AdaGroupNorm `module`, activated.
Value AdaptiveNorm(Emission& e, const std::string& module, uint32_t groups, const Value& x) {
  const Value scale_shift =
      e.builder.Linear(e.raw_time, LinearOf(module + ".linear", 2 * x.channels()));
  return e.builder.GroupNorm(x, NormOf(e, groups, scale_shift));
}

Value PlainNorm(Emission& e, const std::string& module, uint32_t groups, const Value& x,
                const Value& scale_shift = {}) {
  GroupNormSpec spec = NormOf(e, groups, scale_shift);
  spec.gamma = {module + ".weight"};
  spec.beta = {module + ".bias"};
  return e.builder.GroupNorm(x, spec);
}

// What becomes of the image beside the convolutions.
Value Shortcut(Emission& e, const ResnetLayout& resnet, const Value& x, Size size) {
  Value shortcut = x;
  if (resnet.resample == Resample::kHalve) shortcut = e.builder.AveragePool2(x);
  if (resnet.resample == Resample::kDouble) shortcut = e.builder.ResizeNearest(x, size);
  if (resnet.in_channels == resnet.out_channels) return shortcut;
  LinearSpec spec = LinearOf(resnet.path + ".conv_shortcut", resnet.out_channels);
  if (resnet.adaptive) spec.segments.front().bias = {};
  return e.builder.Linear(shortcut, spec);
}

}  // namespace

Value EmitResnet(Emission& e, const ResnetLayout& resnet, const Value& x) {
  PlanBuilder& b = e.builder;
  const std::string& path = resnet.path;
  const uint32_t hidden = resnet.hidden_channels;
  b.SetLayer(path);

  Value time;
  if (!resnet.adaptive) {
    time = b.Linear(resnet.skip_time_act ? e.raw_time : e.time,
                    LinearOf(path + ".time_emb_proj", e.config.scale_shift ? 2 * hidden : hidden));
  }
  Value h = resnet.adaptive ? AdaptiveNorm(e, path + ".norm1", resnet.groups_in, x)
                            : PlainNorm(e, path + ".norm1", resnet.groups_in, x);

  Conv2dSpec conv1 = ConvOf(path + ".conv1", hidden);
  Size size = x.size;
  if (resnet.resample == Resample::kHalve) h = b.AveragePool2(h);
  if (resnet.resample == Resample::kDouble) conv1.resize = size = {2 * x.size.h, 2 * x.size.w};
  if (!resnet.adaptive && !e.config.scale_shift) conv1.row_bias = time;
  h = b.Conv2d(h, conv1);

  h = resnet.adaptive ? AdaptiveNorm(e, path + ".norm2", resnet.groups_out, h)
                      : PlainNorm(e, path + ".norm2", resnet.groups_out, h,
                                  e.config.scale_shift ? time : Value{});

  Conv2dSpec conv2 = ConvOf(path + ".conv2", resnet.out_channels);
  conv2.out_scale = resnet.out_scale;
  conv2.residual = Shortcut(e, resnet, x, size);
  return b.Conv2d(h, conv2);
}

}  // namespace unetd
