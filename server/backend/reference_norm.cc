// The reference provider's group and layer norm: mean and variance in two passes, in fp64.
#include <cmath>

#include "server/backend/reference_numbers.h"
#include "server/backend/reference_op.h"
#include "server/base/text.h"

namespace unetd::reference {
namespace {

std::string CheckNorm(const unetd_op_desc& desc, uint32_t affine, float eps) {
  if (affine > 1) return Format("affine {} is neither 0 nor 1", affine);
  if (!(eps >= 0.0f) || !std::isfinite(eps)) return "eps is negative or not finite";
  return CheckShape(desc, UNETD_ARG_DST, desc.args[UNETD_ARG_SRC0].tokens, SourceChannels(desc));
}

WeightShape PerChannel(const unetd_op_desc& desc, uint32_t weight, uint32_t affine) {
  if (affine == 0 || weight > 1) return {};
  return {1, {SourceChannels(desc), 1, 1, 1}};
}

std::string CheckGroupNorm(const unetd_op_desc& desc) {
  const unetd_group_norm& norm = desc.u.group_norm;
  const uint64_t channels = SourceChannels(desc);
  if (norm.groups == 0 || channels % norm.groups != 0) {
    return Format("{} groups do not divide {} channels", norm.groups, channels);
  }
  if (std::string why = CheckShape(desc, UNETD_ARG_STATS_IN, norm.groups, 2); !why.empty())
    return why;
  if (Has(desc, UNETD_ARG_STATS_IN) && desc.args[UNETD_ARG_STATS_IN].dtype != UNETD_DTYPE_F32) {
    return "stats_in must be float32";
  }
  if (std::string why = CheckActivation(norm.activation); !why.empty()) return why;
  return CheckNorm(desc, norm.affine, norm.eps);
}

WeightShape GroupNormWeight(const unetd_op_desc& desc, uint32_t weight) {
  return PerChannel(desc, weight, desc.u.group_norm.affine);
}

uint64_t NormScratch(const unetd_op_desc& desc) { return SourceFloats(desc) * sizeof(float); }

struct Moments {
  double mean = 0.0;
  double rstd = 0.0;
};

// Over `tokens` rows of `width` values, `stride` apart.
Moments Measure(const float* values, uint64_t tokens, uint64_t width, uint64_t stride, double eps) {
  const double count = static_cast<double>(tokens) * static_cast<double>(width);
  double sum = 0.0;
  for (uint64_t t = 0; t < tokens; ++t) {
    for (uint64_t c = 0; c < width; ++c) sum += values[t * stride + c];
  }
  const double mean = sum / count;
  double squares = 0.0;
  for (uint64_t t = 0; t < tokens; ++t) {
    for (uint64_t c = 0; c < width; ++c) {
      const double distance = values[t * stride + c] - mean;
      squares += distance * distance;
    }
  }
  return {mean, 1.0 / std::sqrt(squares / count + eps)};
}

const char* RunGroupNorm(const Row& row) {
  const unetd_group_norm& norm = row.desc.u.group_norm;
  const uint64_t channels = SourceChannels(row.desc);
  const uint64_t tokens = row.desc.args[UNETD_ARG_SRC0].tokens;
  const uint64_t width = channels / norm.groups;
  auto* source = reinterpret_cast<float*>(row.scratch);
  ReadSource(row, row.row, source);
  const auto* gamma = static_cast<const float*>(row.args.weights[0]);
  const auto* beta = static_cast<const float*>(row.args.weights[1]);
  for (uint32_t group = 0; group < norm.groups; ++group) {
    const float* first = source + group * width;
    const Moments moments = Has(row.desc, UNETD_ARG_STATS_IN)
                                ? Moments{At(row, UNETD_ARG_STATS_IN, group, 0, 0.0),
                                          At(row, UNETD_ARG_STATS_IN, group, 1, 0.0)}
                                : Measure(first, tokens, width, channels, norm.eps);
    for (uint64_t c = group * width; c < (group + 1) * width; ++c) {
      const double scale = 1.0 + At(row, UNETD_ARG_ROW_SCALE, 0, c, 0.0);
      const double shift = At(row, UNETD_ARG_ROW_SHIFT, 0, c, 0.0);
      for (uint64_t t = 0; t < tokens; ++t) {
        double y = (source[t * channels + c] - moments.mean) * moments.rstd;
        if (norm.affine != 0) y = y * gamma[c] + beta[c];
        StoreDst(row, t, c, Activate(norm.activation, y * scale + shift));
      }
    }
  }
  return nullptr;
}

std::string CheckLayerNorm(const unetd_op_desc& desc) {
  return CheckNorm(desc, desc.u.layer_norm.affine, desc.u.layer_norm.eps);
}

WeightShape LayerNormWeight(const unetd_op_desc& desc, uint32_t weight) {
  return PerChannel(desc, weight, desc.u.layer_norm.affine);
}

const char* RunLayerNorm(const Row& row) {
  const unetd_layer_norm& norm = row.desc.u.layer_norm;
  const uint64_t channels = SourceChannels(row.desc);
  auto* source = reinterpret_cast<float*>(row.scratch);
  ReadSource(row, row.row, source);
  const auto* gamma = static_cast<const float*>(row.args.weights[0]);
  const auto* beta = static_cast<const float*>(row.args.weights[1]);
  for (uint64_t t = 0; t < row.desc.args[UNETD_ARG_SRC0].tokens; ++t) {
    const float* token = source + t * channels;
    const Moments moments = Measure(token, 1, channels, channels, norm.eps);
    for (uint64_t c = 0; c < channels; ++c) {
      const double y = (token[c] - moments.mean) * moments.rstd;
      StoreDst(row, t, c, norm.affine != 0 ? y * gamma[c] + beta[c] : y);
    }
  }
  return nullptr;
}

}  // namespace

const Kind kGroupNorm = {UNETD_OP_GROUP_NORM,
                         "group_norm",
                         kSources | Bit(UNETD_ARG_DST) | Bit(UNETD_ARG_ROW_SCALE) |
                             Bit(UNETD_ARG_ROW_SHIFT) | Bit(UNETD_ARG_STATS_IN),
                         CheckGroupNorm,
                         GroupNormWeight,
                         NormScratch,
                         RunGroupNorm};
const Kind kLayerNorm = {UNETD_OP_LAYER_NORM, "layer_norm",    kSources | Bit(UNETD_ARG_DST),
                         CheckLayerNorm,      LayerNormWeight, NormScratch,
                         RunLayerNorm};

}  // namespace unetd::reference
