// The oracle itself, against numbers worked out by hand and by formulas written another way.
#include "server/backend/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/backend/reference_run.h"

namespace unetd::test {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;

// Written from the definition: planar, one output at a time, in fp64.
std::vector<double> DirectConv(const OperatorCase& test, const std::vector<float>& src) {
  const unetd_conv2d& conv = test.desc.u.conv2d;
  const int in = test.desc.args[UNETD_ARG_SRC0].channels;
  const int out = test.desc.args[UNETD_ARG_DST].channels;
  const std::vector<float> w = Weights(test, 0), bias = Weights(test, 1);
  std::vector<double> dst;
  for (int y = 0; y < static_cast<int>(conv.out_h); ++y) {
    for (int x = 0; x < static_cast<int>(conv.out_w); ++x) {
      for (int o = 0; o < out; ++o) {
        double sum = bias[o];
        for (int i = 0; i < in; ++i) {
          for (int ky = 0; ky < static_cast<int>(conv.kernel_h); ++ky) {
            for (int kx = 0; kx < static_cast<int>(conv.kernel_w); ++kx) {
              const int sy =
                  y * static_cast<int>(conv.stride) + ky - static_cast<int>(conv.pad_top);
              const int sx =
                  x * static_cast<int>(conv.stride) + kx - static_cast<int>(conv.pad_left);
              const bool inside = sy >= 0 && sx >= 0 && sy < static_cast<int>(conv.in_h) &&
                                  sx < static_cast<int>(conv.in_w);
              const double value = inside ? src[(sy * conv.in_w + sx) * in + i] : 0.0;
              sum += value * w[((o * in + i) * conv.kernel_h + ky) * conv.kernel_w + kx];
            }
          }
        }
        dst.push_back(sum);
      }
    }
  }
  return dst;
}

TEST(Reference, ConvolutionIsTheDefinition) {
  OperatorCase test = NewCase("conv", UNETD_OP_CONV2D, kF32);
  test.desc.u.conv2d = {5, 4, 3, 4, 3, 2, 2, 1, 2, 1, 3, 0, 0, 1, UNETD_ACT_NONE, 1.0f, 0, 0, 0};
  SetView(test, UNETD_ARG_SRC0, 20, 3, kF32);
  SetView(test, UNETD_ARG_DST, 12, 6, kF32);
  SetWeight(test, 0, {6, 3, 3, 2}, 1);
  SetWeight(test, 1, {6}, 1);
  const std::vector<float> got = Compute(test);
  const std::vector<double> expected = DirectConv(test, test.Input(UNETD_ARG_SRC0, 0));
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-6) << i;
}

TEST(Reference, ConvolutionAddsInTheDocumentedOrder) {
  // (relu(x * w + bias + row_bias) + residual) * out_scale, 1 x 1 everywhere.
  OperatorCase test = NewCase("order", UNETD_OP_CONV2D, kF32);
  test.desc.u.conv2d = {1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, UNETD_ACT_RELU, 0.5f, 0, 0, 0};
  for (uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_DST, UNETD_ARG_ROW_BIAS, UNETD_ARG_RESIDUAL}) {
    SetView(test, arg, 1, 1, kF32);
  }
  SetWeight(test, 0, {1, 1, 1, 1}, 0, 2);
  SetWeight(test, 1, {1}, 0, 1);
  Give(test, UNETD_ARG_SRC0, {3});
  Give(test, UNETD_ARG_ROW_BIAS, {-20});
  Give(test, UNETD_ARG_RESIDUAL, {-8});
  EXPECT_THAT(Compute(test), ElementsAre(-4));  // (relu(3 * 2 + 1 - 20) - 8) / 2
  Give(test, UNETD_ARG_ROW_BIAS, {5});
  EXPECT_THAT(Compute(test), ElementsAre(2));  // (relu(12) - 8) / 2
  // One way of summing, whatever is asked for; but not what nobody knows.
  test.desc.u.conv2d.algorithm = UNETD_CONV_WINOGRAD;
  test.desc.u.conv2d.reference_h = test.desc.u.conv2d.reference_w = 64;
  EXPECT_THAT(Compute(test), ElementsAre(2));
  test.desc.u.conv2d.algorithm = 3;
  EXPECT_THAT(OpenReference()->Supports(test.desc).message(), HasSubstr("unknown algorithm 3"));
}

