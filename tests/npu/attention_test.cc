// Attention on the emulated device against the reference provider, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/npu/harness.h"

namespace unetd::test {
namespace {

using ::testing::HasSubstr;

std::string Refusal(const Backend& backend, const unetd_op_desc& desc) {
  const Status status = backend.Supports(desc);
  EXPECT_EQ(status.code(), Code::kUnimplemented) << status.message();
  // What supports refuses, prepare does too.
  EXPECT_FALSE(backend.Prepare(desc).ok());
  return status.message();
}

class NpuAttention : public ::testing::TestWithParam<AttentionCase> {};

TEST_P(NpuAttention, MatchesTheReference) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok()) << backend.status().message();
  ExpectReference(*backend, GetParam());
}

std::vector<AttentionCase> Cases() {
  std::vector<AttentionCase> cases;
  for (const int32_t dtype : {kF16, kBF16}) {
    const std::string suffix = std::string("_") + DTypeLabel(dtype);
    const auto add = [&](AttentionCase test) {
      test.name += suffix;
      test.dtype = dtype;
      cases.push_back(test);
    };
    add({.name = "d40", .queries = 64, .keys = 64, .heads = 2, .head_dim = 40});
    add({.name = "d64", .queries = 33, .keys = 33, .heads = 3, .head_dim = 64});
    add({.name = "d80", .queries = 20, .keys = 77, .heads = 2, .head_dim = 80});
    add({.name = "d160", .queries = 30, .keys = 77, .heads = 2, .head_dim = 160});
    add({.name = "d768", .queries = 3, .keys = 5, .heads = 1, .head_dim = 768});
    add({.name = "one_query", .queries = 1, .keys = 77, .heads = 4, .head_dim = 16});
    add({.name = "one_key", .queries = 20, .keys = 1, .heads = 4, .head_dim = 16});
    add({.name = "one", .queries = 1, .keys = 1, .heads = 1, .head_dim = 1});
    add({.name = "strided", .queries = 20, .keys = 31, .heads = 2, .head_dim = 40, .gap = 24});
    add({.name = "scale", .queries = 20, .keys = 31, .heads = 2, .head_dim = 40, .scale = 0.3f});
    add({.name = "rows", .queries = 20, .keys = 31, .heads = 2, .head_dim = 40, .rows = 5});
    add({.name = "mask",
         .queries = 30,
         .keys = 77,
         .heads = 2,
         .head_dim = 40,
         .mask = Mask::kShared});
    add({.name = "mask_each",
         .queries = 30,
         .keys = 50,
         .heads = 2,
         .head_dim = 80,
         .mask = Mask::kEach});
    add({.name = "mask_one_query",
         .queries = 1,
         .keys = 50,
         .heads = 2,
         .head_dim = 8,
         .mask = Mask::kShared,
         .gap = 3});
    add({.name = "mask_strided",
         .queries = 30,
         .keys = 50,
         .heads = 2,
         .head_dim = 40,
         .mask = Mask::kEach,
         .gap = 14});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, NpuAttention, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

class NpuRefusals : public ::testing::Test {
 protected:
  NpuRefusals() : backend_(*OpenNpu()), desc_(Descriptor({})) {}
  std::string Refused() { return Refusal(*backend_, desc_); }

  std::shared_ptr<Backend> backend_;
  unetd_op_desc desc_;
};

TEST_F(NpuRefusals, OtherOperatorsAndAlgorithms) {
  desc_.u.attention.algorithm = UNETD_ATTENTION_SDPA;
  EXPECT_THAT(Refused(), HasSubstr("only the npu algorithm is served, got number 2"));
  desc_ = Descriptor({});
  desc_.u.attention.op[0] = 'x';
  EXPECT_THAT(Refused(), HasSubstr("takes no attention_op"));
  desc_.kind = UNETD_OP_LINEAR;
  EXPECT_THAT(Refused(), HasSubstr("operator kind 2 is not served, only attention"));
}

TEST_F(NpuRefusals, Float32HasItsOwnWords) {
  for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_DST}) {
    desc_.args[arg].dtype = UNETD_DTYPE_F32;
  }
  EXPECT_THAT(Refused(), HasSubstr("fp32 layers run SDPA on the host; set compute"));
}

