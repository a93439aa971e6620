#include "tests/cpu/attention_cases.h"

#include <algorithm>

namespace unetd::test {

std::string Name(const AttentionCase& c) {
  return "heads " + std::to_string(c.heads) + " head_dim " + std::to_string(c.head_dim) + " Q " +
         std::to_string(c.queries) + " K " + std::to_string(c.keys) + " mask " +
         std::to_string(static_cast<int>(c.mask)) + " dtype " + std::to_string(c.dtype) +
         (c.fused ? " fused" : "");
}

Call MakeCall(const AttentionCase& c, uint32_t algorithm, uint32_t rows) {
  Call call;
  call.desc = Desc(UNETD_OP_ATTENTION);
  if (c.dtype == UNETD_DTYPE_BF16) call.desc.compute_dtype = c.dtype;
  unetd_attention& a = call.desc.u.attention;
  a.algorithm = algorithm;
  a.heads = c.heads;
  a.head_dim = c.head_dim;
  a.slice_size = 1;
  a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.head_dim)));
  call.rows = rows;
  const uint32_t channels = c.heads * c.head_dim;
  const uint64_t stride = c.fused ? 3 * channels : channels + 5;
  Arg& q = call.args[UNETD_ARG_SRC0];
  Arg& k = call.args[UNETD_ARG_KEY];
  Arg& v = call.args[UNETD_ARG_VALUE];
  q.view = View(c.queries, channels, c.dtype, stride);
  k.view = View(c.keys, channels, c.dtype, stride);
  v.view = View(c.keys, channels, c.dtype, stride);
  if (c.fused) {
    k.inside = v.inside = UNETD_ARG_SRC0;
    k.shift = channels;
    v.shift = 2 * channels;
  } else {
    k.shift = 1;  // no luck with alignment
  }
  call.args[UNETD_ARG_DST].view = View(c.queries, channels, c.dtype, channels + 3);
  for (uint32_t row = 0; row < rows; ++row) {
    const uint64_t seed = row * 10 + c.keys;
    q.values.push_back(Noise(c.queries * channels, seed + 1, c.dtype, c.spread));
    k.values.push_back(Noise(c.keys * channels, seed + 2, c.dtype, c.spread));
    v.values.push_back(Noise(c.keys * channels, seed + 3, c.dtype, 3));
  }
  if (c.mask != Mask::kNone) {
    Arg& mask = call.args[UNETD_ARG_MASK];
    const uint64_t tokens = c.mask == Mask::kRow ? 1 : c.queries;
    mask.view = View(tokens, static_cast<uint32_t>(c.keys), UNETD_DTYPE_F32, c.keys + 3);
    for (uint32_t row = 0; row < rows; ++row) {
      std::vector<double> m = Noise(tokens * c.keys, row + 7, UNETD_DTYPE_F32, 4);
      for (uint64_t i = 0; i < m.size(); ++i) {
        if (i % 5 == 3) m[i] = -10000;
        if (i % 7 == 5) m[i] = -kInf;
      }
      mask.values.push_back(std::move(m));
    }
  }
  return call;
}

AttentionExpected Oracle(const AttentionCase& c, const Call& call, uint32_t row) {
  const uint32_t channels = c.heads * c.head_dim;
  const std::vector<double>& q = call.args.at(UNETD_ARG_SRC0).values[row];
  const std::vector<double>& k = call.args.at(UNETD_ARG_KEY).values[row];
  const std::vector<double>& v = call.args.at(UNETD_ARG_VALUE).values[row];
  AttentionExpected e{std::vector<double>(c.queries * channels),
                      std::vector<double>(c.queries * channels)};
  std::vector<double> p(c.keys);
  for (uint32_t h = 0; h < c.heads; ++h) {
    for (uint64_t i = 0; i < c.queries; ++i) {
      double highest = -kInf, sum = 0;
      for (uint64_t j = 0; j < c.keys; ++j) {
        double s = 0;
        for (uint32_t d = 0; d < c.head_dim; ++d) {
          s += q[i * channels + h * c.head_dim + d] * k[j * channels + h * c.head_dim + d];
        }
        s *= static_cast<double>(call.desc.u.attention.scale);
        if (c.mask != Mask::kNone) {
          s +=
              call.args.at(UNETD_ARG_MASK).values[row][(c.mask == Mask::kRow ? 0 : i * c.keys) + j];
        }
        p[j] = s;
        highest = std::max(highest, s);
      }
      for (double& x : p) sum += x = std::exp(x - highest);
      for (uint32_t d = 0; d < c.head_dim; ++d) {
        const uint64_t at = i * channels + h * c.head_dim + d;
        for (uint64_t j = 0; j < c.keys; ++j) {
          const double value = v[j * channels + h * c.head_dim + d];
          e.values[at] += p[j] / sum * value;
          e.sizes[at] += p[j] / sum * std::fabs(value);
        }
      }
    }
  }
  return e;
}

double Tolerance(const AttentionCase& c, double size, bool pairs) {
  const double scores = c.spread * c.spread / 3 * std::sqrt(c.head_dim) + 4;
  const double rounding = Epsilon(UNETD_DTYPE_F32) * (4 * scores + 16 + std::sqrt(c.keys));
  // Weights that are rounded to bfloat16, and their exponential's 1e-4th.
  const double weights = pairs ? Epsilon(UNETD_DTYPE_BF16) + 2e-4 : 0;
  return size * (rounding + weights + 1.01 * Epsilon(c.dtype)) + 1e-7;
}

void ExpectClose(const AttentionCase& c, const Call& call, const Outcome& got) {
  ASSERT_EQ(got.code, UNETD_OK) << got.why;
  EXPECT_EQ(got.damage, "");
  const bool pairs = got.description.find("avx512_bf16") != std::string::npos;
  for (uint32_t row = 0; row < call.rows; ++row) {
    const AttentionExpected want = Oracle(c, call, row);
    for (uint64_t i = 0; i < want.values.size(); ++i) {
      ASSERT_NEAR(got.values[row][i], want.values[i], Tolerance(c, want.sizes[i], pairs))
          << "row " << row << " element " << i << " of " << got.description;
    }
  }
}

}  // namespace unetd::test
