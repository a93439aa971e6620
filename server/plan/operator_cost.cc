#include "server/plan/operator_cost.h"

#include "server/tensor/dtype.h"

namespace unetd {
namespace {

uint64_t SourceChannels(const unetd_op_desc& desc) {
  uint64_t channels = 0;
  for (int segment = 0; segment < UNETD_MAX_SEGMENTS; ++segment) {
    const unetd_view& source = desc.args[UNETD_ARG_SRC0 + segment];
    if (source.tokens != 0) channels += source.channels;
  }
  return channels;
}

uint64_t OperandBytes(const unetd_op_desc& desc) {
  uint64_t bytes = 0;
  for (const unetd_view& view : desc.args) {
    if (view.tokens == 0) continue;
    bytes += view.tokens * view.channels * DTypeSize(static_cast<DType>(view.dtype));
  }
  return bytes;
}

uint64_t LinearRows(const unetd_linear& linear) {
  uint64_t rows = 0;
  for (uint32_t i = 0; i < linear.segments; ++i) rows += linear.segment_rows[i];
  return rows;
}

uint64_t LinearBiases(const unetd_linear& linear) {
  uint64_t biases = 0;
  for (uint32_t i = 0; i < linear.segments; ++i) {
    if (linear.bias_mask >> i & 1) biases += linear.segment_rows[i];
  }
  return biases;
}

uint64_t RowFlops(const unetd_op_desc& desc) {
  const unetd_view& dst = desc.args[UNETD_ARG_DST];
  switch (desc.kind) {
    case UNETD_OP_CONV2D: {
      const unetd_conv2d& conv = desc.u.conv2d;
      const uint64_t taps = SourceChannels(desc) * conv.kernel_h * conv.kernel_w;
      return 2 * dst.tokens * dst.channels * taps;
    }
    case UNETD_OP_LINEAR:
      return 2 * dst.tokens * LinearRows(desc.u.linear) * SourceChannels(desc);
    case UNETD_OP_ATTENTION: {
      const unetd_attention& attention = desc.u.attention;
      const uint64_t scores =
          desc.args[UNETD_ARG_SRC0].tokens * desc.args[UNETD_ARG_KEY].tokens * attention.heads;
      return 4 * scores * attention.head_dim;
    }
    default:
      return 0;
  }
}

uint64_t WeightElements(const unetd_op_desc& desc) {
  const uint64_t in = SourceChannels(desc);
  const uint64_t out = desc.args[UNETD_ARG_DST].channels;
  switch (desc.kind) {
    case UNETD_OP_CONV2D: {
      const unetd_conv2d& conv = desc.u.conv2d;
      return out * in * conv.kernel_h * conv.kernel_w + (conv.has_bias ? out : 0);
    }
    case UNETD_OP_LINEAR:
      return LinearRows(desc.u.linear) * in + LinearBiases(desc.u.linear);
    case UNETD_OP_GROUP_NORM:
      return desc.u.group_norm.affine ? 2 * in : 0;
    case UNETD_OP_LAYER_NORM:
      return desc.u.layer_norm.affine ? 2 * in : 0;
    case UNETD_OP_SINUSOID:
      return desc.u.sinusoid.fourier ? desc.u.sinusoid.dim / 2 : 0;
    case UNETD_OP_LOOKUP:
      return out;  // one row of the table
    default:
      return 0;
  }
}

}  // namespace

OperatorCost CostOf(const unetd_op_desc& desc) {
  OperatorCost cost;
  cost.row_flops = RowFlops(desc);
  cost.row_bytes = OperandBytes(desc);
  if (const uint64_t elements = WeightElements(desc); elements != 0) {
    cost.weight_bytes = elements * DTypeSize(static_cast<DType>(desc.weight_dtype));
  }
  return cost;
}

}  // namespace unetd
