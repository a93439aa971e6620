#include "server/backend/reference_op.h"

#include <cstdio>

#include "server/backend/reference_numbers.h"
#include "server/base/text.h"
#include "server/tensor/dtype.h"

namespace unetd::reference {
namespace {

// Sizes above these are nobody's; below them no product of sizes overflows 64 bits.
constexpr uint64_t kMostTokens = uint64_t{1} << 31;
constexpr uint64_t kMostChannels = uint64_t{1} << 24;
constexpr uint64_t kMostStride = uint64_t{1} << 31;

const char* const kArgNames[UNETD_ARG_COUNT] = {
    "src0",     "src1",      "src2",      "src3",     "key", "value",     "mask", "residual",
    "row_bias", "row_scale", "row_shift", "stats_in", "dst", "stats_out", "14",   "15"};

bool IsStored(int32_t dtype) { return FloatSize(dtype) != 0; }

std::string DTypeText(int32_t dtype) {
  if (dtype < UNETD_DTYPE_F32 || dtype > UNETD_DTYPE_U64) return Format("{}", dtype);
  return std::string(TorchName(static_cast<DType>(dtype)));
}

}  // namespace

const Kind* FindKind(uint32_t kind) {
  static constexpr const Kind* kKinds[] = {&kConv2d,    &kLinear, &kGroupNorm,  &kLayerNorm,
                                           &kAttention, &kResize, &kGatherRows, &kElementwise,
                                           &kLayout,    &kCopy,   &kSinusoid,   &kLookup};
  for (const Kind* row : kKinds) {
    if (row->kind == kind) return row;
  }
  return nullptr;
}

std::string CheckViews(const unetd_op_desc& desc, const Kind& kind) {
  for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
    const unetd_view& view = desc.args[arg];
    if (view.tokens == 0) continue;
    if ((kind.arguments & Bit(arg)) == 0) {
      return Format("{} does not take the argument {}", kind.name, kArgNames[arg]);
    }
    if (view.tokens > kMostTokens || view.channels == 0 || view.channels > kMostChannels ||
        view.stride > kMostStride) {
      return Format("{}: a size is out of range: {} tokens, {} channels, stride {}", kArgNames[arg],
                    view.tokens, view.channels, view.stride);
    }
    const bool planar = kind.kind == UNETD_OP_LAYOUT && view.stride == 0;
    if (!planar && view.stride < view.channels) {
      return Format("{}: stride {} is less than its {} channels", kArgNames[arg], view.stride,
                    view.channels);
    }
    const bool any_dtype = kind.kind == UNETD_OP_COPY;
    const bool index = kind.kind == UNETD_OP_LOOKUP && arg == UNETD_ARG_SRC0;
    const bool flags =
        kind.kind == UNETD_OP_ELEMENTWISE && arg == UNETD_ARG_DST && view.dtype == UNETD_DTYPE_BOOL;
    if (!any_dtype && !index && !flags && !IsStored(view.dtype)) {
      return Format("{}: dtype {} is not served; float32, float16 and bfloat16 are", kArgNames[arg],
                    DTypeText(view.dtype));
    }
  }
  if (!Has(desc, UNETD_ARG_SRC0)) return "src0 is missing";
  if (!Has(desc, UNETD_ARG_DST)) return "dst is missing";
  for (uint32_t arg = UNETD_ARG_SRC1; arg <= UNETD_ARG_SRC3; ++arg) {
    if (!Has(desc, arg)) continue;
    if (!Has(desc, arg - 1))
      return Format("{} is there without {}", kArgNames[arg], kArgNames[arg - 1]);
    if (desc.args[arg].tokens != desc.args[UNETD_ARG_SRC0].tokens) {
      return Format("{} has {} tokens, src0 has {}", kArgNames[arg], desc.args[arg].tokens,
                    desc.args[UNETD_ARG_SRC0].tokens);
    }
  }
  const unetd_view& row_scale = desc.args[UNETD_ARG_ROW_SCALE];
  const bool by_token = kind.kind == UNETD_OP_ELEMENTWISE && row_scale.channels == 1 &&
                        row_scale.tokens == desc.args[UNETD_ARG_DST].tokens;
  for (uint32_t arg : {UNETD_ARG_ROW_BIAS, UNETD_ARG_ROW_SCALE, UNETD_ARG_ROW_SHIFT}) {
    if (arg == UNETD_ARG_ROW_SCALE && by_token) continue;
    if (std::string why = CheckShape(desc, arg, 1, desc.args[UNETD_ARG_DST].channels); !why.empty())
      return why;
  }
  if (std::string why = CheckShape(desc, UNETD_ARG_RESIDUAL, desc.args[UNETD_ARG_DST].tokens,
                                   desc.args[UNETD_ARG_DST].channels);
      !why.empty()) {
    return why;
  }
  if (kind.weight(desc, 0).rank != 0 && !IsStored(desc.weight_dtype)) {
    return Format("weight_dtype {} is not served; float32, float16 and bfloat16 are",
                  DTypeText(desc.weight_dtype));
  }
  const int32_t compute = desc.compute_dtype;
  if (compute != UNETD_DTYPE_NONE && !IsStored(compute)) {
    return Format("compute_dtype {} is not served", DTypeText(compute));
  }
  const int32_t sum = desc.sum_dtype;
  if (sum != UNETD_DTYPE_NONE && sum != UNETD_DTYPE_F32 && sum != UNETD_DTYPE_F64) {
    return Format("sum_dtype {} is not served; float32 and float64 are", DTypeText(sum));
  }
  return "";
}

