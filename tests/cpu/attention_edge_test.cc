// The cpu backend's attention where softmax is delicate: masks that leave no key, -10000,
// infinities and NaN; and what it refuses.
#include "tests/cpu/attention_cases.h"

namespace unetd::test {
namespace {

using AttentionEdgeTest = CpuTest;

// A query whose keys are all -inf: torch's softmax gives NaN, its sdpa 0. Others are untouched.
TEST_P(AttentionEdgeTest, QueriesWithoutAnyKey) {
  for (const uint32_t algorithm : {UNETD_ATTENTION_SDPA, UNETD_ATTENTION_MATH}) {
    const AttentionCase c{1, 8, 40, 200, Mask::kFull};
    Call call = MakeCall(c, algorithm);
    std::vector<double>& mask = call.args[UNETD_ARG_MASK].values[0];
    for (uint64_t j = 0; j < c.keys; ++j) mask[3 * c.keys + j] = -kInf;
    const Outcome got = RunOp(backend_, call);
    ASSERT_EQ(got.code, UNETD_OK) << got.why;
    const AttentionExpected want = Oracle(c, call, 0);
    for (uint64_t i = 0; i < want.values.size(); ++i) {
      if (i / 8 != 3) {
        ASSERT_NEAR(got.values[0][i], want.values[i], Tolerance(c, want.sizes[i])) << i;
      } else if (algorithm == UNETD_ATTENTION_SDPA) {
        EXPECT_EQ(got.values[0][i], 0) << i;
      } else {
        EXPECT_TRUE(std::isnan(got.values[0][i])) << i;
      }
    }
  }
}

// Keys of the first blocks masked away by -inf: nothing has been summed when the first real key
// comes.
TEST_P(AttentionEdgeTest, LateFirstKey) {
  for (const uint32_t algorithm : {UNETD_ATTENTION_SDPA, UNETD_ATTENTION_MATH}) {
    const AttentionCase c{2, 40, 35, 300, Mask::kRow};
    Call call = MakeCall(c, algorithm);
    for (uint64_t j = 0; j < c.keys; ++j) {
      call.args[UNETD_ARG_MASK].values[0][j] = j < 290 ? -kInf : 0;
    }
    ExpectClose(c, call, RunOp(backend_, call));
  }
}

// -10000 for every key shifts all scores alike, but rounds them as softmax(score - 10000) in
// float32 does.
TEST_P(AttentionEdgeTest, AllKeysAtMinusTenThousand) {
  for (const uint32_t algorithm : {UNETD_ATTENTION_SDPA, UNETD_ATTENTION_MATH}) {
    const AttentionCase c{1, 16, 20, 130, Mask::kRow};
    Call call = MakeCall(c, algorithm);
    // Multiples of 1/64: the scores are exact, so that both sides round the same numbers.
    for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY}) {
      for (double& x : call.args[arg].values[0]) x = std::nearbyint(x * 64) / 64;
    }
    for (double& m : call.args[UNETD_ARG_MASK].values[0]) m = -10000;
    const Outcome got = RunOp(backend_, call);
    ASSERT_EQ(got.code, UNETD_OK) << got.why;
    const std::vector<double>& q = call.args[UNETD_ARG_SRC0].values[0];
    const std::vector<double>& k = call.args[UNETD_ARG_KEY].values[0];
    const std::vector<double>& v = call.args[UNETD_ARG_VALUE].values[0];
    for (uint64_t i = 0; i < c.queries; ++i) {
      double sum = 0, out = 0;
      for (uint64_t j = 0; j < c.keys; ++j) {
        double s = 0;
        for (uint32_t d = 0; d < 16; ++d) s += q[i * 16 + d] * k[j * 16 + d];
        const float shifted = static_cast<float>(s * 0.25 - 10000);  // to the nearest 2^-10
        const double p = std::exp(static_cast<double>(shifted) + 10000);
        sum += p;
        out += p * v[j * 16];
      }
      EXPECT_NEAR(got.values[0][i * 16], out / sum, 3e-6);
    }
  }
}

