// The cpu backend's group_norm and layer_norm against plain loops in double, and their bits
// whatever the rows, slots and threads.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/cpu/op_runner.h"

namespace unetd::test {
namespace {

double Activated(uint32_t activation, double x) {
  switch (activation) {
    case UNETD_ACT_SILU:
      return x / (1 + std::exp(-x));
    case UNETD_ACT_GELU:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case UNETD_ACT_MISH:
      return x * std::tanh(std::log1p(std::exp(x)));
    case UNETD_ACT_RELU:
      return std::max(x, 0.0);
    default:
      return x;
  }
}

struct Case {
  uint64_t tokens;
  std::vector<uint32_t> segments;
  uint32_t groups = 1;  // group_norm
  bool affine = true;
  bool row_vectors = false;  // row_scale and row_shift
  uint32_t activation = UNETD_ACT_NONE;
  int32_t dtype = UNETD_DTYPE_F32;
  double spread = 1, offset = 0;
  uint64_t pad = 0;  // stride - channels
};

uint32_t Channels(const Case& c) {
  uint32_t channels = 0;
  for (const uint32_t s : c.segments) channels += s;
  return channels;
}

std::string Name(const Case& c) {
  return std::to_string(c.tokens) + " tokens, " + std::to_string(c.segments.size()) +
         " segments of " + std::to_string(c.segments[0]) + "..., groups " +
         std::to_string(c.groups) + " activation " + std::to_string(c.activation) + " dtype " +
         std::to_string(c.dtype);
}

Call MakeCall(const Case& c, uint32_t kind, uint32_t rows = 1) {
  Call call;
  call.desc = Desc(kind);
  call.rows = rows;
  const uint32_t channels = Channels(c);
  for (uint32_t s = 0; s < c.segments.size(); ++s) {
    Arg& src = call.args[UNETD_ARG_SRC0 + s];
    src.view = View(c.tokens, c.segments[s], c.dtype, c.segments[s] + c.pad * (s + 1));
    src.shift = s;
    for (uint32_t row = 0; row < rows; ++row) {
      src.values.push_back(
          Noise(c.tokens * c.segments[s], row * 4 + s + 1, c.dtype, c.spread, c.offset));
    }
  }
  call.args[UNETD_ARG_DST].view = View(c.tokens, channels, c.dtype, channels + c.pad);
  if (c.row_vectors) {
    for (const uint32_t arg : {UNETD_ARG_ROW_SCALE, UNETD_ARG_ROW_SHIFT}) {
      call.args[arg].view = View(1, channels, c.dtype);
      for (uint32_t row = 0; row < rows; ++row) {
        call.args[arg].values.push_back(Noise(channels, row + arg * 100, c.dtype));
      }
    }
  }
  if (c.affine) {
    for (uint32_t w = 0; w < 2; ++w) {
      const std::vector<double> values = Noise(channels, 77 + w, c.dtype, 1, w == 0 ? 1 : 0);
      call.weights[w] = {{values.begin(), values.end()}, {channels}, c.dtype};
    }
  }
  if (kind == UNETD_OP_GROUP_NORM) {
    call.desc.u.group_norm = {c.groups, c.affine, c.activation, 1e-5f};
  } else {
    call.desc.u.layer_norm = {c.affine, 1e-5f};
  }
  return call;
}

// Of the concatenated segments.
double Source(const Case& c, const Call& call, uint32_t row, uint64_t token, uint32_t channel) {
  uint32_t s = 0;
  for (; channel >= c.segments[s]; ++s) channel -= c.segments[s];
  return call.args.at(UNETD_ARG_SRC0 + s).values[row][token * c.segments[s] + channel];
}

void ExpectClose(const Case& c, const Call& call, const Outcome& got) {
  ASSERT_EQ(got.code, UNETD_OK) << got.why;
  EXPECT_EQ(got.damage, "");
  const bool layer = call.desc.kind == UNETD_OP_LAYER_NORM;
  const uint32_t channels = Channels(c), size = layer ? channels : channels / c.groups;
  const double eps = static_cast<double>(1e-5f);
  for (uint32_t row = 0; row < call.rows; ++row) {
    // The statistics' extent: a group over all tokens, or all channels of a token.
    const uint64_t extents = layer ? c.tokens : c.groups;
    for (uint64_t e = 0; e < extents; ++e) {
      const uint64_t first_token = layer ? e : 0, last_token = layer ? e + 1 : c.tokens;
      const uint32_t first = layer ? 0 : static_cast<uint32_t>(e) * size, last = first + size;
      const double count = static_cast<double>(last_token - first_token) * size;
      double mean = 0, variance = 0;
      for (uint64_t t = first_token; t < last_token; ++t) {
        for (uint32_t ch = first; ch < last; ++ch) mean += Source(c, call, row, t, ch) / count;
      }
      for (uint64_t t = first_token; t < last_token; ++t) {
        for (uint32_t ch = first; ch < last; ++ch) {
          variance += std::pow(Source(c, call, row, t, ch) - mean, 2) / count;
        }
      }
      const double deviation = std::sqrt(variance + eps);
      for (uint64_t t = first_token; t < last_token; ++t) {
        for (uint32_t ch = first; ch < last; ++ch) {
          double y = (Source(c, call, row, t, ch) - mean) / deviation;
          // Rounding of the statistics and of each step after; layer_norm's mean is itself a
          // float32.
          double slack = Epsilon(UNETD_DTYPE_F32) *
                         ((layer ? 2 * std::fabs(mean) / deviation : 0) + 16 + 16 * std::fabs(y));
          if (c.affine) {
            const double gamma = static_cast<double>(call.weights.at(0).values[ch]);
            y = y * gamma + static_cast<double>(call.weights.at(1).values[ch]);
            slack *= 1 + std::fabs(gamma);
          }
          if (c.row_vectors) {
            const double scale = 1 + call.args.at(UNETD_ARG_ROW_SCALE).values[row][ch];
            y = y * scale + call.args.at(UNETD_ARG_ROW_SHIFT).values[row][ch];
            slack *= 1 + std::fabs(scale);
          }
          y = Activated(c.activation, y);
          slack = slack * 1.2 + std::fabs(y) * 1.01 * Epsilon(c.dtype) + 3e-7;
          ASSERT_NEAR(got.values[row][t * channels + ch], y, slack)
              << "row " << row << " token " << t << " channel " << ch;
        }
      }
    }
  }
}

class NormTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { ASSERT_TRUE(backend_.ok()) << backend_.error(); }
  void Check(const Case& c, uint32_t kind) {
    SCOPED_TRACE(Name(c));
    Call call = MakeCall(c, kind);
    call.threads = 2;
    ExpectClose(c, call, RunOp(backend_, call));
  }
  CpuBackend backend_{GetParam()};
};

TEST_P(NormTest, GroupNormMatchesPlainLoops) {
  const std::vector<Case> cases = {
      {1, {1}, 1},
      {1, {7}, 7},
      {3, {12}, 3},
      {5, {20}, 2},
      {64, {320}, 32},
      {100, {48}, 3},
      {257, {33}, 11},
      {7, {1920}, 32},
      {2000, {40}, 4},
      {300, {320}, 32},
      {9, {7, 13}, 4},
      {64, {640, 320}, 32},
      {65, {5, 17, 3, 7}, 8},
      {40, {16, 16}, 2},
      {333, {1, 99}, 10},
      {5, {20000}, 4},
  };
  for (Case c : cases) {
    Check(c, UNETD_OP_GROUP_NORM);
    c.affine = false;
    c.row_vectors = true;
    c.pad = 3;
    Check(c, UNETD_OP_GROUP_NORM);
  }
}

TEST_P(NormTest, GroupNormActivationsAndDTypes) {
  for (const int32_t dtype : {UNETD_DTYPE_F32, UNETD_DTYPE_F16, UNETD_DTYPE_BF16}) {
    for (const uint32_t activation :
         {UNETD_ACT_NONE, UNETD_ACT_SILU, UNETD_ACT_GELU, UNETD_ACT_MISH, UNETD_ACT_RELU}) {
      Check({70, {19, 41}, 5, true, true, activation, dtype, 3, 0.5, 2}, UNETD_OP_GROUP_NORM);
    }
  }
}

// A mean far from 0, and one outlying first token.
TEST_P(NormTest, GroupNormKeepsItsDigits) {
  Check({900, {64}, 4, true, false, UNETD_ACT_NONE, UNETD_DTYPE_F32, 1, 1000}, UNETD_OP_GROUP_NORM);
  const Case c{900, {64}, 4};
  Call call = MakeCall(c, UNETD_OP_GROUP_NORM);
  for (uint32_t ch = 0; ch < 64; ++ch) call.args[UNETD_ARG_SRC0].values[0][ch] = 300;
  ExpectClose(c, call, RunOp(backend_, call));
}

TEST_P(NormTest, LayerNormMatchesPlainLoops) {
  for (const uint32_t channels : {1u, 2u, 7u, 15u, 16u, 17u, 64u, 65u, 129u, 320u, 1280u, 2051u}) {
    for (const int32_t dtype : {UNETD_DTYPE_F32, UNETD_DTYPE_F16, UNETD_DTYPE_BF16}) {
      Case c{37, {channels}};
      c.dtype = dtype;
      c.pad = channels % 3;
      Check(c, UNETD_OP_LAYER_NORM);
      c.affine = false;
      Check(c, UNETD_OP_LAYER_NORM);
    }
  }
  Check({100, {320}, 1, true, false, UNETD_ACT_NONE, UNETD_DTYPE_F32, 1, 1000},
        UNETD_OP_LAYER_NORM);
}

TEST_P(NormTest, SameBitsWhateverTheRowsSlotsAndThreads) {
  for (const uint32_t kind : {UNETD_OP_GROUP_NORM, UNETD_OP_LAYER_NORM}) {
    Case c{700, {50, 46}, 8};
    if (kind == UNETD_OP_LAYER_NORM) c.segments = {96};
    const Call all = MakeCall(c, kind, 8);
    std::vector<std::vector<uint8_t>> alone;
    for (uint32_t row = 0; row < 8; ++row) {
      Call one = all;
      one.rows = 1;
      for (auto& [id, arg] : one.args) {
        if (!arg.values.empty()) arg.values = {arg.values[row]};
      }
      const Outcome got = RunOp(backend_, one);
      ASSERT_EQ(got.code, UNETD_OK) << got.why;
      alone.push_back(got.raw[0]);
    }
    EXPECT_NE(alone[0], alone[1]);
    for (uint32_t rows = 1; rows <= 8; ++rows) {
      for (const uint32_t threads : {1u, 2u}) {
        Call call = all;
        call.rows = rows;
        call.threads = threads;
        call.reverse_slots = threads == 2;
        const Outcome got = RunOp(backend_, call);
        ASSERT_EQ(got.code, UNETD_OK) << got.why;
        for (uint32_t row = 0; row < rows; ++row) {
          EXPECT_EQ(got.raw[row], alone[row]) << "row " << row << " of " << rows;
        }
      }
    }
  }
}

// The statistics of 20 rows do not fit into the workspace together: some take turns.
TEST_P(NormTest, RowsInTurns) {
  Case c{4, {6000, 6000}, 3000};
  Call call = MakeCall(c, UNETD_OP_GROUP_NORM, 20);
  call.threads = 2;
  const Outcome got = RunOp(backend_, call);
  EXPECT_LT(got.workspace_bytes, uint64_t{2} << 20);
  ExpectClose(c, call, got);
}

TEST_P(NormTest, NanSpoilsItsOwnGroupOnly) {
  const Case c{100, {32}, 4};
  Call call = MakeCall(c, UNETD_OP_GROUP_NORM);
  call.args[UNETD_ARG_SRC0].values[0][50 * 32 + 9] = std::nan("");
  const Outcome got = RunOp(backend_, call);
  ASSERT_EQ(got.code, UNETD_OK) << got.why;
  for (uint64_t i = 0; i < got.values[0].size(); ++i) {
    const uint64_t channel = i % 32;
    ASSERT_EQ(std::isnan(got.values[0][i]), channel >= 8 && channel < 16) << i;
  }
}

TEST_P(NormTest, RefusesNamingTheReason) {
  const auto refused = [&](uint32_t kind, const char* words, const auto& change) {
    Case c{10, {24}, 4};
    if (kind == UNETD_OP_GROUP_NORM) c.row_vectors = true;
    Call call = MakeCall(c, kind);
    EXPECT_EQ(Ask(backend_, call).code, UNETD_OK);
    change(call);
    const Outcome got = Ask(backend_, call);
    EXPECT_EQ(got.code, UNETD_UNSUPPORTED) << words;
    EXPECT_NE(got.why.find(words), std::string::npos) << got.why;
  };
  constexpr uint32_t kGroup = UNETD_OP_GROUP_NORM, kLayer = UNETD_OP_LAYER_NORM;
  refused(kGroup, "stats_in", [](Call& c) { c.args[UNETD_ARG_STATS_IN].view = View(4, 2); });
  refused(kGroup, "stats_out", [](Call& c) { c.args[UNETD_ARG_STATS_OUT].view = View(4, 2); });
  refused(kGroup, "groups", [](Call& c) { c.desc.u.group_norm.groups = 5; });
  refused(kGroup, "groups", [](Call& c) { c.desc.u.group_norm.groups = 0; });
  refused(kGroup, "affine", [](Call& c) { c.desc.u.group_norm.affine = 2; });
  refused(kGroup, "eps", [](Call& c) { c.desc.u.group_norm.eps = NAN; });
  refused(kGroup, "geglu", [](Call& c) { c.desc.u.group_norm.activation = UNETD_ACT_GEGLU; });
  refused(kGroup, "dst", [](Call& c) { c.args[UNETD_ARG_DST].view.channels = 23; });
  refused(kGroup, "dst", [](Call& c) { c.args[UNETD_ARG_DST].view.dtype = UNETD_DTYPE_I32; });
  refused(kGroup, "row_scale", [](Call& c) { c.args[UNETD_ARG_ROW_SCALE].view.tokens = 2; });
  refused(kGroup, "row_shift", [](Call& c) { c.args[UNETD_ARG_ROW_SHIFT].view.channels = 20; });
  refused(kGroup, "src2", [](Call& c) { c.args[UNETD_ARG_SRC2].view = View(10, 8); });
  refused(kGroup, "src1", [](Call& c) { c.args[UNETD_ARG_SRC1].view = View(9, 8); });
  refused(kGroup, "sum_dtype", [](Call& c) { c.desc.sum_dtype = UNETD_DTYPE_BF16; });
  refused(kLayer, "src1", [](Call& c) { c.args[UNETD_ARG_SRC1].view = View(10, 8); });
  refused(kLayer, "affine", [](Call& c) { c.desc.u.layer_norm.affine = 3; });
  refused(kLayer, "eps", [](Call& c) { c.desc.u.layer_norm.eps = -1; });
  refused(kLayer, "dst", [](Call& c) { c.args[UNETD_ARG_DST].view.tokens = 11; });
  refused(kLayer, "src0", [](Call& c) { c.args[UNETD_ARG_SRC0].view.stride = 23; });
}

TEST_P(NormTest, RefusesWeightsOfOtherSizes) {
  Call call = MakeCall({10, {24}, 4}, UNETD_OP_GROUP_NORM);
  call.weights[1].values.pop_back();
  call.weights[1].dims = {23};
  const Outcome got = RunOp(backend_, call);
  EXPECT_EQ(got.code, UNETD_INVALID);
  EXPECT_NE(got.why.find("beta"), std::string::npos) << got.why;
}

INSTANTIATE_TEST_SUITE_P(Isa, NormTest, testing::ValuesIn(Isas()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace unetd::test
