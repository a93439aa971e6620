#include "tests/cpu/gemm_cases.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace unetd::test {
namespace {

Weight MakeWeight(std::vector<uint64_t> dims, int32_t dtype, uint64_t seed, double scale) {
  Weight weight;
  uint64_t count = 1;
  for (const uint64_t dim : dims) count *= dim;
  for (const double v : Noise(count, seed, dtype, scale)) {
    weight.values.push_back(static_cast<float>(v));
  }
  weight.dims = std::move(dims);
  weight.dtype = dtype;
  return weight;
}

void AddArg(uint32_t id, uint64_t tokens, uint32_t channels, int32_t dtype, uint64_t pad,
            bool input, Call* call) {
  Arg& arg = call->args[id];
  arg.view = View(tokens, channels, dtype, pad == 0 ? 0 : channels + pad);
  arg.shift = pad == 0 ? 0 : 1;  // no luck with alignment either
  for (uint32_t row = 0; input && row < call->rows; ++row) {
    arg.values.push_back(Noise(tokens * channels, 1000 * row + id + 1, dtype));
  }
}

template <typename Case>
void AddArgs(const Case& c, uint64_t in_tokens, uint64_t out_tokens, uint32_t out, Call* call) {
  for (uint32_t s = 0; s < c.channels.size(); ++s) {
    AddArg(UNETD_ARG_SRC0 + s, in_tokens, c.channels[s], c.dtype, c.pad_stride, true, call);
  }
  AddArg(UNETD_ARG_DST, out_tokens, out, c.dtype, c.pad_stride, false, call);
  if (c.residual) {
    AddArg(UNETD_ARG_RESIDUAL, out_tokens, out, c.dtype, c.pad_stride * 2, true, call);
  }
  if (c.row_bias) AddArg(UNETD_ARG_ROW_BIAS, 1, out, c.dtype, c.pad_stride, true, call);
  call->desc.weight_dtype = c.weight_dtype;
  // As a bfloat16 model's host says; what float32 stores is multiplied in float32 all the same.
  if (c.dtype == UNETD_DTYPE_BF16) call->desc.compute_dtype = c.dtype;
}

// What both operators are to the reference: source tokens by output token and tap, columns of
// weights.
struct Gemm {
  uint64_t tokens, taps, channels, columns;
  std::vector<int64_t> source;  // [token * taps + tap], -1 in the padding
  std::vector<double> weights;  // [column][channel][tap]
  std::vector<double> bias;     // [column]
  uint32_t activation;
  double out_scale;
};

std::vector<double> Stored(const Weight& weight, int32_t dtype) {
  std::vector<double> out;
  for (const float v : weight.values) out.push_back(Rounded(v, dtype));
  return out;
}

Gemm OfConv(const Call& call) {
  const unetd_conv2d& conv = call.desc.u.conv2d;
  Gemm g;
  g.tokens = uint64_t{conv.out_h} * conv.out_w;
  g.taps = uint64_t{conv.kernel_h} * conv.kernel_w;
  g.channels = call.weights.at(0).dims[1];
  g.columns = call.weights.at(0).dims[0];
  const int64_t h = conv.resize_h ? conv.resize_h : conv.in_h;
  const int64_t w = conv.resize_w ? conv.resize_w : conv.in_w;
  for (int64_t oy = 0; oy < conv.out_h; ++oy) {
    for (int64_t ox = 0; ox < conv.out_w; ++ox) {
      for (int64_t ky = 0; ky < conv.kernel_h; ++ky) {
        for (int64_t kx = 0; kx < conv.kernel_w; ++kx) {
          const int64_t y = oy * conv.stride + ky - conv.pad_top;
          const int64_t x = ox * conv.stride + kx - conv.pad_left;
          const bool inside = y >= 0 && y < h && x >= 0 && x < w;
          g.source.push_back(inside ? y * conv.in_h / h * conv.in_w + x * conv.in_w / w : -1);
        }
      }
    }
  }
  g.weights = Stored(call.weights.at(0), call.desc.weight_dtype);
  g.bias.assign(g.columns, 0);
  if (conv.has_bias) g.bias = Stored(call.weights.at(1), UNETD_DTYPE_F32);
  g.activation = conv.activation;
  g.out_scale = conv.out_scale;
  return g;
}

Gemm OfLinear(const Call& call) {
  const unetd_linear& linear = call.desc.u.linear;
  Gemm g;
  g.tokens = call.args.at(UNETD_ARG_DST).view.tokens;
  g.taps = 1;
  g.channels = call.weights.at(0).dims[1];
  g.source.resize(g.tokens);
  std::iota(g.source.begin(), g.source.end(), 0);
  for (uint32_t s = 0; s < linear.segments; ++s) {
    const std::vector<double> part = Stored(call.weights.at(s), call.desc.weight_dtype);
    g.weights.insert(g.weights.end(), part.begin(), part.end());
    std::vector<double> bias(linear.segment_rows[s], 0.0);
    if (linear.bias_mask >> s & 1) {
      bias = Stored(call.weights.at(linear.segments + s), UNETD_DTYPE_F32);
    }
    g.bias.insert(g.bias.end(), bias.begin(), bias.end());
  }
  g.columns = g.bias.size();
  g.activation = linear.activation;
  g.out_scale = linear.out_scale;
  return g;
}

double Gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }
double Activated(uint32_t activation, double x) {
  switch (activation) {
    case UNETD_ACT_SILU:
      return x / (1 + std::exp(-x));
    case UNETD_ACT_GELU:
      return Gelu(x);
    case UNETD_ACT_MISH:
      return x * std::tanh(std::log1p(std::exp(x)));
    case UNETD_ACT_RELU:
      return std::max(0.0, x);
    default:
      return x;
  }
}

}  // namespace

