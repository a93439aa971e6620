#include <algorithm>

#include "server/plan/memory_planner.h"
#include "tests/plan/small_plan.h"

namespace unetd {
namespace {

using CompileTest = SmallPlan;

uint64_t AlignedBytes(uint64_t floats) { return AlignUp(floats * 4); }

std::vector<std::string> Texts(const Plan& plan, Section section) {
  std::vector<std::string> texts;
  for (const PlannedOp& op : plan.sections[static_cast<int>(section)]) texts.push_back(op.text);
  return texts;
}

TEST_F(CompileTest, SectionsFollowFromWhatAnOperatorReads) {
  Open(ReferenceBackend());
  const auto plan = Build();
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  const auto condition = Texts(**plan, Section::kCondition);
  ASSERT_EQ(condition.size(), 1u);
  EXPECT_EQ(condition[0], "linear 8 -> 16 at 3 tokens");
  EXPECT_EQ(Texts(**plan, Section::kSchedule).size(), 2u);  // sinusoid and its linear
  EXPECT_EQ(Texts(**plan, Section::kStep).size(),
            7u);  // layout, conv, query, attention, norm, conv, layout
  // What crosses into the step lies in the request's blocks.
  EXPECT_EQ((*plan)->condition_row_bytes, AlignedBytes(kText * 16));
  EXPECT_EQ((*plan)->schedule_row_bytes, AlignedBytes(8));
  EXPECT_EQ((*plan)->output_shape, (Shape{kChannels, kImage.h, kImage.w}));
  ASSERT_EQ((*plan)->attention.size(), 1u);
  EXPECT_EQ((*plan)->attention[0].layer, "attn");
  EXPECT_EQ((*plan)->attention[0].backend, "reference");
}

TEST_F(CompileTest, WhatIsNotFusedIsDecomposedNotedAndEqual) {
  Open(ReferenceBackend());
  auto fused = Build();
  ASSERT_TRUE(fused.ok());
  auto fused_runner = *Runner::Create(backend_, ledger_, 1);
  auto fused_blocks = *RequestBlocks::Create(*fused, *ledger_, 1);
  FillRow(*fused_blocks, 0, 5);
  ASSERT_TRUE(RunAll(*fused_runner, *fused_blocks, {0}).ok());
  EXPECT_TRUE((*fused)->lowerings.empty());

  Open(PlainBackend());
  auto plain = Build();
  ASSERT_TRUE(plain.ok()) << plain.status().message();
  EXPECT_EQ((*plain)->lowerings.size(),
            3u);  // segments of the norm; resize and residual of the last convolution
  for (const std::string& note : (*plain)->lowerings)
    EXPECT_NE(note.find("not so fused"), std::string::npos) << note;
  auto plain_runner = *Runner::Create(backend_, ledger_, 1);
  auto plain_blocks = *RequestBlocks::Create(*plain, *ledger_, 1);
  FillRow(*plain_blocks, 0, 5);
  ASSERT_TRUE(RunAll(*plain_runner, *plain_blocks, {0}).ok());
  const std::vector<float> a = OutputOf(*fused_blocks, 0), b = OutputOf(*plain_blocks, 0);
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i], b[i], 1e-6f) << i;
    largest = std::max(largest, std::abs(a[i]));
  }
  EXPECT_GT(largest, 0.05f);  // and it is not all zeros
}

TEST_F(CompileTest, PackedWeightsAreSharedAndGivenBack) {
  Open(ReferenceBackend());
  {
    auto first = Build();
    ASSERT_TRUE(first.ok());
    const uint64_t held = ledger_->held(LedgerAccount::kWeights);
    EXPECT_GT(held, 0u);
    auto second = Build();
    ASSERT_TRUE(second.ok());
    EXPECT_EQ(ledger_->held(LedgerAccount::kWeights), held);
    for (size_t i = 0; i < (*first)->packed.size(); ++i)
      EXPECT_EQ((*first)->packed[i], (*second)->packed[i]);
  }
  EXPECT_EQ(ledger_->held(), 0u);
}

TEST_F(CompileTest, MissingTensorAndWrongShapeAreNamed) {
  Open(ReferenceBackend());
  PlanBuilder missing({backend_, weights_.get(), DType::kFloat32});
  missing.Output(missing.Conv2d(missing.ImageInput("sample", kChannels, kImage),
                                {.weight = {"nobody.weight"}, .bias = {}, .out_channels = 8}));
  const Status no_tensor = Compile(missing, {.packed = packed_.get()}).status();
  EXPECT_NE(no_tensor.message().find("missing tensor 'nobody.weight'"), std::string::npos)
      << no_tensor.message();
  EXPECT_NE(no_tensor.message().find("w.safetensors"), std::string::npos) << no_tensor.message();

  PlanBuilder wrong({backend_, weights_.get(), DType::kFloat32});
  wrong.Output(wrong.Conv2d(wrong.ImageInput("sample", kChannels, kImage),
                            {.weight = {"conv_in.weight"}, .bias = {}, .out_channels = 7}));
  const Status shape = Compile(wrong, {.packed = packed_.get()}).status();
  EXPECT_NE(shape.message().find("'conv_in.weight' has shape [8,4,3,3], expected [7,4,3,3]"),
            std::string::npos)
      << shape.message();
}

TEST_F(CompileTest, OverTheLimitIsRefusedAndNothingStays) {
  Open(ReferenceBackend(), 2000);
  const auto plan = Build();
  EXPECT_EQ(plan.status().code(), Code::kResourceExhausted) << plan.status().message();
  EXPECT_EQ(ledger_->held(), 0u);
}

TEST_F(CompileTest, ARefusedAttentionNamesTheLayerAndEveryReason) {
  Open(ReferenceBackend());
  PlanBuilder b({backend_, weights_.get(), DType::kFloat32});
  const Value x = b.ImageInput("sample", kChannels, kImage);
  b.SetLayer("mid_block.attn1");
  AttentionSpec spec{.algorithm = UNETD_ATTENTION_NPU,
                     .heads = 1,
                     .head_dim = 4,
                     .op = {},
                     .mask = {},
                     .backends = {}};
  PlanBuilder fallback({backend_, weights_.get(), DType::kFloat32});
  const Value y = fallback.ImageInput("sample", kChannels, kImage);
  b.Output(b.Attention(x, x, x, spec));
  const Status refused = Compile(b, {.packed = packed_.get()}).status();
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_NE(refused.message().find("mid_block.attn1"), std::string::npos) << refused.message();
  EXPECT_NE(refused.message().find("backend 'reference'"), std::string::npos) << refused.message();

  spec.fallback_to_sdpa = true;
  fallback.Output(fallback.Attention(y, y, y, spec));
  const auto plan = Compile(fallback, {.packed = packed_.get()});
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_TRUE((*plan)->attention[0].fell_back);
  EXPECT_EQ((*plan)->attention[0].refusals.size(), 1u);
}

}  // namespace
}  // namespace unetd
