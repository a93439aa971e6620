#include <cstring>

#include "tests/plan/small_plan.h"

namespace unetd {
namespace {

using RunnerTest = SmallPlan;

// Promise 2, at the runner: alone, in a batch, in any slot, with 1 thread or 2, in one part or
// several.
TEST_F(RunnerTest, ARowsBitsDoNotDependOnItsCompany) {
  Open(ReferenceBackend());
  auto plan = *Build();
  auto alone_runner = *Runner::Create(backend_, ledger_, 1);
  std::vector<std::vector<float>> alone;
  for (uint32_t content = 0; content < 8; ++content) {
    auto blocks = *RequestBlocks::Create(plan, *ledger_, 1);
    FillRow(*blocks, 0, content);
    ASSERT_TRUE(RunAll(*alone_runner, *blocks, {0}).ok());
    alone.push_back(OutputOf(*blocks, 0));
  }
  EXPECT_NE(alone[0], alone[1]);
  for (uint32_t threads : {1u, 2u}) {
    for (uint32_t admitted : {1u, 3u, 8u}) {
      auto runner = *Runner::Create(backend_, ledger_, threads);
      ASSERT_TRUE(runner->Admit(*plan, admitted).ok());
      auto blocks = *RequestBlocks::Create(plan, *ledger_, 8);
      for (uint32_t row = 0; row < 8; ++row) FillRow(*blocks, row, row);
      ASSERT_TRUE(RunAll(*runner, *blocks, {5, 0, 7, 2, 6, 1, 4, 3}).ok());
      for (uint32_t row = 0; row < 8; ++row) EXPECT_EQ(OutputOf(*blocks, row), alone[row]) << row;
    }
  }
}

TEST_F(RunnerTest, PlanBytesAreWhatIsHeld) {
  Open(ReferenceBackend());
  auto plan = *Build();
  auto runner = *Runner::Create(backend_, ledger_, 2);
  ASSERT_TRUE(runner->Admit(*plan, 3).ok());
  EXPECT_EQ(ledger_->held(LedgerAccount::kArena), plan->ArenaBytes(3, 2));
  {
    auto blocks = *RequestBlocks::Create(plan, *ledger_, 3, 4);
    EXPECT_EQ(ledger_->held(LedgerAccount::kRequests), plan->BlockBytes(3, 4));
  }
  EXPECT_EQ(ledger_->held(LedgerAccount::kRequests), 0u);
}

TEST_F(RunnerTest, OverTheLimitIsRefusedAndTheOldArenaStays) {
  Open(ReferenceBackend(), 1 << 18);
  auto plan = *Build();
  auto runner = *Runner::Create(backend_, ledger_, 1);
  ASSERT_TRUE(runner->Admit(*plan, 1).ok());
  EXPECT_EQ(runner->Admit(*plan, 1 << 20).code(), Code::kResourceExhausted);
  EXPECT_EQ(ledger_->held(LedgerAccount::kArena), plan->ArenaBytes(1, 1));
  auto blocks = *RequestBlocks::Create(plan, *ledger_, 1);
  FillRow(*blocks, 0, 1);
  EXPECT_TRUE(RunAll(*runner, *blocks, {0}).ok());
}

TEST_F(RunnerTest, TakingTimesCountsEveryCallAndChangesNoBit) {
  Open(ReferenceBackend());
  auto plan = *Build();
  auto runner = *Runner::Create(backend_, ledger_, 2);
  auto blocks = *RequestBlocks::Create(plan, *ledger_, 3);
  std::vector<RowBlocks> rows;
  for (uint32_t row = 0; row < 3; ++row) {
    FillRow(*blocks, row, row);
    rows.push_back(blocks->Row(row));
    rows.back().group = row;
  }
  ASSERT_TRUE(runner->Admit(*plan, 1).ok());  // so each row is a part of its own
  ASSERT_TRUE(RunAll(*runner, *blocks, {0, 1, 2}).ok());
  const std::vector<float> plain = OutputOf(*blocks, 2);
  std::memset(const_cast<float*>(blocks->Output(2)), 0, plan->output_row_bytes);
  std::vector<OperatorTime> times;
  for (Section section : {Section::kCondition, Section::kSchedule, Section::kStep}) {
    times.assign(plan->sections[static_cast<int>(section)].size(), {});
    ASSERT_FALSE(times.empty());
    ASSERT_TRUE(runner->Run(*plan, section, rows, nullptr, times).ok());
    for (const OperatorTime& op : times) {
      EXPECT_EQ(op.calls, 3u);
      EXPECT_GT(op.time.count(), 0);
    }
  }
  EXPECT_EQ(OutputOf(*blocks, 2), plain);
  times.pop_back();
  EXPECT_EQ(runner->Run(*plan, Section::kStep, rows, nullptr, times).code(), Code::kInternal);
}

TEST_F(RunnerTest, CancelStopsBeforeTheNextOperator) {
  Open(ReferenceBackend());
  auto plan = *Build();
  auto runner = *Runner::Create(backend_, ledger_, 1);
  auto blocks = *RequestBlocks::Create(plan, *ledger_, 1);
  FillRow(*blocks, 0, 1);
  const CancelFlag cancel{1};
  EXPECT_EQ(RunAll(*runner, *blocks, {0}, &cancel).code(), Code::kCancelled);
}

}  // namespace
}  // namespace unetd
