// Attention in another domain than the model's: copies at its edges, the same numbers, memory that
// is accounted for.
#include "server/plan/domain_edges.h"

#include "tests/plan/far_backend.h"
#include "tests/plan/small_plan.h"

namespace unetd {
namespace {

constexpr uint32_t kHeads = 2, kWidth = 8;

class DomainEdgesTest : public SmallPlan {
 protected:
  void SetUp() override {
    SmallPlan::SetUp();
    Open(ReferenceBackend());
    far_ = *Backend::Open(FarBackend(), {}, "built in");
    FarMemory::copied_in = FarMemory::copied_out = 0;
    FarMemory::largest = UINT64_MAX;
  }
  void TearDown() override {
    EXPECT_EQ(FarMemory::held, 0u);
    SmallPlan::TearDown();
  }

  // Attention of the image over the text, with q, k, v as strided slices of wider values.
  StatusOr<std::shared_ptr<const Plan>> Build(uint32_t algorithm, std::shared_ptr<Backend> backend,
                                              DType compute = DType{0}, bool fallback = false) {
    PlanBuilder b({backend_, weights_.get(), DType::kFloat32});
    const Value x = b.ImageInput("sample", 2 * kWidth, kImage);
    const Value kv = b.TokensInput("text", kText, 2 * kWidth, DType::kFloat32);
    AttentionSpec spec;
    spec.algorithm = algorithm;
    spec.heads = kHeads;
    spec.head_dim = kWidth / kHeads;
    spec.scale = 0.5f;
    spec.mask = b.TokensInput("mask", 1, kText, DType::kFloat32);
    spec.backends = {std::move(backend)};
    spec.compute = compute;
    spec.fallback_to_sdpa = fallback;
    b.SetLayer("attn");
    b.Output(b.Attention(SliceChannels(x, 3, kWidth), SliceChannels(kv, 0, kWidth),
                         SliceChannels(kv, kWidth, kWidth), spec));
    return Compile(b, {.packed = packed_.get()});
  }

  // The outputs of rows filled with 0, 1, ...; token 1 of the text is masked out.
  std::vector<std::vector<float>> Run(const std::shared_ptr<const Plan>& plan, Runner& runner,
                                      uint32_t rows) {
    EXPECT_TRUE(runner.Admit(*plan, rows).ok());  // so that they run together
    auto blocks = *RequestBlocks::Create(plan, *ledger_, rows);
    std::vector<uint32_t> order;
    for (uint32_t row = 0; row < rows; ++row) {
      FillRow(*blocks, row, row);
      const float mask[kText] = {0, -10000, 0};
      std::memcpy(blocks->Input(*plan->FindInput("mask"), row), mask, sizeof(mask));
      order.push_back(row);
    }
    const Status status = RunAll(runner, *blocks, order);
    EXPECT_TRUE(status.ok()) << status.message();
    std::vector<std::vector<float>> outputs;
    for (uint32_t row = 0; row < rows; ++row)
      outputs.emplace_back(blocks->Output(row), blocks->Output(row) + kWidth * kImage.h * kImage.w);
    return outputs;
  }

