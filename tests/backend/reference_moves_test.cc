// The oracle's operators that move values, what it refuses, and its manners.
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

TEST(Reference, ResizePicksAndAverages) {
  OperatorCase test = NewCase("resize", UNETD_OP_RESIZE, kF32);
  test.desc.u.resize = {UNETD_RESIZE_NEAREST, 1, 3, 2, 5};
  SetView(test, UNETD_ARG_SRC0, 3, 1, kF32);
  SetView(test, UNETD_ARG_DST, 10, 1, kF32);
  Give(test, UNETD_ARG_SRC0, {1, 2, 3});
  EXPECT_THAT(Compute(test), ElementsAre(1, 1, 2, 2, 3, 1, 1, 2, 2, 3));
  test.desc.u.resize = {UNETD_RESIZE_AVERAGE_2X2, 3, 3, 1,
                        1};  // an odd side's last pixels are dropped
  SetView(test, UNETD_ARG_SRC0, 9, 1, kF32);
  SetView(test, UNETD_ARG_DST, 1, 1, kF32);
  Give(test, UNETD_ARG_SRC0, {1, 2, 9, 3, 6, 9, 9, 9, 9});
  EXPECT_THAT(Compute(test), ElementsAre(3));
}

TEST(Reference, GatherTakesTheFirstRowOfEachPart) {
  OperatorCase test = NewCase("gather", UNETD_OP_GATHER_ROWS, kF32);
  test.rows = 8;
  test.group = 4;
  SetView(test, UNETD_ARG_SRC0, 1, 1, kF32);
  SetView(test, UNETD_ARG_DST, 1, 1, kF32);
  test.fill[UNETD_ARG_SRC0] = [](uint32_t row) {
    return std::vector<float>{static_cast<float>(row)};
  };
  const auto backend = OpenReference();
  const std::pair<uint32_t, std::vector<float>> kAll[] = {
      {1, {0, 0, 0, 0, 4, 4, 4, 4}}, {2, {0, 0, 2, 2, 4, 4, 6, 6}}, {3, {0, 1, 2, 3, 4, 5, 6, 7}}};
  for (const auto& [batch_size, expected] : kAll) {
    test.desc.u.gather_rows.batch_size = batch_size;
    auto runner = OperatorRunner::Create(backend, backend, test);
    ASSERT_TRUE(runner.ok());
    const auto run = runner->Run({.threads = 2});
    ASSERT_TRUE(run.ok());
    for (int row = 0; row < 8; ++row)
      EXPECT_EQ(run->values[row][0], expected[row]) << batch_size << " " << row;
  }
}

TEST(Reference, LayoutTurnsPlanesIntoPixels) {
  OperatorCase test = NewCase("layout", UNETD_OP_LAYOUT, kF32);
  test.desc.u.layout = {UNETD_LAYOUT_TO_CHANNELS_LAST, 2, 1};
  test.desc.args[UNETD_ARG_SRC0] = {3, 0, 2, kF32};
  test.desc.args[UNETD_ARG_DST] = {3, 2, 2, kF32};
  // The runner takes values by token; in memory they are planes: 1 2 3, then 4 5 6.
  Give(test, UNETD_ARG_SRC0, {1, 4, 2, 5, 3, 6});
  EXPECT_THAT(Compute(test), ElementsAre(3, 9, 5, 11, 7, 13));
}

TEST(Reference, SinusoidAsDiffusersComputesIt) {
  OperatorCase test = NewCase("sinusoid", UNETD_OP_SINUSOID, kF32);
  test.desc.u.sinusoid = {5, 1, 0, 0};
  SetView(test, UNETD_ARG_SRC0, 1, 1, kF32);
  SetView(test, UNETD_ARG_DST, 1, 5, kF32);
  Give(test, UNETD_ARG_SRC0, {2});
  // Frequencies 1 and 10000^(-1/2) = 0.01; cosines first; an odd size ends with 0.
  const float c0 = std::cos(2.0f), c1 = std::cos(0.02f), s0 = std::sin(2.0f), s1 = std::sin(0.02f);
  EXPECT_THAT(Compute(test), Pointwise(FloatNear(1e-6f), {c0, c1, s0, s1, 0.0f}));
  test.desc.u.sinusoid = {4, 0, 1, 0};
  SetView(test, UNETD_ARG_DST, 1, 4, kF32);
  // freq_shift 1: frequencies 1 and 10000^(-1/1); sines first.
  EXPECT_THAT(Compute(test),
              Pointwise(FloatNear(1e-6f), {s0, std::sin(0.0002f), c0, std::cos(0.0002f)}));
  test.desc.u.sinusoid = {2, 0, 0, 1};
  SetView(test, UNETD_ARG_DST, 1, 2, kF32);
  SetWeight(test, 0, {1}, 0, 0.125);  // angle 2 pi / 8 * 2
  EXPECT_THAT(Compute(test), Pointwise(FloatNear(1e-6f), {1.0f, 0.0f}));
}

TEST(Reference, LookupReadsARow) {
  OperatorCase test = NewCase("lookup", UNETD_OP_LOOKUP, kF32);
  test.desc.u.lookup.entries = 3;
  SetView(test, UNETD_ARG_SRC0, 1, 1, UNETD_DTYPE_I32);
  SetView(test, UNETD_ARG_DST, 1, 2, kF32);
  SetWeight(test, 0, {3, 2}, 1);
  Give(test, UNETD_ARG_SRC0, {2});
  const auto table = Weights(test, 0);
  EXPECT_THAT(Compute(test), ElementsAre(table[4], table[5]));
}