TEST(Reference, ConvolutionResizesFirst) {
  // 1 x 2 -> 2 x 4 by nearest, then a kernel of ones over 2 x 2 without padding.
  OperatorCase test = NewCase("resize", UNETD_OP_CONV2D, kF32);
  test.desc.u.conv2d = {1, 2, 1, 3, 2, 2, 1, 0, 0, 0, 0, 2, 4, 0, UNETD_ACT_NONE, 1.0f, 0, 0, 0};
  SetView(test, UNETD_ARG_SRC0, 2, 1, kF32);
  SetView(test, UNETD_ARG_DST, 3, 1, kF32);
  SetWeight(test, 0, {1, 1, 2, 2}, 0, 1);
  Give(test, UNETD_ARG_SRC0, {1, 10});
  EXPECT_THAT(Compute(test), ElementsAre(4, 22, 40));
}

TEST(Reference, LinearSegmentsLieSideBySide) {
  OperatorCase test = NewCase("linear", UNETD_OP_LINEAR, kF32);
  test.desc.u.linear = {2, {1, 2}, 2, UNETD_ACT_NONE, 1.0f};
  SetView(test, UNETD_ARG_SRC0, 2, 1, kF32);  // two source segments of one channel
  SetView(test, UNETD_ARG_SRC1, 2, 1, kF32);
  SetView(test, UNETD_ARG_DST, 2, 3, kF32);
  SetWeight(test, 0, {1, 2}, 1);
  SetWeight(test, 1, {2, 2}, 1);
  SetWeight(test, 3, {2}, 1);
  Give(test, UNETD_ARG_SRC0, {1, 3});
  Give(test, UNETD_ARG_SRC1, {2, 4});
  const auto a = Weights(test, 0), b = Weights(test, 1), bias = Weights(test, 3);
  const std::vector<float> expected = {
      a[0] + 2 * a[1],     b[0] + 2 * b[1] + bias[0],     b[2] + 2 * b[3] + bias[1],
      3 * a[0] + 4 * a[1], 3 * b[0] + 4 * b[1] + bias[0], 3 * b[2] + 4 * b[3] + bias[1]};
  EXPECT_THAT(Compute(test), Pointwise(FloatNear(2e-6f), expected));
}

TEST(Reference, GegluGatesTheFirstHalfByTheSecond) {
  OperatorCase test = NewCase("geglu", UNETD_OP_LINEAR, kF32);
  test.desc.u.linear = {1, {4}, 1, UNETD_ACT_GEGLU, 1.0f};
  SetView(test, UNETD_ARG_SRC0, 1, 1, kF32);
  SetView(test, UNETD_ARG_DST, 1, 2, kF32);
  SetWeight(test, 0, {4, 1}, 1);
  SetWeight(test, 1, {4}, 1);
  Give(test, UNETD_ARG_SRC0, {1.5f});
  const auto w = Weights(test, 0), bias = Weights(test, 1);
  auto column = [&](int i) { return 1.5 * w[i] + bias[i]; };
  // gelu(x) = x times the normal distribution's share below x.
  auto gelu = [](double x) { return x * 0.5 * std::erfc(-x * M_SQRT1_2); };
  const std::vector<float> got = Compute(test);
  EXPECT_NEAR(got[0], column(0) * gelu(column(2)), 1e-6);
  EXPECT_NEAR(got[1], column(1) * gelu(column(3)), 1e-6);
}

TEST(Reference, ActivationsAtKnownPoints) {
  const std::pair<uint32_t, std::vector<float>> kAll[] = {
      {UNETD_ACT_SILU, {-0.26894143f, 0, 0.73105858f, 1.76159416f}},
      {UNETD_ACT_GELU, {-0.15865526f, 0, 0.84134475f, 1.95449974f}},
      {UNETD_ACT_MISH, {-0.30340147f, 0, 0.86509839f, 1.94395896f}},
      {UNETD_ACT_RELU, {0, 0, 1, 2}},
      {UNETD_ACT_NONE, {-1, 0, 1, 2}},
  };
  for (const auto& [activation, expected] : kAll) {
    OperatorCase test = NewCase("act", UNETD_OP_ELEMENTWISE, kF32);
    test.desc.u.elementwise = {activation, 1, 0};
    SetView(test, UNETD_ARG_SRC0, 4, 1, kF32);
    SetView(test, UNETD_ARG_DST, 4, 1, kF32);
    Give(test, UNETD_ARG_SRC0, {-1, 0, 1, 2});
    EXPECT_THAT(Compute(test), Pointwise(FloatNear(1e-7f), expected)) << activation;
  }
}