Call MakeConv(const ConvCase& c, uint32_t rows) {
  Call call;
  call.rows = rows;
  call.desc = Desc(UNETD_OP_CONV2D);
  unetd_conv2d& conv = call.desc.u.conv2d;
  const uint32_t h = c.resize_h ? c.resize_h : c.in_h, w = c.resize_w ? c.resize_w : c.in_w;
  conv.in_h = c.in_h;
  conv.in_w = c.in_w;
  conv.out_h = (h + c.top + c.bottom - c.kernel_h) / c.stride + 1;
  conv.out_w = (w + c.left + c.right - c.kernel_w) / c.stride + 1;
  conv.kernel_h = c.kernel_h;
  conv.kernel_w = c.kernel_w;
  conv.stride = c.stride;
  conv.pad_top = c.top;
  conv.pad_left = c.left;
  conv.pad_bottom = c.bottom;
  conv.pad_right = c.right;
  conv.resize_h = c.resize_h;
  conv.resize_w = c.resize_w;
  conv.has_bias = c.bias;
  conv.activation = c.activation;
  conv.out_scale = c.out_scale;
  conv.algorithm = c.algorithm;
  conv.reference_h = c.reference_h;
  conv.reference_w = c.reference_w;
  AddArgs(c, uint64_t{c.in_h} * c.in_w, uint64_t{conv.out_h} * conv.out_w, c.out, &call);
  const uint32_t in = std::accumulate(c.channels.begin(), c.channels.end(), 0u);
  const double scale = 1 / std::sqrt(in * c.kernel_h * c.kernel_w / 3.0);
  call.weights[0] = MakeWeight({c.out, in, c.kernel_h, c.kernel_w}, c.source_dtype, 77, scale);
  if (c.bias) call.weights[1] = MakeWeight({c.out}, c.source_dtype, 78, 1);
  return call;
}

Call MakeLinear(const LinearCase& c, uint32_t rows) {
  Call call;
  call.rows = rows;
  call.desc = Desc(UNETD_OP_LINEAR);
  unetd_linear& linear = call.desc.u.linear;
  linear.segments = static_cast<uint32_t>(c.segments.size());
  std::copy(c.segments.begin(), c.segments.end(), linear.segment_rows);
  linear.bias_mask = c.bias_mask;
  linear.activation = c.activation;
  linear.out_scale = c.out_scale;
  uint32_t out = std::accumulate(c.segments.begin(), c.segments.end(), 0u);
  if (c.activation == UNETD_ACT_GEGLU) out /= 2;
  AddArgs(c, c.tokens, c.tokens, out, &call);
  const uint32_t in = std::accumulate(c.channels.begin(), c.channels.end(), 0u);
  const double scale = 1 / std::sqrt(in / 3.0);
  for (uint32_t s = 0; s < linear.segments; ++s) {
    call.weights[s] = MakeWeight({c.segments[s], in}, c.source_dtype, 70 + s, scale);
    if (c.bias_mask >> s & 1) {
      call.weights[linear.segments + s] = MakeWeight({c.segments[s]}, c.source_dtype, 80 + s, 1);
    }
  }
  return call;
}