TEST(Reference, StoresInTheDtypeOfEachView) {
  OperatorCase test = NewCase("cast", UNETD_OP_ELEMENTWISE, kF32);
  test.desc.u.elementwise = {UNETD_ACT_NONE, 1, 0};
  SetView(test, UNETD_ARG_SRC0, 1, 2, kF32);
  SetView(test, UNETD_ARG_DST, 1, 2, UNETD_DTYPE_BF16);
  Give(test, UNETD_ARG_SRC0,
       {1.00390625f, 1.01171875f});  // 1 + 2^-8 and 1 + 3 * 2^-8: ties, to even
  EXPECT_THAT(Compute(test), ElementsAre(1.0f, 1.015625f));
  SetView(test, UNETD_ARG_DST, 1, 2, UNETD_DTYPE_F16);
  Give(test, UNETD_ARG_SRC0, {1.0f + 0x1p-11f, 65520.0f});
  EXPECT_THAT(Compute(test), ElementsAre(1.0f, INFINITY));
}

TEST(Reference, StopsWhenCancelled) {
  const auto backend = OpenReference();
  OperatorCase test = NewCase("cancel", UNETD_OP_ELEMENTWISE, kF32);
  test.desc.u.elementwise = {UNETD_ACT_NONE, 1, 0};
  SetView(test, UNETD_ARG_SRC0, 1, 2, kF32);
  SetView(test, UNETD_ARG_DST, 1, 2, kF32);
  auto runner = OperatorRunner::Create(backend, backend, test);
  ASSERT_TRUE(runner.ok());
  EXPECT_EQ(runner->Run({.cancelled = true}).status().code(), Code::kCancelled);
}

TEST(Reference, RefusesWithReasons) {
  const auto backend = OpenReference();
  auto why = [&](const OperatorCase& test) {
    const Status status = backend->Supports(test.desc);
    EXPECT_EQ(status.code(), Code::kUnimplemented);
    return status.message();
  };
  OperatorCase test = NewCase("refused", UNETD_OP_LINEAR, kF32);
  EXPECT_THAT(why(test), HasSubstr("src0 is missing"));
  SetView(test, UNETD_ARG_SRC0, 2, 3, kF32);
  SetView(test, UNETD_ARG_DST, 2, 4, kF32);
  EXPECT_THAT(why(test), HasSubstr("0 weight segments"));
  test.desc.u.linear = {1, {5}, 0, UNETD_ACT_NONE, 1.0f};
  EXPECT_THAT(why(test), HasSubstr("dst: expected [2, 5], got [2, 4]"));
  test.desc.u.linear.segment_rows[0] = 4;
  EXPECT_TRUE(backend->Supports(test.desc).ok());
  test.desc.args[UNETD_ARG_DST].stride = 3;
  EXPECT_THAT(why(test), HasSubstr("dst: stride 3 is less than its 4 channels"));
  test.desc.args[UNETD_ARG_DST].stride = 4;
  test.desc.args[UNETD_ARG_DST].dtype = UNETD_DTYPE_I8;
  EXPECT_THAT(why(test), HasSubstr("dst: dtype int8 is not served"));
  test.desc.args[UNETD_ARG_DST].dtype = kF32;
  SetView(test, UNETD_ARG_MASK, 2, 4, kF32);
  EXPECT_THAT(why(test), HasSubstr("linear does not take the argument mask"));
  test.desc.args[UNETD_ARG_MASK] = {};
  test.desc.kind = 99;
  EXPECT_THAT(why(test), HasSubstr("operator kind 99 is unknown"));
  test.desc.struct_size = 8;
  EXPECT_THAT(why(test), HasSubstr("a descriptor of 8 bytes"));
  OperatorCase npu = NewCase("npu", UNETD_OP_ATTENTION, kF32);
  npu.desc.u.attention.algorithm = UNETD_ATTENTION_NPU;
  SetView(npu, UNETD_ARG_SRC0, 2, 3, kF32);
  SetView(npu, UNETD_ARG_DST, 2, 3, kF32);
  EXPECT_THAT(why(npu), HasSubstr("served by npu backends only"));
}

TEST(Reference, PackChecksTheCheckpointsTensor) {
  const auto backend = OpenReference();
  OperatorCase test = NewCase("pack", UNETD_OP_LINEAR, kF32);
  SetView(test, UNETD_ARG_SRC0, 2, 3, kF32);
  SetView(test, UNETD_ARG_DST, 2, 4, kF32);
  test.desc.u.linear = {1, {4}, 0, UNETD_ACT_NONE, 1.0f};
  SetWeight(test, 0, {3, 4}, 1);
  EXPECT_THAT(OperatorRunner::Create(backend, backend, test).status().message(),
              HasSubstr("weight 0 of linear: expected rank 2, 4 x 3 x 1 x 1"));
  EXPECT_THAT(backend->PackRecipe(test.desc, 1).status().message(),
              HasSubstr("linear has no weight 1 here"));
}

}  // namespace
}  // namespace unetd::test
