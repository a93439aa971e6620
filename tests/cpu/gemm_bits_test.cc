// The promise that a row's bits do not depend on rows, slots, threads, or on how weights are fused,
// for the cpu backend's convolution and linear.
#include <gtest/gtest.h>

#include <functional>

#include "tests/cpu/gemm_cases.h"

namespace unetd::test {
namespace {

constexpr int32_t kF16 = UNETD_DTYPE_F16, kBF16 = UNETD_DTYPE_BF16;

class GemmBitsTest : public testing::TestWithParam<std::string> {
 protected:
  GemmBitsTest() : backend_(GetParam()) {}
  void SetUp() override { ASSERT_TRUE(backend_.ok()) << backend_.error(); }
  CpuBackend backend_;
};
INSTANTIATE_TEST_SUITE_P(Isa, GemmBitsTest, testing::ValuesIn(MatrixIsas()),
                         [](const auto& info) { return info.param; });

// A row's bits are the same alone and in a batch, in any slot, with any threads.
void ExpectSameBits(const CpuBackend& backend, const std::function<Call(uint32_t)>& make) {
  const Outcome all = RunOp(backend, make(8));
  ASSERT_EQ(all.code, UNETD_OK) << all.why;
  for (uint32_t rows = 1; rows <= 8; ++rows) {
    for (const uint32_t threads : {1u, 2u, 5u}) {
      Call call = make(rows);
      call.threads = threads;
      call.reverse_slots = rows % 2 == 0;
      const Outcome some = RunOp(backend, call);
      ASSERT_EQ(some.code, UNETD_OK) << some.why;
      for (uint32_t row = 0; row < rows; ++row) {
        ASSERT_EQ(some.raw[row], all.raw[row])
            << "row " << row << " of " << rows << ", " << threads << " threads";
      }
    }
  }
}

TEST_P(GemmBitsTest, BitsDoNotDependOnTheBatch) {
  ExpectSameBits(backend_, [](uint32_t rows) {
    return MakeConv({.in_h = 9,
                     .in_w = 11,
                     .channels = {70, 31},
                     .out = 75,
                     .row_bias = true,
                     .residual = true,
                     .activation = UNETD_ACT_SILU},
                    rows);
  });
  ExpectSameBits(backend_, [](uint32_t rows) {
    return MakeConv({.in_h = 8,
                     .in_w = 8,
                     .channels = {9},
                     .out = 4,
                     .stride = 2,
                     .dtype = kF16,
                     .weight_dtype = kF16},
                    rows);
  });
  ExpectSameBits(backend_, [](uint32_t rows) {
    return MakeLinear(
        {.tokens = 1, .channels = {700}, .segments = {500}, .activation = UNETD_ACT_MISH}, rows);
  });
  ExpectSameBits(backend_, [](uint32_t rows) {
    return MakeLinear({.tokens = 43,
                       .channels = {600},
                       .segments = {200},
                       .activation = UNETD_ACT_GEGLU,
                       .dtype = kBF16,
                       .weight_dtype = kBF16},
                      rows);
  });
  ExpectSameBits(backend_, [](uint32_t rows) {
    return MakeConv({.in_h = 9,
                     .in_w = 11,
                     .channels = {133, 40},
                     .out = 75,
                     .row_bias = true,
                     .residual = true,
                     .dtype = kBF16,
                     .weight_dtype = kBF16},
                    rows);
  });
}

TEST_P(GemmBitsTest, SegmentsFusedOrApartGiveEqualBits) {
  const LinearCase fused = {
      .tokens = 50, .channels = {90}, .segments = {70, 33, 70}, .bias_mask = 0b101};
  const Call together = MakeLinear(fused);
  const Outcome all = RunOp(backend_, together);
  uint32_t first = 0;
  for (uint32_t s = 0; s < 3; ++s) {
    const uint32_t rows = fused.segments[s];
    Call apart = MakeLinear({.tokens = 50,
                             .channels = {90},
                             .segments = {rows},
                             .bias_mask = fused.bias_mask >> s & 1});
    apart.weights[0] = together.weights.at(s);
    if (fused.bias_mask >> s & 1) apart.weights[1] = together.weights.at(3 + s);
    const Outcome one = RunOp(backend_, apart);
    for (uint64_t t = 0; t < 50; ++t) {
      for (uint32_t n = 0; n < rows; ++n) {
        ASSERT_EQ(one.values[0][t * rows + n], all.values[0][t * 173 + first + n]);
      }
    }
    first += rows;
  }
}

}  // namespace
}  // namespace unetd::test
