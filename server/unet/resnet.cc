// ResnetBlock2D.
#include "server/unet/emission.h"

namespace unetd {
namespace {

GroupNormSpec NormOf(const Emission& e, const std::string& module) {
  GroupNormSpec spec;
  spec.gamma = {module + ".weight"};
  spec.beta = {module + ".bias"};
  spec.groups = e.config.norm_num_groups;
  spec.eps = e.config.norm_eps;
  spec.activation = e.config.activation;
  return spec;
}

Conv2dSpec ConvOf(const std::string& module, uint32_t out_channels) {
  Conv2dSpec spec;
  spec.weight = {module + ".weight"};
  spec.bias = {module + ".bias"};
  spec.out_channels = out_channels;
  return spec;
}

}  // namespace

Value EmitResnet(Emission& e, const ResnetLayout& resnet, const Value& x, float out_scale) {
  PlanBuilder& b = e.builder;
  const std::string& path = resnet.path;
  const uint32_t out = resnet.out_channels;
  b.SetLayer(path);

  const Value time =
      b.Linear(e.time, LinearOf(path + ".time_emb_proj", e.config.scale_shift ? 2 * out : out));
  Conv2dSpec conv1 = ConvOf(path + ".conv1", out);
  if (!e.config.scale_shift) conv1.row_bias = time;
  Value h = b.Conv2d(b.GroupNorm(x, NormOf(e, path + ".norm1")), conv1);

  GroupNormSpec norm2 = NormOf(e, path + ".norm2");
  if (e.config.scale_shift) {
    norm2.row_scale = SliceChannels(time, 0, out);
    norm2.row_shift = SliceChannels(time, out, out);
  }
  h = b.GroupNorm(h, norm2);

  Conv2dSpec conv2 = ConvOf(path + ".conv2", out);
  conv2.out_scale = out_scale;
  const bool same = resnet.in_channels == out;
  conv2.residual = same ? x : b.Linear(x, LinearOf(path + ".conv_shortcut", out));
  return b.Conv2d(h, conv2);
}

}  // namespace unetd