std::string CheckShape(const unetd_op_desc& desc, uint32_t arg, uint64_t tokens,
                       uint64_t channels) {
  if (!Has(desc, arg)) return "";
  const unetd_view& view = desc.args[arg];
  if (view.tokens == tokens && view.channels == channels) return "";
  return Format("{}: expected [{}, {}], got [{}, {}]", kArgNames[arg], tokens, channels,
                view.tokens, view.channels);
}

std::string CheckActivation(uint32_t activation) {
  return activation <= UNETD_ACT_RELU ? "" : Format("activation {} is not served here", activation);
}

uint64_t SourceChannels(const unetd_op_desc& desc) {
  uint64_t channels = 0;
  for (uint32_t arg = 0; arg < UNETD_MAX_SEGMENTS; ++arg) {
    if (Has(desc, arg)) channels += desc.args[arg].channels;
  }
  return channels;
}

uint8_t* Address(const Row& row, uint32_t arg, uint32_t in_row) {
  const unetd_operand& operand = row.args.args[arg];
  return row.exec.spaces[operand.space][in_row] + operand.offset;
}

void ReadArgument(const Row& row, uint32_t arg, uint32_t in_row, float* out, uint64_t out_stride) {
  const unetd_view& view = row.desc.args[arg];
  const uint8_t* base = Address(row, arg, in_row);
  for (uint64_t token = 0; token < view.tokens; ++token) {
    for (uint64_t channel = 0; channel < view.channels; ++channel) {
      const uint64_t index =
          view.stride == 0 ? channel * view.tokens + token : token * view.stride + channel;
      out[token * out_stride + channel] = LoadFloat(view.dtype, base, index);
    }
  }
}

void ReadSource(const Row& row, uint32_t in_row, float* out) {
  const uint64_t channels = SourceChannels(row.desc);
  for (uint32_t arg = 0; arg < UNETD_MAX_SEGMENTS; ++arg) {
    if (!Has(row.desc, arg)) continue;
    ReadArgument(row, arg, in_row, out, channels);
    out += row.desc.args[arg].channels;
  }
}

double At(const Row& row, uint32_t arg, uint64_t token, uint64_t channel, double otherwise) {
  const unetd_view& view = row.desc.args[arg];
  if (view.tokens == 0) return otherwise;
  return LoadFloat(view.dtype, Address(row, arg, row.row), token * view.stride + channel);
}

void StoreDst(const Row& row, uint64_t token, uint64_t channel, double value) {
  const unetd_view& view = row.desc.args[UNETD_ARG_DST];
  const uint64_t index =
      view.stride == 0 ? channel * view.tokens + token : token * view.stride + channel;
  StoreFloat(view.dtype, Address(row, UNETD_ARG_DST, row.row), index, value);
}

void AddScaled(double* acc, const float* w, double x, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) acc[i] += x * static_cast<double>(w[i]);
}

void StoreOutputs(const Row& row, uint64_t token, const double* acc, uint64_t n,
                  uint32_t activation, float out_scale) {
  for (uint64_t i = 0; i < n; ++i) {
    const double sum = acc[i] + At(row, UNETD_ARG_ROW_BIAS, 0, i, 0.0);
    const double value = Activate(activation, sum) + At(row, UNETD_ARG_RESIDUAL, token, i, 0.0);
    StoreDst(row, token, i, value * out_scale);
  }
}

int32_t Answer(unetd_error* error, int32_t code, const std::string& text) {
  if (error != nullptr) std::snprintf(error->text, sizeof(error->text), "%s", text.c_str());
  return code;
}

}  // namespace unetd::reference