TEST_F(NpuRefusals, OneDTypeForAll) {
  for (const uint32_t arg : {UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_DST}) {
    desc_ = Descriptor({});
    desc_.args[arg].dtype = kBF16;
    EXPECT_THAT(Refused(), HasSubstr("expected float16, as src is, got bfloat16"));
  }
  desc_ = Descriptor({});
  desc_.args[UNETD_ARG_SRC0].dtype = UNETD_DTYPE_I32;
  EXPECT_THAT(Refused(), HasSubstr("src: expected float16 or bfloat16, got dtype 8"));
}

TEST_F(NpuRefusals, ShapesOutOfRange) {
  desc_.u.attention.heads = 257;
  EXPECT_THAT(Refused(), HasSubstr("heads: expected 1 to 256, got 257"));
  desc_.u.attention.heads = 2;
  desc_.u.attention.head_dim = 769;
  EXPECT_THAT(Refused(), HasSubstr("head_dim: expected 1 to 768, got 769"));
  desc_.u.attention.head_dim = 41;
  EXPECT_THAT(Refused(), HasSubstr("src: expected 82 channels (heads * head_dim), got 80"));
  desc_ = Descriptor({});
  desc_.args[UNETD_ARG_DST].tokens = 15;
  EXPECT_THAT(Refused(), HasSubstr("dst: expected 16 tokens, got 15"));
  desc_ = Descriptor({});
  desc_.args[UNETD_ARG_VALUE].tokens = 17;
  EXPECT_THAT(Refused(), HasSubstr("value: expected 16 tokens, got 17"));
  desc_ = Descriptor({});
  desc_.args[UNETD_ARG_KEY].tokens = desc_.args[UNETD_ARG_VALUE].tokens = (1 << 20) + 1;
  EXPECT_THAT(Refused(), HasSubstr("key: expected at most 1048576 tokens, got 1048577"));
  desc_ = Descriptor({});
  desc_.args[UNETD_ARG_KEY].stride = 79;
  EXPECT_THAT(Refused(), HasSubstr("key: expected a stride of 80 or more, got 79"));
  desc_ = Descriptor({});
  desc_.args[UNETD_ARG_RESIDUAL] = desc_.args[UNETD_ARG_DST];
  EXPECT_THAT(Refused(), HasSubstr("attention takes no argument number 7"));
  desc_ = Descriptor({});
  desc_.args[UNETD_ARG_VALUE].tokens = 0;
  EXPECT_THAT(Refused(), HasSubstr("value is missing"));
}

TEST_F(NpuRefusals, MasksThatAreNotBool) {
  desc_ = Descriptor({.mask = Mask::kShared});
  ASSERT_TRUE(backend_->Supports(desc_).ok());
  desc_.args[UNETD_ARG_MASK].dtype = UNETD_DTYPE_F32;
  EXPECT_THAT(Refused(), HasSubstr("mask: expected bool (1 = masked out)"));
  desc_ = Descriptor({.mask = Mask::kShared});
  desc_.u.attention.bool_mask = 0;
  EXPECT_THAT(Refused(), HasSubstr("mask: only one that keeps or drops"));
  desc_ = Descriptor({.mask = Mask::kShared});
  desc_.args[UNETD_ARG_MASK].channels = 15;
  EXPECT_THAT(Refused(), HasSubstr("mask: expected 16 channels, one a key, got 15"));
  desc_ = Descriptor({.mask = Mask::kShared});
  desc_.args[UNETD_ARG_MASK].tokens = 2;
  EXPECT_THAT(Refused(), HasSubstr("mask: expected 1 token or 16, one a query, got 2"));
}

TEST_F(NpuRefusals, CannsOwnWords) {
  desc_ = Descriptor({.head_dim = 640});
  ASSERT_TRUE(backend_->Supports(desc_).ok());
  cann_emulator::SetMostHeadDim(512);
  const std::string words = Refused();
  cann_emulator::SetMostHeadDim(768);
  EXPECT_THAT(words, HasSubstr("CANN refuses: aclnnFlashAttentionScoreGetWorkspaceSize: status "
                               "161002: FlashAttentionScore: headDim 640 is over 512"));
}

TEST(NpuRun, IsOnlyEnqueued) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  const AttentionCase test{.rows = 8};
  const auto run = NpuRun::Create(*backend, test);
  ASSERT_TRUE(run.ok()) << run.status().message();
  const uint64_t before = cann_emulator::CountRuns();
  cann_emulator::HoldStreams(true);
  const Status enqueued = run->Enqueue();
  EXPECT_EQ(cann_emulator::CountRuns(), before);
  cann_emulator::HoldStreams(false);
  ASSERT_TRUE(enqueued.ok()) << enqueued.message();
  ASSERT_TRUE(run->Result().ok());
  EXPECT_EQ(cann_emulator::CountRuns() - before, 8u) << "copy did not wait for every row";
}