Expected Reference(const Call& call, double slack) {
  const Gemm g = call.desc.kind == UNETD_OP_CONV2D ? OfConv(call) : OfLinear(call);
  const bool geglu = g.activation == UNETD_ACT_GEGLU;
  const uint64_t out = geglu ? g.columns / 2 : g.columns;
  const double eps = Epsilon(UNETD_DTYPE_F32);
  const double store = Epsilon(call.args.at(UNETD_ARG_DST).view.dtype);
  Expected expected;
  for (uint32_t row = 0; row < call.rows; ++row) {
    std::vector<const double*> segments;
    std::vector<uint64_t> widths;
    for (uint32_t s = 0; s < UNETD_MAX_SEGMENTS && call.args.count(s); ++s) {
      segments.push_back(call.args.at(s).values[row].data());
      widths.push_back(call.args.at(s).view.channels);
    }
    std::vector<double> sum(g.columns), size(g.columns);
    auto& values = expected.values.emplace_back();
    auto& tolerance = expected.tolerance.emplace_back();
    for (uint64_t m = 0; m < g.tokens; ++m) {
      for (uint64_t n = 0; n < g.columns; ++n) {
        sum[n] = g.bias[n];
        size[n] = std::abs(sum[n]);
      }
      for (uint64_t tap = 0; tap < g.taps; ++tap) {
        const int64_t token = g.source[m * g.taps + tap];
        if (token < 0) continue;
        uint64_t k = 0;
        for (size_t s = 0; s < segments.size(); ++s) {
          const double* x = segments[s] + static_cast<uint64_t>(token) * widths[s];
          for (uint64_t c = 0; c < widths[s]; ++c, ++k) {
            for (uint64_t n = 0; n < g.columns; ++n) {
              const double product = x[c] * g.weights[(n * g.channels + k) * g.taps + tap];
              sum[n] += product;
              size[n] += std::abs(product);
            }
          }
        }
      }
      for (uint64_t n = 0; n < out; ++n) {
        if (call.args.count(UNETD_ARG_ROW_BIAS)) {
          sum[n] += call.args.at(UNETD_ARG_ROW_BIAS).values[row][n];
          size[n] += std::abs(sum[n]);
        }
        // A float32 sum of random signs errs by about eps / 2 of its partial sums, the root of the
        // squares of which is below the sum of sizes; six deviations are 4 eps of that.
        double error = 4 * slack * eps * size[n];
        double v = Activated(g.activation, sum[n]);
        if (g.activation != UNETD_ACT_NONE)
          error = 1.13 * error + 6 * eps * std::max(1.0, std::abs(v));
        if (geglu) {
          const double gate = Gelu(sum[out + n]);
          const double gate_error =
              1.13 * 4 * eps * size[out + n] + 6 * eps * std::max(1.0, std::abs(gate));
          v = sum[n] * gate;
          error = 4 * eps * size[n] * std::abs(gate) + std::abs(sum[n]) * gate_error;
        }
        if (call.args.count(UNETD_ARG_RESIDUAL)) {
          v += call.args.at(UNETD_ARG_RESIDUAL).values[row][m * out + n];
          error += 2 * eps * std::abs(v);
        }
        v *= g.out_scale;
        error = error * std::abs(g.out_scale) + 2 * eps * std::abs(v);
        values.push_back(v);
        tolerance.push_back(error + 1.01 * store * std::abs(v) + 1e-30);
      }
    }
  }
  return expected;
}

std::string Mismatch(const Call& call, const Outcome& outcome) {
  if (outcome.code != UNETD_OK) return "refused: " + outcome.why;
  if (!outcome.damage.empty()) return "damage: " + outcome.damage;
  // Winograd's sums are of values larger than the direct sum's by what its transforms add up:
  // inputs by up to 4 (F(2, 3)) or 49 (F(4, 3), its B^T's rows both ways), of which random signs
  // leave about the root.
  const bool f2 = outcome.description.find("F(2, 3)") != std::string::npos;
  const bool f4 = outcome.description.find("F(4, 3)") != std::string::npos;
  const Expected expected = Reference(call, f2 ? 2 : f4 ? 7 : 1);
  for (uint32_t row = 0; row < call.rows; ++row) {
    const std::vector<double>& got = outcome.values[row];
    if (got.size() != expected.values[row].size()) return "wrong size";
    for (size_t i = 0; i < got.size(); ++i) {
      const double error = std::abs(got[i] - expected.values[row][i]);
      if (!(error <= expected.tolerance[row][i])) {
        const uint32_t channels = call.args.at(UNETD_ARG_DST).view.channels;
        return "row " + std::to_string(row) + " token " + std::to_string(i / channels) +
               " channel " + std::to_string(i % channels) + ": " + std::to_string(got[i]) +
               ", expected " + std::to_string(expected.values[row][i]) + " +- " +
               std::to_string(expected.tolerance[row][i]);
      }
    }
  }
  return "";
}

}  // namespace unetd::test
