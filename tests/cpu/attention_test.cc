// The cpu backend's attention against plain loops in double, over ragged shapes, masks, dtypes and
// both instruction sets; and the promise of equal bits whatever the rows, slots and threads.
#include "tests/cpu/attention_cases.h"

namespace unetd::test {
namespace {

using AttentionTest = CpuTest;

const std::vector<AttentionCase> kShapes = {
    {1, 1, 1, 1},     {2, 3, 1, 5},     {1, 7, 15, 9},    {3, 8, 16, 16},   {2, 13, 17, 31},
    {1, 16, 31, 33},  {2, 17, 32, 64},  {1, 31, 33, 65},  {2, 32, 63, 77},  {2, 40, 64, 77},
    {1, 40, 100, 95}, {1, 40, 65, 96},  {1, 40, 70, 97},  {1, 64, 48, 129}, {1, 65, 47, 130},
    {2, 80, 40, 77},  {1, 128, 24, 66}, {1, 160, 33, 70}, {1, 255, 9, 65},  {1, 256, 34, 90},
    {2, 40, 600, 300}};

TEST_P(AttentionTest, MatchesPlainLoops) {
  for (const AttentionCase& shape : kShapes) {
    for (const Mask mask : {Mask::kNone, Mask::kRow, Mask::kFull}) {
      for (const uint32_t algorithm : {UNETD_ATTENTION_SDPA, UNETD_ATTENTION_MATH}) {
        AttentionCase c = shape;
        c.mask = mask;
        if (c.keys < 9 && mask != Mask::kNone) continue;  // every key could be masked away
        SCOPED_TRACE(Name(c));
        Call call = MakeCall(c, algorithm);
        call.threads = 2;
        ExpectClose(c, call, RunOp(backend_, call));
        if (HasFatalFailure()) return;
      }
    }
  }
}

// In pairs of bfloat16 where the CPU has them; odd sizes leave half a pair.
TEST_P(AttentionTest, Bfloat16MatchesPlainLoops) {
  for (const AttentionCase& shape : kShapes) {
    for (const Mask mask : {Mask::kNone, Mask::kRow, Mask::kFull}) {
      AttentionCase c = shape;
      c.mask = mask;
      c.dtype = UNETD_DTYPE_BF16;
      if (c.keys < 9 && mask != Mask::kNone) continue;
      SCOPED_TRACE(Name(c));
      for (const float sign : {1.0f, -1.0f}) {
        Call call = MakeCall(c, UNETD_ATTENTION_SDPA);
        call.desc.u.attention.scale *= sign;
        call.threads = 2;
        ExpectClose(c, call, RunOp(backend_, call));
        if (HasFatalFailure()) return;
      }
    }
  }
}

// What lies beside an odd head's last value is another's.
TEST_P(AttentionTest, Bfloat16HeadsKeepApart) {
  const AttentionCase c{2, 5, 9, 7, Mask::kNone, UNETD_DTYPE_BF16};
  Call call = MakeCall(c, UNETD_ATTENTION_SDPA);
  for (const uint32_t arg : {UNETD_ARG_KEY, UNETD_ARG_VALUE}) {
    call.args[arg].values[0][3 * 10 + 5] = NAN;  // the second head's first channel
  }
  const Outcome got = RunOp(backend_, call);
  ASSERT_EQ(got.code, UNETD_OK) << got.why;
  for (uint64_t i = 0; i < got.values[0].size(); ++i) {
    EXPECT_EQ(std::isnan(got.values[0][i]), i % 10 >= 5) << i;
  }
}

TEST_P(AttentionTest, StorageTypesAndFusedBuffers) {
  for (const int32_t dtype : {UNETD_DTYPE_F32, UNETD_DTYPE_F16, UNETD_DTYPE_BF16}) {
    for (const uint32_t head_dim : {5u, 40u, 80u}) {
      for (const uint32_t algorithm : {UNETD_ATTENTION_SDPA, UNETD_ATTENTION_MATH}) {
        AttentionCase c{3, head_dim, 70, 70, Mask::kNone, dtype, true};
        SCOPED_TRACE(Name(c));
        const Call call = MakeCall(c, algorithm);
        ExpectClose(c, call, RunOp(backend_, call));
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Peaked softmaxes: the maximum rises again and again, and what was summed before must be brought
// along.
TEST_P(AttentionTest, RisingMaxima) {
  for (const uint32_t algorithm : {UNETD_ATTENTION_SDPA, UNETD_ATTENTION_MATH}) {
    AttentionCase c{2, 24, 40, 500};
    c.spread = 8;
    Call call = MakeCall(c, algorithm);
    std::vector<double>& k = call.args[UNETD_ARG_KEY].values[0];
    for (uint64_t i = 0; i < k.size(); ++i) {
      k[i] =
          Rounded(k[i] * static_cast<double>(i) / static_cast<double>(k.size()), UNETD_DTYPE_F32);
    }
    ExpectClose(c, call, RunOp(backend_, call));
  }
}

TEST_P(AttentionTest, SlicedEqualsMathBitByBit) {
  for (const Mask mask : {Mask::kNone, Mask::kRow, Mask::kFull}) {
    const AttentionCase c{5, 40, 75, 90, mask};
    const Outcome math = RunOp(backend_, MakeCall(c, UNETD_ATTENTION_MATH));
    ASSERT_EQ(math.code, UNETD_OK) << math.why;
    EXPECT_EQ(math.workspace_bytes, (5 * 75 * 90 * 4 + 63) / 64 * 64);
    for (uint32_t slice = 1; slice <= 5; ++slice) {
      Call call = MakeCall(c, UNETD_ATTENTION_SLICED);
      call.desc.u.attention.slice_size = slice;
      call.threads = 2;
      const Outcome sliced = RunOp(backend_, call);
      ASSERT_EQ(sliced.code, UNETD_OK) << sliced.why;
      EXPECT_EQ(sliced.damage, "");
      EXPECT_EQ(sliced.raw, math.raw) << "slice_size " << slice;
      EXPECT_EQ(sliced.workspace_bytes, (slice * 75 * 90 * 4 + 63) / 64 * 64);
    }
  }
}

TEST_P(AttentionTest, SdpaKeepsNoScoreMatrix) {
  const auto bytes = [&](uint64_t keys) {
    AttentionCase c{8, 40, 512, keys};
    const Outcome got = RunOp(backend_, MakeCall(c, UNETD_ATTENTION_SDPA));
    EXPECT_EQ(got.code, UNETD_OK) << got.why;
    EXPECT_EQ(got.workspace_bytes, 0u);
    return got.thread_workspace_bytes;
  };
  EXPECT_EQ(bytes(128), bytes(1024));
}

TEST_P(AttentionTest, SameBitsWhateverTheRowsSlotsAndThreads) {
  const std::pair<uint32_t, int32_t> kKinds[] = {{UNETD_ATTENTION_SDPA, UNETD_DTYPE_F32},
                                                 {UNETD_ATTENTION_SDPA, UNETD_DTYPE_BF16},
                                                 {UNETD_ATTENTION_MATH, UNETD_DTYPE_F32},
                                                 {UNETD_ATTENTION_SLICED, UNETD_DTYPE_F32}};
  for (const auto& [algorithm, dtype] : kKinds) {
    for (const Mask mask : {Mask::kNone, Mask::kFull}) {
      const AttentionCase c{3, 40, 150, 140, mask, dtype};
      const Call all = MakeCall(c, algorithm, 8);
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
        for (const uint32_t threads : {1u, 2u, 3u}) {
          Call call = all;
          call.rows = rows;
          call.threads = threads;
          call.reverse_slots = threads == 2;
          const Outcome got = RunOp(backend_, call);
          ASSERT_EQ(got.code, UNETD_OK) << got.why;
          for (uint32_t row = 0; row < rows; ++row) {
            EXPECT_EQ(got.raw[row], alone[row]) << "algorithm " << algorithm << " row " << row
                                                << " of " << rows << ", " << threads << " threads";
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, AttentionTest, testing::ValuesIn(MatrixIsas()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace unetd::test