TEST_P(AttentionEdgeTest, NanSpoilsItsOwnQueriesOnly) {
  for (const uint32_t algorithm : {UNETD_ATTENTION_SDPA, UNETD_ATTENTION_MATH}) {
    const AttentionCase c{2, 40, 50, 150};
    for (const double poison : {std::nan(""), kInf}) {
      Call call = MakeCall(c, algorithm);
      call.args[UNETD_ARG_SRC0].values[0][7 * 80 + 3] = poison;  // query 7, head 0
      const Outcome got = RunOp(backend_, call);
      ASSERT_EQ(got.code, UNETD_OK) << got.why;
      for (uint64_t i = 0; i < got.values[0].size(); ++i) {
        const bool hit = i / 80 == 7 && i % 80 < 40;
        ASSERT_EQ(std::isnan(got.values[0][i]), hit) << i;
      }
    }
    Call call = MakeCall(c, algorithm);
    call.args[UNETD_ARG_KEY].values[0][70 * 80 + 45] = std::nan("");  // key 70, head 1
    const Outcome got = RunOp(backend_, call);
    ASSERT_EQ(got.code, UNETD_OK) << got.why;
    for (uint64_t i = 0; i < got.values[0].size(); ++i) {
      ASSERT_EQ(std::isnan(got.values[0][i]), i % 80 >= 40) << i;
    }
  }
}

TEST_P(AttentionEdgeTest, RefusesNamingTheReason) {
  const AttentionCase c{4, 8, 10, 12, Mask::kRow};
  const auto refused = [&](const char* words, const auto& change) {
    Call call = MakeCall(c, UNETD_ATTENTION_SLICED);
    change(call);
    const Outcome got = Ask(backend_, call);
    EXPECT_EQ(got.code, UNETD_UNSUPPORTED) << words;
    EXPECT_NE(got.why.find(words), std::string::npos) << got.why;
  };
  EXPECT_EQ(Ask(backend_, MakeCall(c, UNETD_ATTENTION_SLICED)).code, UNETD_OK);
  using U = unetd_attention;
  const auto field = [](auto member, auto value) {
    return [=](Call& call) { call.desc.u.attention.*member = value; };
  };
  refused("no memory_efficient", field(&U::algorithm, UNETD_ATTENTION_MEMORY_EFFICIENT));
  refused("no npu", field(&U::algorithm, UNETD_ATTENTION_NPU));
  refused("algorithm", field(&U::algorithm, 77));
  refused("slice_size must be at least 1", field(&U::slice_size, 0));
  refused("slice_size must be at most the 4 heads", field(&U::slice_size, 5));
  refused("heads", field(&U::heads, 0));
  refused("head_dim", field(&U::head_dim, 0));
  refused("channels", field(&U::head_dim, 9));
  refused("scale", field(&U::scale, NAN));
  refused("upcast_scores", field(&U::upcast_scores, 2));
  refused("bool_mask", field(&U::bool_mask, 2));
  refused("key", [](Call& call) { call.args[UNETD_ARG_KEY].view.tokens = 0; });
  refused("value", [](Call& call) { call.args[UNETD_ARG_VALUE].view.tokens = 11; });
  refused("dst", [](Call& call) { call.args[UNETD_ARG_DST].view.tokens = 11; });
  refused("dst", [](Call& call) { call.args[UNETD_ARG_DST].view.channels = 31; });
  refused("mask", [](Call& call) { call.args[UNETD_ARG_MASK].view.channels = 11; });
  refused("mask", [](Call& call) { call.args[UNETD_ARG_MASK].view.tokens = 2; });
  refused("mask", [](Call& call) { call.args[UNETD_ARG_MASK].view.dtype = UNETD_DTYPE_F16; });
  refused("src0", [](Call& call) { call.args[UNETD_ARG_SRC0].view.dtype = UNETD_DTYPE_F64; });
  refused("src0", [](Call& call) { call.args[UNETD_ARG_SRC0].view.stride = 31; });
  refused("residual", [](Call& call) { call.args[UNETD_ARG_RESIDUAL].view = View(10, 32); });
  refused("compute_dtype", [](Call& call) { call.desc.compute_dtype = UNETD_DTYPE_F16; });
  refused("score matrix", [](Call& call) {
    for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_DST}) {
      call.args[arg].view.tokens = uint64_t{1} << 30;
    }
    for (const uint32_t arg : {UNETD_ARG_KEY, UNETD_ARG_VALUE}) {
      call.args[arg].view.tokens = uint64_t{1} << 31;
    }
    call.args[UNETD_ARG_MASK].view = View(1, 1u << 31);
  });
}

INSTANTIATE_TEST_SUITE_P(Isa, AttentionEdgeTest, testing::ValuesIn(MatrixIsas()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace unetd::test
