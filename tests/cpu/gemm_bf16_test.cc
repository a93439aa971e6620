// When products are of pairs of bfloat16: a rule of the descriptor and the CPU's features alone.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/cpu/gemm_cases.h"

namespace unetd::test {
namespace {

constexpr int32_t kF32 = UNETD_DTYPE_F32, kF16 = UNETD_DTYPE_F16, kBF16 = UNETD_DTYPE_BF16;

class GemmBF16Test : public testing::TestWithParam<std::string> {
 protected:
  GemmBF16Test() : backend_(GetParam()) {}
  void SetUp() override { ASSERT_TRUE(backend_.ok()) << backend_.error(); }

  bool native() const { return GetParam() == "avx512_bf16"; }
  bool InPairs(const Call& call) const {
    const Outcome got = RunOp(backend_, call);
    EXPECT_EQ(got.code, UNETD_OK) << got.why;
    return got.description.find("avx512_bf16") != std::string::npos;
  }
  std::string Recipe(const Call& call) const {
    unetd_op_desc desc = call.desc;
    for (const auto& [id, arg] : call.args) desc.args[id] = arg.view;
    unetd_recipe recipe = {};
    unetd_error error = {};
    EXPECT_EQ(backend_.table().pack_recipe(backend_.state(), &desc, 0, &recipe, &error), UNETD_OK);
    return recipe.name;
  }
  CpuBackend backend_;
};
INSTANTIATE_TEST_SUITE_P(Isa, GemmBF16Test, testing::ValuesIn(MatrixIsas()),
                         [](const auto& info) { return info.param; });

LinearCase Stored(int32_t dtype, int32_t weight_dtype) {
  return {.tokens = 20,
          .channels = {65},
          .segments = {40},
          .dtype = dtype,
          .weight_dtype = weight_dtype};
}

TEST_P(GemmBF16Test, PairsNeedBfloat16OnBothSides) {
  for (const int32_t dtype : {kF32, kF16, kBF16}) {
    for (const int32_t weight : {kF32, kF16, kBF16}) {
      const bool both = dtype == kBF16 && weight == kBF16;
      EXPECT_EQ(InPairs(MakeLinear(Stored(dtype, weight))), native() && both) << dtype << weight;
    }
  }
  Call mixed = MakeConv({.channels = {16, 16}, .dtype = kBF16, .weight_dtype = kBF16});
  EXPECT_EQ(InPairs(mixed), native());
  mixed.args[UNETD_ARG_SRC1].view.dtype = kF32;
  EXPECT_FALSE(InPairs(mixed));
}

// A descriptor that asks for float32 gets it, with the bits that a CPU without pairs gives.
TEST_P(GemmBF16Test, Float32IsObeyed) {
  Call call = MakeLinear(Stored(kBF16, kBF16));
  const std::string in_bf16 = Recipe(call);
  call.desc.compute_dtype = kF32;
  EXPECT_FALSE(InPairs(call));
  EXPECT_EQ(Recipe(call) != in_bf16, native()) << in_bf16;
  if (native()) {
    EXPECT_EQ(RunOp(backend_, call).raw, RunOp(CpuBackend("avx512"), call).raw);
  }
}

// An odd last value is multiplied with nothing: neither what lies behind the token nor padding of
// the panel adds to it.
TEST_P(GemmBF16Test, NonFiniteNeighboursAddNothing) {
  Call call = MakeLinear(
      {.tokens = 20, .channels = {33}, .segments = {37}, .dtype = kBF16, .weight_dtype = kBF16});
  call.args[UNETD_ARG_SRC0].values[0][7 * 33] = std::numeric_limits<double>::infinity();
  call.args[UNETD_ARG_SRC0].values[0][12 * 33 + 32] = std::numeric_limits<double>::quiet_NaN();
  const Outcome outcome = RunOp(backend_, call);
  ASSERT_EQ(outcome.code, UNETD_OK) << outcome.why;
  for (size_t i = 0; i < outcome.values[0].size(); ++i) {
    EXPECT_EQ(std::isfinite(outcome.values[0][i]), i / 37 != 7 && i / 37 != 12) << i;
  }
}

// Two blocks of k of pairs, and the odd end in the second.
TEST_P(GemmBF16Test, LongOddSumsAreRight) {
  for (const uint32_t k : {1023u, 1024u, 1025u, 2051u}) {
    const Call call = MakeLinear(
        {.tokens = 31, .channels = {k}, .segments = {40}, .dtype = kBF16, .weight_dtype = kBF16});
    EXPECT_EQ(Mismatch(call, RunOp(backend_, call)), "") << k;
  }
  // Odd channels: pairs reach across taps, and across tasks of packing.
  const Call call = MakeConv({.in_h = 5,
                              .in_w = 5,
                              .channels = {1201, 66},
                              .out = 33,
                              .dtype = kBF16,
                              .weight_dtype = kBF16});
  EXPECT_EQ(Mismatch(call, RunOp(backend_, call)), "");
}

}  // namespace
}  // namespace unetd::test
