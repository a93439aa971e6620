// The reference provider's convolution and linear layer.
#include <algorithm>
#include <cmath>

#include "server/backend/reference_numbers.h"
#include "server/backend/reference_op.h"
#include "server/backend/reference_resize.h"
#include "server/base/text.h"

namespace unetd::reference {
namespace {

constexpr uint32_t kMostSide = 1u << 20;
constexpr uint32_t kMostKernel = 64;

// The size that is convolved: the input's, or what it is brought to first.
uint32_t FullHeight(const unetd_conv2d& conv) {
  return conv.resize_h != 0 ? conv.resize_h : conv.in_h;
}
uint32_t FullWidth(const unetd_conv2d& conv) {
  return conv.resize_w != 0 ? conv.resize_w : conv.in_w;
}

std::string CheckConv(const unetd_op_desc& desc) {
  const unetd_conv2d& conv = desc.u.conv2d;
  for (uint32_t side :
       {conv.in_h, conv.in_w, conv.out_h, conv.out_w, FullHeight(conv), FullWidth(conv)}) {
    if (side == 0 || side > kMostSide) return Format("an image side of {} is out of range", side);
  }
  if ((conv.resize_h == 0) != (conv.resize_w == 0))
    return "only one of resize_h and resize_w is set";
  for (uint32_t size : {conv.kernel_h, conv.kernel_w, conv.stride}) {
    if (size == 0 || size > kMostKernel)
      return Format("a kernel size or stride of {} is out of range", size);
  }
  for (uint32_t pad : {conv.pad_top, conv.pad_left, conv.pad_bottom, conv.pad_right}) {
    if (pad > kMostKernel) return Format("a padding of {} is out of range", pad);
  }
  const uint32_t padded_h = FullHeight(conv) + conv.pad_top + conv.pad_bottom;
  const uint32_t padded_w = FullWidth(conv) + conv.pad_left + conv.pad_right;
  if (padded_h < conv.kernel_h || padded_w < conv.kernel_w)
    return "the kernel is larger than the padded image";
  const uint32_t out_h = (padded_h - conv.kernel_h) / conv.stride + 1;
  const uint32_t out_w = (padded_w - conv.kernel_w) / conv.stride + 1;
  if (out_h != conv.out_h || out_w != conv.out_w) {
    return Format("the output is {} x {}, the descriptor says {} x {}", out_h, out_w, conv.out_h,
                  conv.out_w);
  }
  if (desc.args[UNETD_ARG_SRC0].tokens != uint64_t{conv.in_h} * conv.in_w) {
    return Format("src0 has {} tokens, the image {} x {}", desc.args[UNETD_ARG_SRC0].tokens,
                  conv.in_h, conv.in_w);
  }
  if (desc.args[UNETD_ARG_DST].tokens != uint64_t{conv.out_h} * conv.out_w) {
    return Format("dst has {} tokens, the image {} x {}", desc.args[UNETD_ARG_DST].tokens,
                  conv.out_h, conv.out_w);
  }
  if (conv.has_bias > 1) return Format("has_bias {} is neither 0 nor 1", conv.has_bias);
  if (!std::isfinite(conv.out_scale)) return "out_scale is not finite";
  // Known values are all the same here: the direct sum is what the others are measured by.
  if (conv.algorithm > UNETD_CONV_WINOGRAD) return Format("unknown algorithm {}", conv.algorithm);
  return CheckActivation(conv.activation);
}

WeightShape ConvWeight(const unetd_op_desc& desc, uint32_t weight) {
  const unetd_conv2d& conv = desc.u.conv2d;
  const uint64_t out = desc.args[UNETD_ARG_DST].channels;
  if (weight == 0) return {4, {out, SourceChannels(desc), conv.kernel_h, conv.kernel_w}};
  if (weight == 1 && conv.has_bias != 0) return {1, {out, 1, 1, 1}};
  return {};
}

uint64_t ConvScratch(const unetd_op_desc& desc) {
  return desc.args[UNETD_ARG_DST].channels * sizeof(double) + SourceFloats(desc) * sizeof(float);
}

const char* RunConv(const Row& row) {
  const unetd_conv2d& conv = row.desc.u.conv2d;
  const uint64_t in = SourceChannels(row.desc);
  const uint64_t out = row.desc.args[UNETD_ARG_DST].channels;
  auto* acc = reinterpret_cast<double*>(row.scratch);
  auto* image = reinterpret_cast<float*>(acc + out);
  ReadSource(row, row.row, image);
  const auto* weights = static_cast<const float*>(row.args.weights[0]);
  const auto* bias = conv.has_bias != 0 ? static_cast<const float*>(row.args.weights[1]) : nullptr;
  const int64_t full_h = FullHeight(conv);
  const int64_t full_w = FullWidth(conv);
  for (uint32_t out_y = 0; out_y < conv.out_h; ++out_y) {
    for (uint32_t out_x = 0; out_x < conv.out_w; ++out_x) {
      for (uint64_t i = 0; i < out; ++i) acc[i] = bias != nullptr ? bias[i] : 0.0;
      for (uint32_t ky = 0; ky < conv.kernel_h; ++ky) {
        const int64_t y = int64_t{out_y} * conv.stride + ky - conv.pad_top;
        if (y < 0 || y >= full_h) continue;
        for (uint32_t kx = 0; kx < conv.kernel_w; ++kx) {
          const int64_t x = int64_t{out_x} * conv.stride + kx - conv.pad_left;
          if (x < 0 || x >= full_w) continue;
          const uint64_t pixel =
              NearestSource(y, conv.in_h, full_h) * conv.in_w + NearestSource(x, conv.in_w, full_w);
          const float* kernel = weights + (uint64_t{ky} * conv.kernel_w + kx) * in * out;
          for (uint64_t i = 0; i < in; ++i)
            AddScaled(acc, kernel + i * out, image[pixel * in + i], out);
        }
      }
      StoreOutputs(row, uint64_t{out_y} * conv.out_w + out_x, acc, out, conv.activation,
                   conv.out_scale);
    }
  }
  return nullptr;
}

uint64_t LinearColumns(const unetd_linear& linear) {
  uint64_t columns = 0;
  for (uint32_t i = 0; i < linear.segments; ++i) columns += linear.segment_rows[i];
  return columns;
}

std::string CheckLinear(const unetd_op_desc& desc) {
  const unetd_linear& linear = desc.u.linear;
  constexpr uint32_t kMostSegments = UNETD_MAX_WEIGHTS / 2;
  if (linear.segments == 0 || linear.segments > kMostSegments) {
    return Format("{} weight segments; 1 to {} are served", linear.segments, kMostSegments);
  }
  for (uint32_t i = 0; i < linear.segments; ++i) {
    if (linear.segment_rows[i] == 0 || linear.segment_rows[i] > (1u << 24)) {
      return Format("segment {} has {} rows, out of range", i, linear.segment_rows[i]);
    }
  }
  if (linear.bias_mask >> linear.segments != 0) return "bias_mask has bits beyond the segments";
  if (!std::isfinite(linear.out_scale)) return "out_scale is not finite";
  const bool geglu = linear.activation == UNETD_ACT_GEGLU;
  const uint64_t columns = LinearColumns(linear);
  if (geglu && columns % 2 != 0) return Format("GEGLU of {} columns, an odd number", columns);
  if (geglu && Has(desc, UNETD_ARG_ROW_BIAS)) return "GEGLU with row_bias is not defined";
  const uint64_t tokens = desc.args[UNETD_ARG_SRC0].tokens;
  if (std::string why = CheckShape(desc, UNETD_ARG_DST, tokens, geglu ? columns / 2 : columns);
      !why.empty()) {
    return why;
  }
  return geglu ? "" : CheckActivation(linear.activation);
}

WeightShape LinearWeight(const unetd_op_desc& desc, uint32_t weight) {
  const unetd_linear& linear = desc.u.linear;
  if (weight < linear.segments)
    return {2, {linear.segment_rows[weight], SourceChannels(desc), 1, 1}};
  const uint32_t bias = weight - linear.segments;
  if (bias >= linear.segments || (linear.bias_mask >> bias & 1u) == 0) return {};
  return {1, {linear.segment_rows[bias], 1, 1, 1}};
}

uint64_t LinearScratch(const unetd_op_desc& desc) {
  return LinearColumns(desc.u.linear) * sizeof(double) + SourceFloats(desc) * sizeof(float);
}

const char* RunLinear(const Row& row) {
  const unetd_linear& linear = row.desc.u.linear;
  const uint64_t in = SourceChannels(row.desc);
  const uint64_t columns = LinearColumns(linear);
  auto* acc = reinterpret_cast<double*>(row.scratch);
  auto* source = reinterpret_cast<float*>(acc + columns);
  ReadSource(row, row.row, source);
  for (uint64_t token = 0; token < row.desc.args[UNETD_ARG_SRC0].tokens; ++token) {
    double* part = acc;
    for (uint32_t segment = 0; segment < linear.segments; ++segment) {
      const uint64_t rows = linear.segment_rows[segment];
      const auto* weights = static_cast<const float*>(row.args.weights[segment]);
      const bool has_bias = (linear.bias_mask >> segment & 1u) != 0;
      const auto* bias = static_cast<const float*>(row.args.weights[linear.segments + segment]);
      for (uint64_t i = 0; i < rows; ++i) part[i] = has_bias ? bias[i] : 0.0;
      for (uint64_t i = 0; i < in; ++i)
        AddScaled(part, weights + i * rows, source[token * in + i], rows);
      part += rows;
    }
    if (linear.activation == UNETD_ACT_GEGLU) {
      const uint64_t half = columns / 2;
      for (uint64_t i = 0; i < half; ++i) acc[i] *= Gelu(acc[half + i]);
      StoreOutputs(row, token, acc, half, UNETD_ACT_NONE, linear.out_scale);
    } else {
      StoreOutputs(row, token, acc, columns, linear.activation, linear.out_scale);
    }
  }
  return nullptr;
}

constexpr uint32_t kFusedArguments =
    kSources | Bit(UNETD_ARG_DST) | Bit(UNETD_ARG_RESIDUAL) | Bit(UNETD_ARG_ROW_BIAS);

}  // namespace

const Kind kConv2d = {UNETD_OP_CONV2D, "conv2d",    kFusedArguments, CheckConv,
                      ConvWeight,      ConvScratch, RunConv};
const Kind kLinear = {UNETD_OP_LINEAR, "linear",      kFusedArguments, CheckLinear,
                      LinearWeight,    LinearScratch, RunLinear};

}  // namespace unetd::reference