TEST(Reference, GroupNormByHand) {
  // Two groups of one channel, two tokens: each becomes -1 and 1 (eps 0), then times gamma plus
  // beta.
  OperatorCase test = NewCase("norm", UNETD_OP_GROUP_NORM, kF32);
  test.desc.u.group_norm = {2, 1, UNETD_ACT_NONE, 0.0f};
  SetView(test, UNETD_ARG_SRC0, 2, 2, kF32);
  SetView(test, UNETD_ARG_DST, 2, 2, kF32);
  SetWeight(test, 0, {2}, 0, 3);
  SetWeight(test, 1, {2}, 0, 10);
  Give(test, UNETD_ARG_SRC0, {1, 100, 5, 140});
  EXPECT_THAT(Compute(test), ElementsAre(7, 7, 13, 13));
  // y * (1 + row_scale) + row_shift.
  SetView(test, UNETD_ARG_ROW_SCALE, 1, 2, kF32);
  SetView(test, UNETD_ARG_ROW_SHIFT, 1, 2, kF32);
  Give(test, UNETD_ARG_ROW_SCALE, {1, -1});
  Give(test, UNETD_ARG_ROW_SHIFT, {0.5f, 4});
  EXPECT_THAT(Compute(test), ElementsAre(14.5f, 4, 26.5f, 4));
  // Statistics that are given are used: mean 1, 1 / deviation 2.
  SetView(test, UNETD_ARG_STATS_IN, 2, 2, kF32);
  Give(test, UNETD_ARG_STATS_IN, {1, 2, 100, 0});
  EXPECT_THAT(Compute(test), ElementsAre(20.5f, 4, 68.5f, 4));
}

TEST(Reference, NormsAddEpsToTheVariance) {
  OperatorCase test = NewCase("eps", UNETD_OP_LAYER_NORM, kF32);
  test.desc.u.layer_norm = {0, 3.0f};
  SetView(test, UNETD_ARG_SRC0, 1, 2, kF32);
  SetView(test, UNETD_ARG_DST, 1, 2, kF32);
  Give(test, UNETD_ARG_SRC0, {4, 6});
  EXPECT_THAT(Compute(test), ElementsAre(-0.5f, 0.5f));  // 1 / sqrt(1 + 3)
}

TEST(Reference, AttentionByHand) {
  // Two heads of one channel, two keys. Head 0 scores ln 3 and 0: weights 3/4 and 1/4. Head 1 is
  // masked to key 1.
  OperatorCase test = NewCase("attention", UNETD_OP_ATTENTION, kF32);
  test.desc.u.attention = {UNETD_ATTENTION_MATH, 2, 1, 0, 0, 0, 0.5f, {}};
  SetView(test, UNETD_ARG_SRC0, 1, 2, kF32);
  SetView(test, UNETD_ARG_KEY, 2, 2, kF32);
  SetView(test, UNETD_ARG_VALUE, 2, 2, kF32);
  SetView(test, UNETD_ARG_DST, 1, 2, kF32);
  Give(test, UNETD_ARG_SRC0, {2, 2});
  Give(test, UNETD_ARG_KEY, {std::log(3.0f), 0, 0, std::log(4.0f)});
  Give(test, UNETD_ARG_VALUE, {8, 10, 16, 20});
  EXPECT_THAT(Compute(test), Pointwise(FloatNear(1e-5f), {10.0f, 18.0f}));
  SetView(test, UNETD_ARG_MASK, 1, 2, kF32);
  Give(test, UNETD_ARG_MASK, {-10000, 0});
  EXPECT_THAT(Compute(test), ElementsAre(16, 20));
}

TEST(Reference, AMaskMayDifferByQuery) {
  OperatorCase test = NewCase("mask", UNETD_OP_ATTENTION, kF32);
  test.desc.u.attention = {UNETD_ATTENTION_SDPA, 1, 1, 0, 0, 0, 1.0f, {}};
  SetView(test, UNETD_ARG_SRC0, 2, 1, kF32);
  SetView(test, UNETD_ARG_KEY, 2, 1, kF32);
  SetView(test, UNETD_ARG_VALUE, 2, 1, kF32);
  SetView(test, UNETD_ARG_MASK, 2, 2, kF32);
  SetView(test, UNETD_ARG_DST, 2, 1, kF32);
  Give(test, UNETD_ARG_KEY, {0, 0});
  Give(test, UNETD_ARG_VALUE, {1, 2});
  Give(test, UNETD_ARG_MASK, {0, -10000, -10000, 0});
  EXPECT_THAT(Compute(test), ElementsAre(1, 2));
}

}  // namespace
}  // namespace unetd::test
