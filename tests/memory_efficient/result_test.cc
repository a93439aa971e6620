// Results against the reference provider: ragged edges, head sizes, dtypes, masks, strides, both
// kernels.
#include <cmath>
#include <limits>

#include "tests/memory_efficient/efficient_case.h"

namespace unetd::test {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

using Results = MemoryEfficient;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST_P(Results, RaggedEdges) {
  for (const auto& [queries, keys] : std::vector<std::pair<uint64_t, uint64_t>>{
           {1, 1},   {1, 2},   {7, 9},    {8, 8},    {9, 7},    {15, 31},   {16, 16},
           {17, 63}, {31, 64}, {33, 65},  {47, 77},  {48, 95},  {49, 96},   {63, 97},
           {64, 12}, {65, 13}, {127, 40}, {129, 90}, {257, 70}, {300, 130}, {40, 300}}) {
    for (const MaskKind mask : {MaskKind::kNone, MaskKind::kShared, MaskKind::kEach}) {
      const Efficient e = {2, 24, queries, keys, "cutlass", mask};
      SCOPED_TRACE(Describe(e));
      ExpectClose(MakeCase(e));
    }
  }
}

TEST_P(Results, HeadSizes) {
  for (const uint32_t head_dim :
       {1u, 3u, 5u, 16u, 32u, 40u, 64u, 65u, 80u, 160u, 256u, 257u, 512u, 1000u, 1500u, 5000u}) {
    const uint64_t queries = head_dim > 1000 ? 35 : 70, keys = 90;
    for (const int32_t dtype : {UNETD_DTYPE_F32, UNETD_DTYPE_F16, UNETD_DTYPE_BF16}) {
      const Efficient e = {2,       head_dim,
                           queries, keys,
                           "",      head_dim % 2 == 0 ? MaskKind::kNone : MaskKind::kEach,
                           dtype,   head_dim == 40 ? 80u : 3u};
      SCOPED_TRACE(Describe(e));
      ExpectClose(MakeCase(e));
    }
  }
}

// The largest head that cutlass takes; nothing of its size may lie on the stack.
TEST_P(Results, TheLargestHead) {
  const Efficient e = {1, 65536, 3, 5};
  ExpectClose(MakeCase(e));
  Efficient beyond = e;
  beyond.head_dim = 65537;
  EXPECT_THAT(Refusal(MakeCase(beyond)), HasSubstr("head_dim must be at most 65536, got 65537"));
}

TEST_P(Results, StridedViewsAtOddAddresses) {
  for (const char* op : {"cutlass", "splitk"}) {
    for (const int32_t dtype : {UNETD_DTYPE_F32, UNETD_DTYPE_F16, UNETD_DTYPE_BF16}) {
      for (const uint32_t head_dim : {5u, 40u, 72u}) {
        Efficient e = {3, head_dim, 21, 500, op, MaskKind::kEach, dtype, 7, 1};
        SCOPED_TRACE(Describe(e));
        ExpectClose(MakeCase(e));
      }
    }
  }
}

// Split and unsplit differ by rounding alone; both match the reference.
TEST_P(Results, SplitsAreAsGoodAsTheWhole) {
  for (const auto& [queries, keys] : std::vector<std::pair<uint64_t, uint64_t>>{
           {1, 256}, {1, 4096}, {8, 1000}, {17, 2049}, {32, 700}, {33, 777}, {100, 900}}) {
    for (const MaskKind mask : {MaskKind::kNone, MaskKind::kShared, MaskKind::kEach}) {
      Efficient e = {3, 40, queries, keys, "splitk", mask};
      SCOPED_TRACE(Describe(e));
      const OperatorCase split = MakeCase(e);
      ASSERT_THAT(Description(split), HasSubstr(" parts, "));
      ExpectClose(split);
      e.op = "cutlass";
      const OperatorCase whole = MakeCase(e);
      const RunResult a = Run(split), b = Run(whole);
      EXPECT_NE(a.bytes, b.bytes) << "the keys were not split at all";
      for (size_t i = 0; i < a.values[0].size(); ++i) {
        ASSERT_NEAR(a.values[0][i], b.values[0][i], 2 * split.absolute) << i;
      }
    }
  }
}

// Maxima that rise from tile to tile, and scores beyond 10^4: what was summed is scaled down.
TEST_P(Results, SteepAndRisingScores) {
  for (const char* op : {"cutlass", "splitk"}) {
    Efficient e = {2, 24, 30, 600, op};
    e.spread = 6;
    OperatorCase test = MakeCase(e);
    test.fill[UNETD_ARG_KEY] = [](uint32_t row) {
      Random random(3 + row);
      std::vector<float> values(600 * 48);
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = random.Normal() * static_cast<float>(i) / 4000;
      }
      return values;
    };
    ExpectClose(test);
  }
}