  std::shared_ptr<Backend> far_;
};

TEST_F(DomainEdgesTest, GivesTheNumbersOfTheHost) {
  auto host = *Build(UNETD_ATTENTION_MATH, backend_);
  auto far = Build(UNETD_ATTENTION_NPU, far_);
  ASSERT_TRUE(far.ok()) << far.status().message();
  auto runner = *Runner::Create(backend_, ledger_, 1);
  const auto expected = Run(host, *runner, 3), got = Run(*far, *runner, 3);
  for (uint32_t row = 0; row < 3; ++row) {
    for (size_t i = 0; i < expected[row].size(); ++i)
      ASSERT_NEAR(got[row][i], expected[row][i], 1e-5f) << row << " " << i;
  }
  EXPECT_NE(expected[0], expected[1]);
}

TEST_F(DomainEdgesTest, CountsAndShowsWhatCrosses) {
  auto plan = *Build(UNETD_ATTENTION_NPU, far_);
  constexpr uint64_t kQueries = kImage.h * kImage.w;
  // q, k, v as float32, the mask as bool, the result.
  constexpr uint64_t kIn = (kQueries + 2 * kText) * kWidth * 4 + kText,
                     kOut = kQueries * kWidth * 4;
  EXPECT_EQ(plan->copied_row_bytes, kIn + kOut);
  ASSERT_EQ(plan->lowerings.size(), 1u);
  EXPECT_NE(plan->lowerings[0].find("domain 'far' of backend 'far'"), std::string::npos);
  ASSERT_EQ(plan->attention.size(), 1u);
  EXPECT_EQ(plan->attention[0].backend, "far");
  EXPECT_EQ(plan->attention[0].kernel, "far loops");
  auto runner = *Runner::Create(backend_, ledger_, 1);
  Run(plan, *runner, 2);
  EXPECT_EQ(FarMemory::copied_in, 2 * kIn);
  EXPECT_EQ(FarMemory::copied_out, 2 * kOut);
}

TEST_F(DomainEdgesTest, ComputesInTheDtypeThatTheRuleAsksFor) {
  auto plain = *Build(UNETD_ATTENTION_NPU, far_);
  auto half = *Build(UNETD_ATTENTION_NPU, far_, DType::kFloat16);
  EXPECT_LT(half->copied_row_bytes, plain->copied_row_bytes * 11 / 20);
  auto runner = *Runner::Create(backend_, ledger_, 1);
  const auto expected = Run(plain, *runner, 1)[0], got = Run(half, *runner, 1)[0];
  EXPECT_NE(got, expected);
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(got[i], expected[i], 4e-3f) << i;
}

TEST_F(DomainEdgesTest, HoldsTheOtherDomainsArenaInItsLedger) {
  auto plan = *Build(UNETD_ATTENTION_NPU, far_);
  auto far_ledger = std::make_shared<Ledger>(1 << 20);
  std::string asked;
  {
    auto runner = *Runner::Create(backend_, ledger_, 1, [&](const std::string& domain) {
      asked = domain;
      return far_ledger;
    });
    ASSERT_TRUE(runner->Admit(*plan, 2).ok());
    EXPECT_EQ(asked, "far");
    EXPECT_EQ(far_ledger->held(LedgerAccount::kArena), plan->foreign[0].ArenaBytes(2));
    EXPECT_EQ(FarMemory::held, plan->foreign[0].ArenaBytes(2));
    EXPECT_GT(FarMemory::held, 0u);
    const Status refused = runner->Admit(*plan, 1 << 12);
    EXPECT_EQ(refused.code(), Code::kResourceExhausted);
    EXPECT_NE(refused.message().find("domain 'far'"), std::string::npos) << refused.message();
    Run(plan, *runner, 2);  // and goes on with what it has
  }
  EXPECT_EQ(far_ledger->held(), 0u);
}

TEST_F(DomainEdgesTest, AFullDeviceIsAnErrorOfTheRequest) {
  auto plan = *Build(UNETD_ATTENTION_NPU, far_);
  auto runner = *Runner::Create(backend_, ledger_, 1);
  FarMemory::largest = 16;
  EXPECT_EQ(runner->Admit(*plan, 1).code(), Code::kResourceExhausted);
  FarMemory::largest = UINT64_MAX;
  EXPECT_TRUE(runner->Admit(*plan, 1).ok());
}

TEST_F(DomainEdgesTest, WhatTheOtherBackendRefusesKeepsItsWords) {
  const auto refused = Build(UNETD_ATTENTION_SDPA, far_);
  EXPECT_NE(refused.status().message().find("only dense attention out here"), std::string::npos)
      << refused.status().message();
  const auto fallen = Build(UNETD_ATTENTION_SLICED, far_, DType{0}, true);
  ASSERT_TRUE(fallen.ok()) << fallen.status().message();
  EXPECT_TRUE((*fallen)->attention[0].fell_back);
  EXPECT_TRUE((*fallen)->foreign.empty());
}

}  // namespace
}  // namespace unetd
