// The cpu backend's convolution and linear against plain loops in double, on both instruction sets.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/cpu/gemm_cases.h"

namespace unetd::test {
namespace {

constexpr int32_t kF32 = UNETD_DTYPE_F32, kF16 = UNETD_DTYPE_F16, kBF16 = UNETD_DTYPE_BF16;

class GemmTest : public testing::TestWithParam<std::string> {
 protected:
  GemmTest() : backend_(GetParam()) {}
  void SetUp() override { ASSERT_TRUE(backend_.ok()) << backend_.error(); }
  void ExpectRight(const Call& call, const std::string& name) {
    EXPECT_EQ(Mismatch(call, RunOp(backend_, call)), "") << name;
  }
  CpuBackend backend_;
};
INSTANTIATE_TEST_SUITE_P(Isa, GemmTest, testing::ValuesIn(MatrixIsas()),
                         [](const auto& info) { return info.param; });

std::vector<ConvCase> ConvCases() {
  return {
      {.name = "plain"},
      {.name = "one pixel", .in_h = 1, .in_w = 1, .channels = {3}, .out = 1},
      {.name = "conv_in", .in_h = 9, .in_w = 7, .channels = {4}, .out = 40},
      {.name = "conv_out", .in_h = 9, .in_w = 7, .channels = {40}, .out = 4},
      {.name = "odd sizes", .in_h = 13, .in_w = 5, .channels = {33}, .out = 47},
      {.name = "long sum", .in_h = 5, .in_w = 5, .channels = {129}, .out = 65},
      {.name = "many blocks", .in_h = 4, .in_w = 4, .channels = {300}, .out = 31},
      {.name = "wide", .in_h = 3, .in_w = 3, .channels = {20}, .out = 800},
      {.name = "many tokens", .in_h = 33, .in_w = 31, .channels = {8}, .out = 16},
      {.name = "stride 2", .in_h = 10, .in_w = 11, .channels = {24}, .out = 36, .stride = 2},
      {.name = "downsample",
       .in_h = 8,
       .in_w = 10,
       .channels = {16},
       .stride = 2,
       .top = 0,
       .left = 0},
      {.name = "asymmetric",
       .in_h = 7,
       .in_w = 6,
       .channels = {9},
       .top = 3,
       .left = 0,
       .bottom = 1,
       .right = 2},
      {.name = "no padding",
       .in_h = 6,
       .in_w = 9,
       .channels = {10},
       .top = 0,
       .left = 0,
       .bottom = 0,
       .right = 0},
      {.name = "1x1",
       .in_h = 6,
       .in_w = 5,
       .channels = {70},
       .out = 50,
       .kernel_h = 1,
       .kernel_w = 1,
       .top = 0,
       .left = 0,
       .bottom = 0,
       .right = 0},
      {.name = "1x1 stride 2",
       .in_h = 6,
       .in_w = 5,
       .channels = {12},
       .out = 50,
       .kernel_h = 1,
       .kernel_w = 1,
       .stride = 2,
       .top = 0,
       .left = 0,
       .bottom = 0,
       .right = 0},
      {.name = "1x1 padded", .in_h = 3, .in_w = 2, .channels = {12}, .kernel_h = 1, .kernel_w = 1},
      {.name = "5x5",
       .in_h = 9,
       .in_w = 8,
       .channels = {11},
       .out = 13,
       .kernel_h = 5,
       .kernel_w = 5,
       .top = 2,
       .left = 2,
       .bottom = 2,
       .right = 2},
      {.name = "3x1", .in_h = 9, .in_w = 8, .channels = {11}, .kernel_w = 1, .left = 0, .right = 0},
      {.name = "resize 2x",
       .in_h = 5,
       .in_w = 6,
       .channels = {20},
       .out = 24,
       .resize_h = 10,
       .resize_w = 12},
      {.name = "resize odd",
       .in_h = 5,
       .in_w = 6,
       .channels = {20},
       .out = 24,
       .resize_h = 9,
       .resize_w = 13},
      {.name = "resize down, stride",
       .in_h = 9,
       .in_w = 8,
       .channels = {20},
       .stride = 2,
       .resize_h = 5,
       .resize_w = 4},
      {.name = "two segments", .in_h = 6, .in_w = 6, .channels = {17, 30}, .out = 20},
      {.name = "four segments",
       .in_h = 4,
       .in_w = 6,
       .channels = {1, 64, 3, 90},
       .out = 20,
       .pad_stride = 3},
      {.name = "no bias", .bias = false},
      {.name = "time embedding", .channels = {35}, .out = 50, .row_bias = true},
      {.name = "everything",
       .in_h = 7,
       .channels = {35, 7},
       .out = 45,
       .row_bias = true,
       .residual = true,
       .activation = UNETD_ACT_SILU,
       .out_scale = 0.7f,
       .pad_stride = 5},
      {.name = "gelu", .activation = UNETD_ACT_GELU},
      {.name = "mish", .activation = UNETD_ACT_MISH},
      {.name = "relu", .residual = true, .activation = UNETD_ACT_RELU, .out_scale = -2},
  };
}

// In float32, and in bfloat16, which some CPUs multiply in pairs.
TEST_P(GemmTest, ConvIsRight) {
  for (ConvCase& c : ConvCases()) {
    ExpectRight(MakeConv(c, 2), c.name);
    c.dtype = c.weight_dtype = kBF16;
    ExpectRight(MakeConv(c, 2), c.name + ", bfloat16");
  }
}

TEST_P(GemmTest, EveryStorageIsRight) {
  for (const int32_t dtype : {kF32, kF16, kBF16}) {
    for (const int32_t weight : {kF32, kF16, kBF16}) {
      for (const int32_t source : {kF32, kF16, kBF16}) {
        const std::string name =
            std::to_string(dtype) + std::to_string(weight) + std::to_string(source);
        ExpectRight(MakeConv({.in_h = 7,
                              .in_w = 5,
                              .channels = {21, 40},
                              .out = 43,
                              .row_bias = true,
                              .residual = true,
                              .dtype = dtype,
                              .weight_dtype = weight,
                              .source_dtype = source,
                              .pad_stride = 1}),
                    "conv " + name);
        ExpectRight(MakeLinear({.tokens = 19,
                                .channels = {37},
                                .segments = {54},
                                .residual = true,
                                .activation = UNETD_ACT_GEGLU,
                                .dtype = dtype,
                                .weight_dtype = weight,
                                .source_dtype = source}),
                    "geglu " + name);
      }
    }
  }
}

std::vector<LinearCase> LinearCases() {
  return {
      {.name = "plain"},
      {.name = "one value", .tokens = 1, .channels = {1}, .segments = {1}},
      {.name = "time embedding",
       .tokens = 1,
       .channels = {320},
       .segments = {1280},
       .activation = UNETD_ACT_SILU},
      {.name = "text", .tokens = 77, .channels = {100}, .segments = {90}, .bias_mask = 0},
      {.name = "several blocks", .tokens = 261, .channels = {1030}, .segments = {97}},
      {.name = "wide", .tokens = 5, .channels = {64}, .segments = {2000}},
      {.name = "qkv", .tokens = 21, .channels = {40}, .segments = {40, 40, 40}, .bias_mask = 0},
      {.name = "ragged segments",
       .tokens = 21,
       .channels = {40},
       .segments = {3, 65, 32, 17},
       .bias_mask = 0b1010,
       .row_bias = true,
       .residual = true,
       .pad_stride = 7},
      {.name = "eight segments",
       .tokens = 3,
       .channels = {5, 6, 7},
       .segments = {1, 2, 3, 4, 5, 6, 7, 8},
       .bias_mask = 0xff},
      {.name = "geglu",
       .tokens = 33,
       .channels = {70},
       .segments = {2 * 75},
       .activation = UNETD_ACT_GEGLU},
      {.name = "geglu small",
       .tokens = 2,
       .channels = {7},
       .segments = {2},
       .activation = UNETD_ACT_GEGLU},
      {.name = "geglu no bias",
       .tokens = 15,
       .channels = {520},
       .segments = {2 * 64},
       .bias_mask = 0,
       .residual = true,
       .activation = UNETD_ACT_GEGLU,
       .out_scale = 0.5f,
       .pad_stride = 9},
      {.name = "mish", .activation = UNETD_ACT_MISH},
      {.name = "gelu", .residual = true, .activation = UNETD_ACT_GELU, .out_scale = 3},
      {.name = "relu", .activation = UNETD_ACT_RELU},
  };
}

TEST_P(GemmTest, LinearIsRight) {
  for (LinearCase& c : LinearCases()) {
    ExpectRight(MakeLinear(c, 3), c.name);
    c.dtype = c.weight_dtype = kBF16;
    ExpectRight(MakeLinear(c, 3), c.name + ", bfloat16");
  }
}

// Every height of a register tile, and a half-empty last panel.
TEST_P(GemmTest, EveryRemainderIsRight) {
  for (uint64_t tokens = 1; tokens <= 30; ++tokens) {
    for (const uint32_t columns : {1u, 15u, 16u, 17u, 40u}) {
      const std::string name =
          std::to_string(tokens) + " tokens " + std::to_string(columns) + " columns";
      LinearCase c = {.tokens = tokens, .channels = {6}, .segments = {columns}};
      ExpectRight(MakeLinear(c), name);
      c.dtype = c.weight_dtype = kBF16;
      c.channels = {7};
      ExpectRight(MakeLinear(c), name + ", bfloat16");
    }
  }
}

TEST_P(GemmTest, ResidualMayBeDst) {
  Call call = MakeConv({.channels = {12}, .out = 20, .residual = true}, 2);
  Call in_place = call;
  in_place.args[UNETD_ARG_DST].inside = UNETD_ARG_RESIDUAL;
  EXPECT_EQ(RunOp(backend_, in_place).raw, RunOp(backend_, call).raw);
  ExpectRight(in_place, "in place");
}

// Infinity and NaN in one token stay in that token's results; padding of panels and rows adds none.
TEST_P(GemmTest, NonFiniteValuesStayWhereTheyAre) {
  Call call = MakeLinear({.tokens = 20, .channels = {33}, .segments = {37}});
  call.args[UNETD_ARG_SRC0].values[0][7 * 33 + 5] = std::numeric_limits<double>::quiet_NaN();
  const Outcome outcome = RunOp(backend_, call);
  for (size_t i = 0; i < outcome.values[0].size(); ++i) {
    EXPECT_EQ(std::isnan(outcome.values[0][i]), i / 37 == 7) << i;
  }
}

}  // namespace
}  // namespace unetd::test