TEST_P(Results, HugeScoresStayFinite) {
  for (const char* op : {"cutlass", "splitk"}) {
    OperatorCase test = MakeCase({1, 4, 2, 600, op});
    test.desc.u.attention.scale = 1;
    // Scores of +-10^30 * j: the largest key takes all.
    std::vector<float> queries(8), keys(600 * 4), values(600 * 4);
    for (uint32_t d = 0; d < 4; ++d) queries[d] = 1e15f, queries[4 + d] = -1e15f;
    for (uint32_t i = 0; i < keys.size(); ++i) keys[i] = 1e15f * static_cast<float>(i / 4);
    for (uint32_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i / 4);
    SetValues(test, UNETD_ARG_SRC0, queries);
    SetValues(test, UNETD_ARG_KEY, keys);
    SetValues(test, UNETD_ARG_VALUE, values);
    EXPECT_THAT(Run(test).values[0], ::testing::ElementsAre(599, 599, 599, 599, 0, 0, 0, 0)) << op;
  }
}

// A weight of exp(-10000) is 0: dropped keys do not leak, whatever their values.
TEST_P(Results, DroppedKeysWeighNothing) {
  for (const char* op : {"cutlass", "splitk"}) {
    for (const float drop : {-10000.0f, -std::numeric_limits<float>::max(), -kInfinity}) {
      OperatorCase test = MakeCase({2, 8, 20, 700, op, MaskKind::kShared});
      std::vector<float> mask(700), values(700 * 16);
      for (uint32_t j = 0; j < 700; ++j) {
        const bool kept = j % 300 == 299;
        mask[j] = kept ? 0.0f : drop;
        for (uint32_t c = 0; c < 16; ++c) values[j * 16 + c] = kept ? 2.0f : 1e30f;
      }
      SetValues(test, UNETD_ARG_MASK, mask);
      SetValues(test, UNETD_ARG_VALUE, values);
      EXPECT_THAT(Run(test).values[0], Each(::testing::FloatEq(2.0f))) << op << " " << drop;
    }
  }
}

// As torch's scaled_dot_product_attention and xFormers: a query whose keys are all at -infinity
// gives 0. Its neighbours in the panel are untouched.
TEST_P(Results, QueriesWithoutAnyKeyGiveZero) {
  for (const char* op : {"cutlass", "splitk"}) {
    OperatorCase test = MakeCase({2, 8, 25, 600, op, MaskKind::kEach});
    const auto fill = test.fill[UNETD_ARG_MASK];
    OperatorCase lost = test;
    lost.fill[UNETD_ARG_MASK] = [fill](uint32_t row) {
      std::vector<float> mask = fill(row);
      std::fill_n(mask.begin() + 3 * 600, 600, -kInfinity);
      return mask;
    };
    const RunResult got = Run(lost), whole = Run(test);
    for (size_t i = 0; i < got.values[0].size(); ++i) {
      ASSERT_EQ(got.values[0][i], i / 16 == 3 ? 0.0f : whole.values[0][i]) << op << " " << i;
    }
  }
}

// Every key at -10000 shifts all scores alike: equal scores give the mean of the values, as
// softmax(score - 10000) does.
TEST_P(Results, EveryKeyAtMinusTenThousand) {
  for (const char* op : {"cutlass", "splitk"}) {
    OperatorCase test = MakeCase({1, 8, 9, 512, op, MaskKind::kShared});
    std::vector<float> values(512 * 8);
    for (uint32_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i / 8);
    SetValues(test, UNETD_ARG_MASK, std::vector<float>(512, -10000.0f));
    SetValues(test, UNETD_ARG_SRC0, std::vector<float>(9 * 8, 0.0f));
    SetValues(test, UNETD_ARG_VALUE, values);
    EXPECT_THAT(Run(test).values[0], Each(::testing::FloatNear(255.5f, 1e-3f))) << op;
  }
}

TEST_P(Results, NotANumberSpoilsItsOwnQueriesOnly) {
  for (const char* op : {"cutlass", "splitk"}) {
    for (const float poison : {std::nanf(""), kInfinity}) {
      OperatorCase test = MakeCase({2, 8, 20, 600, op});
      std::vector<float> queries = test.Input(UNETD_ARG_SRC0, 0);
      queries[7 * 16 + 3] = poison;  // query 7, head 0
      SetValues(test, UNETD_ARG_SRC0, queries);
      const std::vector<float> got = Run(test).values[0];
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(std::isnan(got[i]), i / 16 == 7 && i % 16 < 8) << op << " " << i;
      }
    }
    OperatorCase test = MakeCase({2, 8, 20, 600, op});
    std::vector<float> keys = test.Input(UNETD_ARG_KEY, 0);
    keys[300 * 16 + 12] = std::nanf("");  // key 300, head 1
    SetValues(test, UNETD_ARG_KEY, keys);
    const std::vector<float> got = Run(test).values[0];
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(std::isnan(got[i]), i % 16 >= 8) << op << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Results, ::testing::ValuesIn(Isas()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace unetd::test