TEST(NpuRun, Cancelled) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  const auto run = NpuRun::Create(*backend, {});
  ASSERT_TRUE(run.ok());
  const uint64_t before = cann_emulator::CountRuns();
  const uint32_t cancel = 1;
  EXPECT_EQ(run->Enqueue(&cancel).code(), Code::kCancelled);
  ASSERT_TRUE(run->Result().ok());
  EXPECT_EQ(cann_emulator::CountRuns(), before);
}

TEST(NpuRun, AWorkspaceThatGrewIsAnError) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  const auto run = NpuRun::Create(*backend, {});
  ASSERT_TRUE(run.ok());
  cann_emulator::SetExtraWorkspace(4096);
  const Status status = run->Enqueue();
  cann_emulator::SetExtraWorkspace(0);
  EXPECT_THAT(status.message(), HasSubstr("now asks for 4608 bytes of workspace, and for 512"));
  EXPECT_EQ(cann_emulator::CountLeaks().executors, 0);
  EXPECT_TRUE(run->Enqueue().ok());
}

// Threads that never saw the device, all at once.
TEST(NpuRun, FromManyThreads) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int repeat = 0; repeat < 3; ++repeat) {
        ExpectReference(*backend, {.queries = 8 + i, .keys = 9, .heads = 2, .head_dim = 8});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// One prepared operator, run by several threads.
TEST(NpuRun, APreparedObjectIsReentrant) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  const AttentionCase test{.queries = 8, .keys = 9, .heads = 2, .head_dim = 8};
  const auto alone = RunNpu(*backend, test);
  ASSERT_TRUE(alone.ok());
  const auto run = NpuRun::Create(*backend, test);
  ASSERT_TRUE(run.ok());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int repeat = 0; repeat < 30; ++repeat) EXPECT_TRUE(run->Enqueue().ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto result = run->Result();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->bytes, alone->bytes);
}

// ---- PromptFlashAttention ----

TEST(NpuPrompt, ServesWhereFlashAttentionScoreIsAbsent) {
  const auto backend = OpenNpu("prompt");
  ASSERT_TRUE(backend.ok()) << backend.status().message();
  const auto prepared = (*backend)->Prepare(Descriptor({}));
  ASSERT_TRUE(prepared.ok());
  EXPECT_THAT(prepared->description(), HasSubstr("aclnnPromptFlashAttentionV3"));
  for (const int32_t dtype : {kF16, kBF16}) {
    ExpectReference(*backend,
                    {.queries = 30, .keys = 77, .heads = 3, .head_dim = 40, .dtype = dtype});
    ExpectReference(*backend, {.queries = 30,
                               .keys = 50,
                               .heads = 2,
                               .head_dim = 80,
                               .dtype = dtype,
                               .mask = Mask::kEach});
    // Of a single token the stride says nothing.
    ExpectReference(*backend, {.queries = 1,
                               .keys = 1,
                               .heads = 2,
                               .head_dim = 8,
                               .dtype = dtype,
                               .mask = Mask::kShared,
                               .gap = 5});
  }
}

TEST(NpuPrompt, RefusesWhatItCannot) {
  const auto backend = OpenNpu("prompt");
  ASSERT_TRUE(backend.ok());
  EXPECT_THAT(Refusal(**backend, Descriptor({.gap = 8})),
              HasSubstr("src: PromptFlashAttention takes no strided views: expected a stride of "
                        "80, got 88"));
  EXPECT_THAT(Refusal(**backend, Descriptor({.head_dim = 513})),
              HasSubstr("head_dim: expected 1 to 512 (PromptFlashAttention), got 513"));
  EXPECT_THAT(Refusal(**backend, Descriptor({.mask = Mask::kShared})),
              HasSubstr("expected [16, 16], got 1 tokens"));
}

TEST(NpuPrompt, FlashAttentionScoreComesFirst) {
  const auto backend = OpenNpu("full");
  ASSERT_TRUE(backend.ok());
  EXPECT_THAT((*backend)->Prepare(Descriptor({}))->description(),
              HasSubstr("aclnnFlashAttentionScore, BNSD"));
}

}  // namespace
}  // namespace unetd::test
