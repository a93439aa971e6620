// Convolutions large enough to go by Winograd's way: against plain loops in double, on both
// instruction sets, and with equal bits whatever the rows, slots and threads; and the rule that
// chooses the way.
#include <gtest/gtest.h>

#include "tests/cpu/gemm_cases.h"

namespace unetd::test {
namespace {

constexpr int32_t kF16 = UNETD_DTYPE_F16, kBF16 = UNETD_DTYPE_BF16;

class WinogradTest : public testing::TestWithParam<std::string> {
 protected:
  WinogradTest() : backend_(GetParam()) {}
  void SetUp() override { ASSERT_TRUE(backend_.ok()) << backend_.error(); }
  CpuBackend backend_;
};
INSTANTIATE_TEST_SUITE_P(Isa, WinogradTest, testing::ValuesIn(Isas()),
                         [](const auto& info) { return info.param; });

std::vector<ConvCase> Cases() {
  return {
      {.name = "F2", .channels = {64}, .out = 64},
      {.name = "F2 odd sizes", .in_h = 9, .in_w = 13, .channels = {80}, .out = 75},
      {.name = "F2 several k blocks", .channels = {1040}, .out = 64, .pad_stride = 3},
      {.name = "F2 segments",
       .channels = {64, 528, 16},
       .out = 100,
       .row_bias = true,
       .residual = true,
       .activation = UNETD_ACT_SILU,
       .out_scale = 0.7f,
       .pad_stride = 5},
      {.name = "F2 resize",
       .in_h = 5,
       .in_w = 4,
       .channels = {64},
       .out = 64,
       .resize_h = 10,
       .resize_w = 8},
      {.name = "F2 asymmetric",
       .in_h = 10,
       .in_w = 9,
       .channels = {64},
       .out = 64,
       .top = 0,
       .left = 2,
       .bottom = 1,
       .right = 0},
      {.name = "F4", .in_h = 32, .in_w = 32, .channels = {64}, .out = 64},
      {.name = "F4 odd sizes", .in_h = 31, .in_w = 37, .channels = {64}, .out = 81, .bias = false},
      {.name = "F4 segments",
       .in_h = 32,
       .in_w = 29,
       .channels = {48, 592},
       .out = 66,
       .row_bias = true,
       .residual = true,
       .activation = UNETD_ACT_GELU,
       .out_scale = -1.5f,
       .pad_stride = 2},
      {.name = "F4 resize",
       .in_h = 17,
       .in_w = 16,
       .channels = {64},
       .out = 64,
       .resize_h = 34,
       .resize_w = 32},
      {.name = "F4 no padding",
       .in_h = 34,
       .in_w = 34,
       .channels = {64},
       .out = 64,
       .top = 0,
       .left = 0,
       .bottom = 0,
       .right = 0},
      {.name = "F4 f16 values",
       .in_h = 32,
       .in_w = 32,
       .channels = {64},
       .out = 65,
       .row_bias = true,
       .residual = true,
       .dtype = kF16,
       .source_dtype = kF16},
      {.name = "F2 bf16 values",
       .channels = {64},
       .out = 65,
       .row_bias = true,
       .residual = true,
       .dtype = kBF16,
       .source_dtype = kBF16},
      {.name = "F4 bf16 weights",
       .in_h = 32,
       .in_w = 32,
       .channels = {64},
       .out = 65,
       .dtype = kBF16,
       .weight_dtype = kBF16},
      {.name = "F4 f16 weights",
       .in_h = 32,
       .in_w = 32,
       .channels = {64},
       .out = 65,
       .weight_dtype = kF16},
  };
}

TEST_P(WinogradTest, IsRight) {
  for (const ConvCase& c : Cases()) {
    const Call call = MakeConv(c, 2);
    const Outcome outcome = RunOp(backend_, call);
    EXPECT_EQ(outcome.description.substr(0, 11), "winograd F(") << c.name;
    EXPECT_EQ(outcome.description[11], c.name[1]) << c.name;
    EXPECT_EQ(Mismatch(call, outcome), "") << c.name;
  }
}

TEST_P(WinogradTest, BitsDoNotDependOnTheBatch) {
  for (const ConvCase& c :
       {ConvCase{.in_h = 9, .in_w = 8, .channels = {528}, .out = 70, .residual = true},
        ConvCase{.in_h = 32, .in_w = 33, .channels = {64}, .out = 64, .row_bias = true}}) {
    const Outcome all = RunOp(backend_, MakeConv(c, 8));
    ASSERT_EQ(all.code, UNETD_OK) << all.why;
    for (uint32_t rows = 1; rows <= 8; ++rows) {
      for (const uint32_t threads : {1u, 2u}) {
        Call call = MakeConv(c, rows);
        call.threads = threads;
        call.reverse_slots = rows % 2 == 0;
        const Outcome some = RunOp(backend_, call);
        ASSERT_EQ(some.code, UNETD_OK) << some.why;
        for (uint32_t row = 0; row < rows; ++row) {
          ASSERT_EQ(some.raw[row], all.raw[row])
              << "row " << row << " of " << rows << ", " << threads << " threads";
        }
      }
    }
  }
}

TEST_P(WinogradTest, IsChosenByAFixedRule) {
  const auto way = [&](const ConvCase& c) {
    return RunOp(backend_, MakeConv(c)).description.substr(0, 11);
  };
  const ConvCase small = {.channels = {64}, .out = 64};
  EXPECT_EQ(way(small), "winograd F(");
  ConvCase c = small;
  c.in_h = 6;
  EXPECT_EQ(way(c), "packed gemm") << "too few tiles";
  c = small;
  c.channels = {48};
  EXPECT_EQ(way(c), "packed gemm") << "too few channels";
  c = small;
  c.channels = {64, 24};
  EXPECT_EQ(way(c), "packed gemm") << "a ragged segment";
  c = small;
  c.out = 63;
  EXPECT_EQ(way(c), "packed gemm") << "too few outputs";
  c = small;
  c.weight_dtype = kF16;
  EXPECT_EQ(way(c), "packed gemm") << "F(2, 3) with weights stored in 16 bits";
  c = small;
  c.in_h = c.in_w = 16;
  c.stride = 2;
  EXPECT_EQ(way(c), "packed gemm") << "a stride";
}

// The way is the reference size's, so that a weight packed for one size serves every other.
TEST_P(WinogradTest, ServesAnySizeByTheReferenceSize) {
  const std::pair<uint32_t, uint32_t> sizes[] = {{5, 7}, {1, 1}, {1, 2}, {3, 64}, {2, 4}, {64, 64}};
  for (const auto& [height, width] : sizes) {
    for (const auto& [reference, way] : {std::pair{64u, "winograd F(4"}, {8u, "winograd F(2"}}) {
      ConvCase c = {.in_h = height, .in_w = width, .channels = {64}, .out = 67, .row_bias = true};
      c.reference_h = c.reference_w = reference;
      const Call call = MakeConv(c, 2);
      const Outcome outcome = RunOp(backend_, call);
      EXPECT_EQ(outcome.description.substr(0, 12), way) << height << "x" << width;
      EXPECT_EQ(Mismatch(call, outcome), "") << height << "x" << width << ", " << way;
    }
  }
}

TEST_P(WinogradTest, AWeightHasOnePackingForAllSizes) {
  const auto recipe = [&](uint32_t side, uint32_t reference) {
    Call call = MakeConv({.in_h = side, .in_w = side, .channels = {64}, .out = 64});
    call.desc.u.conv2d.reference_h = call.desc.u.conv2d.reference_w = reference;
    for (const auto& [id, arg] : call.args) call.desc.args[id] = arg.view;
    unetd_recipe made = {};
    unetd_error error = {};
    EXPECT_EQ(backend_.table().pack_recipe(backend_.state(), &call.desc, 0, &made, &error),
              UNETD_OK)
        << error.text;
    return std::string(made.name);
  };
  for (const uint32_t side : {1u, 6u, 8u, 40u}) {
    EXPECT_EQ(recipe(side, 32), recipe(32, 0));
    EXPECT_EQ(recipe(side, 8), recipe(8, 0));
    EXPECT_EQ(recipe(side, 4), recipe(4, 0));
  }
  EXPECT_NE(recipe(32, 0), recipe(8, 0));
  EXPECT_NE(recipe(8, 0), recipe(4, 0));
}

TEST_P(WinogradTest, IsAskedForOrForbidden) {
  const auto way = [&](ConvCase c, uint32_t algorithm) {
    c.algorithm = algorithm;
    const Call call = MakeConv(c, 2);
    const Outcome outcome = RunOp(backend_, call);
    EXPECT_EQ(Mismatch(call, outcome), "") << outcome.description;
    return outcome.description.substr(0, 12);
  };
  const ConvCase large = {.in_h = 32, .in_w = 32, .channels = {64}, .out = 64};
  EXPECT_EQ(way(large, UNETD_CONV_AUTO), "winograd F(4");
  EXPECT_EQ(way(large, UNETD_CONV_DIRECT), "packed gemm ");
  // Where auto would not take it: few channels, few tiles.
  ConvCase c = {.in_h = 16, .in_w = 16, .channels = {16}, .out = 3};
  EXPECT_EQ(way(c, UNETD_CONV_AUTO), "packed gemm ");
  EXPECT_EQ(way(c, UNETD_CONV_WINOGRAD), "winograd F(4");
  c.in_h = 12;
  EXPECT_EQ(way(c, UNETD_CONV_WINOGRAD), "winograd F(2") << "12 tiles of F(4, 3)";
  c.in_h = c.in_w = 1;
  EXPECT_EQ(way(c, UNETD_CONV_WINOGRAD), "winograd F(2");
  c.channels = {32, 16};
  EXPECT_EQ(way(c, UNETD_CONV_WINOGRAD), "winograd F(2");
  // Where it cannot be taken.
  c.channels = {24};
  EXPECT_EQ(way(c, UNETD_CONV_WINOGRAD), "packed gemm ") << "a ragged segment";
  c = large;
  c.weight_dtype = kF16;
  EXPECT_EQ(way(c, UNETD_CONV_AUTO), "winograd F(4") << "weights stored in 16 bits";
  c = large;
  c.stride = 2;
  EXPECT_EQ(way(c, UNETD_CONV_WINOGRAD), "packed gemm ") << "a stride";
}

}  // namespace
}  // namespace unetd::test
