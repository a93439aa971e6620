// What the backend promises beside results: a row's bits are its own, memory that does not grow
// with the keys, cancellation, and plain words for what it does not serve.
#include <limits>

#include "server/backend/library.h"
#include "tests/memory_efficient/efficient_case.h"

namespace unetd::test {
namespace {

using ::testing::HasSubstr;

using Promises = MemoryEfficient;

TEST_P(Promises, ARowsBitsAreItsOwn) {
  const std::vector<Efficient> cases = {{3, 40, 150, 140},
                                        {2, 40, 150, 140, "", MaskKind::kEach},
                                        {1, 300, 70, 130},
                                        {3, 20, 5, 1000},
                                        {1, 64, 40, 2000, "splitk", MaskKind::kShared},
                                        {2, 80, 70, 77, "", MaskKind::kNone, UNETD_DTYPE_F16}};
  for (const Efficient& e : cases) {
    SCOPED_TRACE(Describe(e));
    OperatorCase test = MakeCase(e);
    test.rows = 8;
    const auto runner = Create(test), again = Create(test);
    ASSERT_TRUE(runner.ok() && again.ok()) << runner.status().message();
    std::vector<std::vector<uint8_t>> alone;
    for (uint32_t row = 0; row < test.rows; ++row) {
      const auto run = runner->Run({.rows = {row}});
      ASSERT_TRUE(run.ok()) << run.status().message();
      alone.push_back(run->bytes[0]);
    }
    EXPECT_NE(alone[0], alone[1]);
    for (uint32_t rows = 1; rows <= test.rows; ++rows) {
      for (const uint32_t threads : {1u, 2u, 3u}) {
        RunSetup setup{.threads = threads,
                       .order = threads == 2 ? TaskOrder::kBackward : TaskOrder::kForward};
        for (uint32_t i = 0; i < rows; ++i) {
          setup.rows.push_back((i + rows) % test.rows);
          setup.slots.push_back(threads == 3 ? rows - 1 - i : i + 1);
        }
        const auto run = (threads == 1 ? *again : *runner).Run(setup);
        ASSERT_TRUE(run.ok()) << run.status().message();
        for (uint32_t i = 0; i < rows; ++i) {
          ASSERT_TRUE(run->bytes[i] == alone[setup.rows[i]])
              << "row " << setup.rows[i] << " of " << rows << ", " << threads << " thread(s)";
        }
      }
    }
  }
}

TEST_P(Promises, MemoryDoesNotGrowWithTheKeys) {
  const auto bytes = [&](const Efficient& e) {
    const auto runner = Create(MakeCase(e));
    EXPECT_TRUE(runner.ok()) << runner.status().message();
    return std::pair(runner->prepared().workspace_bytes(),
                     runner->prepared().thread_workspace_bytes());
  };
  for (const MaskKind mask : {MaskKind::kNone, MaskKind::kShared, MaskKind::kEach}) {
    const auto few = bytes({8, 40, 64, 16, "", mask});
    EXPECT_EQ(few, bytes({8, 40, 64, 77, "", mask}));
    EXPECT_EQ(few, bytes({8, 40, 64, 100000, "", mask}));
    EXPECT_EQ(few.first, 0);
    const auto split = bytes({2, 40, 8, 4096, "", mask});
    EXPECT_EQ(split, bytes({2, 40, 8, 100096, "", mask}));
    // 16 parts of 2 heads: sums of at most 16 queries, with two floats beside.
    EXPECT_GT(split.first, 0);
    EXPECT_LE(split.first, uint64_t{16} * 2 * 16 * (40 + 2) * sizeof(float));
  }
  // A block of queries, and its sums, and what is packed: well below one head's scores.
  EXPECT_LT(bytes({8, 40, 4096, 4096}).second, uint64_t{4096} * 4096 / 64 * sizeof(float));
  EXPECT_EQ(bytes({8, 40, 4096, 4096}), bytes({8, 40, 16384, 4096}));
}

TEST_P(Promises, ACancelledRunStops) {
  for (const Efficient& e : {Efficient{2, 16, 40, 40}, Efficient{2, 16, 4, 1000}}) {
    const auto runner = Create(MakeCase(e));
    ASSERT_TRUE(runner.ok());
    EXPECT_EQ(runner->Run({.threads = 2, .cancelled = true}).status().code(), Code::kCancelled);
  }
}

TEST_P(Promises, DescribesItself) {
  EXPECT_EQ(backend_->name(), "memory_efficient");
  EXPECT_EQ(backend_->domain(), "host");
  EXPECT_FALSE(backend_->owns_domain());
  EXPECT_EQ(backend_->info().batch_invariant, 1);
  EXPECT_THAT(backend_->info().device, ::testing::EndsWith(", " + GetParam()));
}

TEST_P(Promises, RefusesWithTheReason) {
  const auto refused = [&](const char* words, const auto& change) {
    OperatorCase test = MakeCase({4, 8, 10, 12, "", MaskKind::kShared});
    EXPECT_EQ(Refusal(test), "");
    change(test.desc);
    EXPECT_THAT(Refusal(test), HasSubstr(words));
  };
  using D = unetd_op_desc;
  refused("attention only, not operator kind 2", [](D& d) { d.kind = UNETD_OP_LINEAR; });
  const auto algorithm = [](uint32_t value) {
    return [value](D& d) { d.u.attention.algorithm = value; };
  };
  refused("memory_efficient algorithm only, not math", algorithm(UNETD_ATTENTION_MATH));
  refused("memory_efficient algorithm only, not sdpa", algorithm(UNETD_ATTENTION_SDPA));
  refused("memory_efficient algorithm only, not sliced", algorithm(UNETD_ATTENTION_SLICED));
  refused("memory_efficient algorithm only, not npu", algorithm(UNETD_ATTENTION_NPU));
  refused("memory_efficient algorithm only, not number 77", algorithm(77));
  refused("heads must be at least 1", [](D& d) { d.u.attention.heads = 0; });
  refused("head_dim must be at least 1", [](D& d) { d.u.attention.head_dim = 0; });
  refused("src0 must have 36 channels", [](D& d) { d.u.attention.head_dim = 9; });
  refused("scale must be finite",
          [](D& d) { d.u.attention.scale = std::numeric_limits<float>::infinity(); });
  refused("upcast_scores must be 0 or 1", [](D& d) { d.u.attention.upcast_scores = 2; });
  refused("bool_mask must be 0 or 1", [](D& d) { d.u.attention.bool_mask = 2; });
  refused("compute_dtype must be float32", [](D& d) { d.compute_dtype = UNETD_DTYPE_F16; });
  refused("sum_dtype must be float32", [](D& d) { d.sum_dtype = UNETD_DTYPE_F64; });
  refused("reserved", [](D& d) { d.reserved = 1; });
  refused("key is absent", [](D& d) { d.args[UNETD_ARG_KEY].tokens = 0; });
  refused("value must have 12 tokens", [](D& d) { d.args[UNETD_ARG_VALUE].tokens = 11; });
  refused("dst must have 10 tokens", [](D& d) { d.args[UNETD_ARG_DST].tokens = 11; });
  refused("dst must have 32 channels", [](D& d) { d.args[UNETD_ARG_DST].channels = 31; });
  refused("src0 has stride 31", [](D& d) { d.args[UNETD_ARG_SRC0].stride = 31; });
  refused("src0 is too large", [](D& d) { d.args[UNETD_ARG_SRC0].stride = uint64_t{1} << 62; });
  refused("src0 must be float32, float16 or bfloat16, got torch.float64",
          [](D& d) { d.args[UNETD_ARG_SRC0].dtype = UNETD_DTYPE_F64; });
  refused("mask must be float32", [](D& d) { d.args[UNETD_ARG_MASK].dtype = UNETD_DTYPE_F16; });
  refused("mask must have 12 channels", [](D& d) { d.args[UNETD_ARG_MASK].channels = 11; });
  refused("mask must have 1 token", [](D& d) { d.args[UNETD_ARG_MASK].tokens = 2; });
  refused("argument 7 is not served",
          [](D& d) { d.args[UNETD_ARG_RESIDUAL] = d.args[UNETD_ARG_DST]; });
  refused("beyond 2^32 tasks", [](D& d) {
    d.u.attention.heads = 1u << 29;
    d.u.attention.head_dim = 1;
    for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_DST}) {
      d.args[arg].channels = 1u << 29;
      d.args[arg].stride = 1u << 29;
    }
    d.args[UNETD_ARG_SRC0].tokens = d.args[UNETD_ARG_DST].tokens = 1000;
  });
}

INSTANTIATE_TEST_SUITE_P(Isa, Promises, ::testing::ValuesIn(Isas()),
                         [](const auto& info) { return info.param; });

// What `open` answers to these options.
Status OpenWith(const std::vector<std::pair<std::string, std::string>>& options) {
  return LoadBackend(UNETD_BUILD_DIR "/lib/unetd/memory_efficient.so", options).status();
}

TEST(Options, AreNamedWhenTheyAreWrong) {
  EXPECT_TRUE(OpenWith({}).ok());
  EXPECT_TRUE(OpenWith({{"isa", "auto"}}).ok());
  EXPECT_TRUE(OpenWith({{"isa", "avx2"}}).ok());
  EXPECT_EQ(OpenWith({{"isa", "sse"}}).code(), Code::kInvalidArgument);
  EXPECT_THAT(OpenWith({{"isa", "sse"}}).message(),
              HasSubstr("option isa: expected auto, avx2 or avx512"));
  EXPECT_EQ(OpenWith({{"threads", "2"}}).code(), Code::kInvalidArgument);
  EXPECT_THAT(OpenWith({{"threads", "2"}}).message(),
              HasSubstr("unknown option threads, expected isa"));
}

}  // namespace
}  // namespace unetd::test
