#include "server/serving/executor.h"

#include <gtest/gtest.h>

#include "tests/serving/fake_job.h"

namespace unetd {
namespace {

using Plan = FakeJob::Plan;

std::shared_ptr<FakeJob> Make(Plan plan = {}) { return std::make_shared<FakeJob>(std::move(plan)); }

TimePoint In(std::chrono::milliseconds time) { return Clock::now() + time; }

void ExpectEmpty(const Executor& executor) {
  EXPECT_EQ(executor.counts().queued, 0u);
  EXPECT_EQ(executor.counts().running, 0u);
}

TEST(Executor, RunsAJobAndAnswersOnce) {
  Executor executor(4, Fake());
  auto job = Make({.quanta = 3});
  executor.Submit(job, {.model = "m", .variant = "v"});
  ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_TRUE(job->status().ok());
  EXPECT_EQ(job->answers(), 1);
  ExpectEmpty(executor);
  EXPECT_EQ(executor.counts_by_variant().count({"m", "v"}), 1u);
}

TEST(Executor, AFullQueueNamesItsLimit) {
  Gate gate;
  Executor executor(2, Fake());
  auto running = Make({.run_until = &gate});
  executor.Submit(running, {});
  ASSERT_TRUE(running->running.WaitLong());
  auto second = Make(), third = Make(), refused = Make();
  executor.Submit(second, {});
  executor.Submit(third, {});
  EXPECT_EQ(executor.counts().queued, 2u);
  EXPECT_EQ(executor.counts().running, 1u);
  executor.Submit(refused, {})->Cancel();
  ASSERT_TRUE(refused->finished.WaitLong());
  EXPECT_EQ(refused->answers(), 1);
  EXPECT_EQ(refused->status().code(), Code::kResourceExhausted);
  EXPECT_EQ(refused->status().message(), "Exceeds maximum queue size: 2 requests wait already");
  EXPECT_EQ(executor.counts().queued, 2u);
  gate.Open();
  for (auto& job : {running, second, third}) {
    ASSERT_TRUE(job->finished.WaitLong());
    EXPECT_TRUE(job->status().ok());
  }
  auto later = Make();
  executor.Submit(later, {});
  ASSERT_TRUE(later->finished.WaitLong());
  EXPECT_TRUE(later->status().ok());
  ExpectEmpty(executor);
}

TEST(Executor, JobsTakeTurnsByTheQuantum) {
  Journal journal;
  Gate gate;
  Executor executor(4, Fake());
  auto a = Make({.name = "a", .quanta = 3, .run_until = &gate, .journal = &journal});
  auto b = Make({.name = "b", .quanta = 2, .journal = &journal});
  auto c = Make({.name = "c", .quanta = 1, .journal = &journal});
  executor.Submit(a, {});
  ASSERT_TRUE(a->running.WaitLong());
  executor.Submit(b, {});
  executor.Submit(c, {});
  gate.Open();
  for (auto& job : {a, b, c}) ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_EQ(journal.lines(), (std::vector<std::string>{"a run", "b run", "c run", "c ok", "a run",
                                                       "b run", "b ok", "a run", "a ok"}));
}

TEST(Executor, AQueuedJobIsCancelledAtOnce) {
  Gate gate;
  Executor executor(4, Fake());
  auto running = Make({.run_until = &gate});
  executor.Submit(running, {});
  ASSERT_TRUE(running->running.WaitLong());
  auto queued = Make();
  auto handle = executor.Submit(queued, {});
  handle->Cancel();  // the worker is still busy: only Cancel itself can answer
  ASSERT_TRUE(queued->finished.WaitLong());
  EXPECT_EQ(queued->status().code(), Code::kCancelled);
  EXPECT_EQ(executor.counts().queued, 0u);
  EXPECT_EQ(executor.counts().running, 1u);
  handle->Cancel();
  gate.Open();
  ASSERT_TRUE(running->finished.WaitLong());
  EXPECT_TRUE(running->status().ok());
  EXPECT_EQ(queued->answers(), 1);
}

TEST(Executor, ARunningJobSeesItsCancelFlag) {
  Executor executor(4, Fake());
  auto job = Make({.quanta = 5, .run_until_cancelled = true});
  auto handle = executor.Submit(job, {});
  ASSERT_TRUE(job->running.WaitLong());
  EXPECT_EQ(executor.counts().running, 1u);
  handle->Cancel();
  ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_EQ(job->status().code(), Code::kCancelled);
  EXPECT_EQ(job->status().message(), "the request was cancelled");
  ExpectEmpty(executor);
}

TEST(Executor, AJobBetweenQuantaIsStoppedWithoutItsHelp) {
  Gate gate;
  Executor executor(4, Fake());
  auto job = Make({.quanta = 1000, .run_until = &gate});
  auto handle = executor.Submit(job, {});
  ASSERT_TRUE(job->running.WaitLong());
  handle->Cancel();  // deaf in its first quantum
  gate.Open();
  ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_EQ(job->status().code(), Code::kCancelled);
}

TEST(Executor, AJobThatIsDoneIsNotCancelled) {
  Gate inside, gate;
  Executor executor(4, Fake([&](const auto&, const CancelFlag&) {
                      inside.Open();
                      gate.Wait();
                      return OkStatus();
                    }));
  auto job = Make();
  auto handle = executor.Submit(job, {});
  ASSERT_TRUE(inside.WaitLong());
  handle->Cancel();
  gate.Open();  // its only forward ends well: the answer is there, so it is given
  ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_TRUE(job->status().ok());
}

TEST(Executor, WhatIsStoppedBeforeItsForwardHasNone) {
  int forwards = 0;
  Gate gate;
  Executor executor(4, Fake([&](const auto&, const CancelFlag&) {
                      ++forwards;
                      return OkStatus();
                    }));
  auto job = Make({.run_until = &gate});
  auto handle = executor.Submit(job, {});
  ASSERT_TRUE(job->running.WaitLong());
  handle->Cancel();
  gate.Open();
  ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_EQ(job->status().code(), Code::kCancelled);
  EXPECT_EQ(forwards, 0);
}

TEST(Executor, AnExpiredQueuedJobIsAnsweredWhileALongJobRuns) {
  Gate gate;
  Executor executor(4, Fake());
  auto running = Make({.run_until = &gate});
  executor.Submit(running, {});
  ASSERT_TRUE(running->running.WaitLong());
  auto late = Make(), impatient = Make();
  executor.Submit(late, {.deadline = In(std::chrono::milliseconds(20))});
  executor.Submit(impatient, {.start_by = In(std::chrono::milliseconds(20))});
  ASSERT_TRUE(late->finished.WaitLong());  // the gate is still closed
  ASSERT_TRUE(impatient->finished.WaitLong());
  EXPECT_EQ(late->status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(impatient->status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(impatient->status().message(), "Request timeout expired");
  EXPECT_EQ(executor.counts().queued, 0u);
  gate.Open();
  ASSERT_TRUE(running->finished.WaitLong());
}

TEST(Executor, ARunningJobStopsAtItsDeadlineButNotAtItsStartLimit) {
  Executor executor(4, Fake());
  auto job = Make({.run_until_cancelled = true});
  executor.Submit(job, {.deadline = In(std::chrono::milliseconds(200)),
                        .start_by = In(std::chrono::milliseconds(100))});
  ASSERT_TRUE(job->running.WaitLong());
  ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_EQ(job->status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(job->status().message(), "the request's deadline has passed");
}

TEST(Executor, TooLateOnArrivalNeverRuns) {
  Journal journal;
  Executor executor(4, Fake());
  auto job = Make({.journal = &journal});
  executor.Submit(job, {.deadline = Clock::now() - std::chrono::seconds(1)});
  ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_EQ(job->status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(journal.lines(), std::vector<std::string>{"job failed"});
}

TEST(Executor, SlowPreparingHoldsNobodyUp) {
  Gate gate;
  Executor executor(4, Fake());
  auto slow = Make({.slow = true, .prepare_until = &gate});
  executor.Submit(slow, {});
  ASSERT_TRUE(slow->preparing.WaitLong());
  auto quick = Make();
  executor.Submit(quick, {});
  ASSERT_TRUE(quick->finished.WaitLong());  // the gate is still closed
  EXPECT_EQ(executor.counts().queued, 1u);
  gate.Open();
  ASSERT_TRUE(slow->finished.WaitLong());
  EXPECT_TRUE(slow->status().ok());
}

TEST(Executor, AJobIsCancelledWhileItsPlanIsBuiltAndWhileItWaitsForThat) {
  Gate gate;
  Executor executor(4, Fake());
  auto building = Make({.slow = true, .prepare_until = &gate});
  auto waiting = Make({.slow = true});
  auto first = executor.Submit(building, {});
  auto second = executor.Submit(waiting, {});
  ASSERT_TRUE(building->preparing.WaitLong());
  second->Cancel();
  first->Cancel();
  for (auto& job : {building, waiting}) {
    ASSERT_TRUE(job->finished.WaitLong());  // the gate is still closed
    EXPECT_EQ(job->status().code(), Code::kCancelled);
  }
  ExpectEmpty(executor);
  gate.Open();
  auto next = Make({.slow = true});
  executor.Submit(next, {});
  ASSERT_TRUE(next->finished.WaitLong());
  EXPECT_EQ(building->answers(), 1);
}

TEST(Executor, StagingIsNeverInterrupted) {
  Gate gate;
  Executor executor(4, Fake());
  auto job = Make({.slow = true, .stage_until = &gate});
  auto handle = executor.Submit(job, {});
  ASSERT_TRUE(job->staging.WaitLong());
  handle->Cancel();
  EXPECT_EQ(job->answers(), 0);  // it reads the request's tensors now
  gate.Open();
  ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_EQ(job->status().code(), Code::kCancelled);
}

TEST(Executor, ErrorsOfEveryStageAreAnswered) {
  Executor executor(4, Fake());
  auto prepare = Make({.prepare = ResourceExhausted("prepare")});
  auto stage = Make({.slow = true, .stage = InvalidArgument("stage")});
  auto run = Make({.quanta = 2, .run = Internal("run")});
  for (auto& job : {prepare, stage, run}) executor.Submit(job, {});
  for (auto& job : {prepare, stage, run}) ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_EQ(prepare->status().message(), "prepare");
  EXPECT_EQ(stage->status().message(), "stage");
  EXPECT_EQ(run->status().message(), "run");
  ExpectEmpty(executor);
}

}  // namespace
}  // namespace unetd
