// Forwards that jobs share: who shares them, and what becomes of whom.
#include <gtest/gtest.h>

#include <algorithm>

#include "server/serving/executor.h"
#include "tests/serving/fake_job.h"

namespace unetd {
namespace {

using SharedPlan = std::shared_ptr<const Plan>;

// An executor whose forwards the test sees, and a first job that holds the worker until all are
// submitted.
class Flights : public testing::Test {
 protected:
  void Start(FakeRunner::OnRun on_run = {}, uint32_t room = 1 << 20) {
    executor_ = std::make_unique<Executor>(
        64, Fake(
                [this, on_run](const std::vector<FakeJob*>& jobs, const CancelFlag& cancel) {
                  std::string names;
                  for (const FakeJob* job : jobs) names += job->name();
                  flights_.Add(names);
                  return on_run ? on_run(jobs, cancel) : OkStatus();
                },
                room));
    holder_ = std::make_shared<FakeJob>(FakeJob::Plan{.name = "-", .run_until = &gate_});
    executor_->Submit(holder_, {});
    ASSERT_TRUE(holder_->running.WaitLong());
  }
  std::shared_ptr<FakeJob> Add(FakeJob::Plan plan) {
    if (plan.plan == nullptr) plan.plan = &plan_;
    auto job = std::make_shared<FakeJob>(std::move(plan));
    handles_.push_back(executor_->Submit(job, {}));
    jobs_.push_back(job);
    return job;
  }
  void Go() { gate_.Open(); }
  // The names of who flew, forward by forward.
  std::vector<std::string> WaitAll() {
    Go();
    for (auto& job : jobs_) EXPECT_TRUE(job->finished.WaitLong()) << job->name();
    EXPECT_TRUE(holder_->finished.WaitLong());
    EXPECT_EQ(executor_->counts().running, 0u);
    return flights_.lines();
  }

  const SharedPlan plan_ = std::make_shared<const Plan>(), other_ = std::make_shared<const Plan>();
  Gate gate_;
  Journal flights_;
  std::shared_ptr<FakeJob> holder_;
  std::vector<std::shared_ptr<FakeJob>> jobs_;
  std::vector<std::shared_ptr<CallHandle>> handles_;
  std::unique_ptr<Executor> executor_;
};

TEST_F(Flights, OnePlanOneForwardUpToItsRows) {
  Start();
  Add({.name = "a", .rows = 2, .share_rows = 8});
  Add({.name = "b", .rows = 2, .share_rows = 8});
  Add({.name = "c", .plan = &other_, .rows = 1, .share_rows = 8});
  Add({.name = "d", .rows = 3, .share_rows = 8});
  Add({.name = "e", .rows = 2, .share_rows = 8});  // would be the ninth row
  Add({.name = "f", .rows = 1, .share_rows = 8});
  EXPECT_EQ(WaitAll(), (std::vector<std::string>{"-", "abdf", "c", "e"}));
  ASSERT_EQ(jobs_[0]->counted().size(), 1u);  // told to one of them
  EXPECT_EQ(jobs_[0]->counted()[0].rows, 8u);
  EXPECT_EQ(jobs_[0]->counted()[0].requests, 4u);
  EXPECT_EQ(jobs_[0]->counted()[0].output_ns, 4u);  // summed over all
  for (const int other : {1, 3, 5}) EXPECT_TRUE(jobs_[other]->counted().empty());
}

TEST_F(Flights, LoopsMeetAndPart) {
  Start();
  Add({.name = "a", .quanta = 3, .share_rows = 4});
  Add({.name = "b", .quanta = 1, .share_rows = 4});
  Add({.name = "c", .quanta = 2, .share_rows = 4});
  EXPECT_EQ(WaitAll(), (std::vector<std::string>{"-", "abc", "ac", "a"}));
  for (auto& job : jobs_) EXPECT_TRUE(job->status().ok());
}

TEST_F(Flights, TheSmallestLimitHolds) {
  Start();
  Add({.name = "a", .share_rows = 8});
  Add({.name = "b", .share_rows = 3});
  Add({.name = "c", .share_rows = 8});
  Add({.name = "d", .share_rows = 8});
  Add({.name = "e", .share_rows = 1});  // never shares
  EXPECT_EQ(WaitAll(), (std::vector<std::string>{"-", "abc", "d", "e"}));
}

TEST_F(Flights, StrangersTakeNoMoreMemoryThanThereIs) {
  Start({}, 2);
  Add({.name = "a", .share_rows = 8});
  Add({.name = "b", .share_rows = 8});
  Add({.name = "c", .share_rows = 8});
  Add({.name = "d", .rows = 3, .share_rows = 8});  // alone it may
  EXPECT_EQ(WaitAll(), (std::vector<std::string>{"-", "ab", "c", "d"}));
}

TEST_F(Flights, AnErrorIsItsJobsAlone) {
  Start();
  Add({.name = "a", .share_rows = 8});
  Add({.name = "b", .share_rows = 8, .run = InvalidArgument("before")});
  Add({.name = "c", .share_rows = 8, .end = Internal("after")});
  Add({.name = "d", .share_rows = 8});
  EXPECT_EQ(WaitAll(), (std::vector<std::string>{"-", "acd"}));
  EXPECT_TRUE(jobs_[0]->status().ok());
  EXPECT_EQ(jobs_[1]->status().message(), "before");
  EXPECT_EQ(jobs_[2]->status().message(), "after");
  EXPECT_TRUE(jobs_[3]->status().ok());
}

TEST_F(Flights, AFailedForwardIsRunAgainForEachAlone) {
  Start([](const std::vector<FakeJob*>& jobs, const CancelFlag&) {
    const bool guilty = std::any_of(jobs.begin(), jobs.end(),
                                    [](const FakeJob* job) { return job->name() == "b"; });
    return guilty ? Internal("the backend choked") : OkStatus();
  });
  Add({.name = "a", .share_rows = 8});
  Add({.name = "b", .share_rows = 8});
  Add({.name = "c", .quanta = 2, .share_rows = 8});
  EXPECT_EQ(WaitAll(), (std::vector<std::string>{"-", "abc", "a", "b", "c", "c"}));
  EXPECT_TRUE(jobs_[0]->status().ok());
  EXPECT_EQ(jobs_[1]->status().message(), "the backend choked");
  EXPECT_TRUE(jobs_[1]->counted().empty());
  EXPECT_TRUE(jobs_[2]->status().ok());
  ASSERT_EQ(jobs_[2]->counted().size(), 2u);
  EXPECT_EQ(jobs_[2]->counted()[0].requests, 1u);
}

TEST_F(Flights, WhoIsCancelledLeavesAtTheForwardsEnd) {
  Gate inside, go;
  Start([&](const std::vector<FakeJob*>& jobs, const CancelFlag& cancel) {
    if (jobs.size() < 2) return OkStatus();
    inside.Open();
    go.Wait();
    return cancel.load() == 0 ? OkStatus() : Cancelled("the neighbours suffered");
  });
  Add({.name = "a", .quanta = 5, .share_rows = 8});
  Add({.name = "b", .quanta = 2, .share_rows = 8});
  Go();
  ASSERT_TRUE(inside.WaitLong());
  handles_[0]->Cancel();
  go.Open();
  EXPECT_EQ(WaitAll(), (std::vector<std::string>{"-", "ab", "b"}));
  EXPECT_EQ(jobs_[0]->status().code(), Code::kCancelled);
  EXPECT_TRUE(jobs_[1]->status().ok());
}

TEST_F(Flights, OnceAllAreCancelledTheForwardStops) {
  Gate inside;
  Start([&](const std::vector<FakeJob*>& jobs, const CancelFlag& cancel) {
    if (jobs.size() < 2) return OkStatus();
    inside.Open();
    while (cancel.load() == 0) std::this_thread::yield();
    return Cancelled("at the next operator");
  });
  Add({.name = "a", .quanta = 5, .share_rows = 8});
  Add({.name = "b", .share_rows = 8});
  Go();
  ASSERT_TRUE(inside.WaitLong());
  for (auto& handle : handles_) handle->Cancel();
  EXPECT_EQ(WaitAll(), (std::vector<std::string>{"-", "ab"}));
  for (auto& job : jobs_) {
    EXPECT_EQ(job->status().code(), Code::kCancelled);
    EXPECT_EQ(job->status().message(), "the request was cancelled");
  }
}

TEST_F(Flights, OneWaitsForCompanyAndHoldsNobodyUp) {
  constexpr std::chrono::hours kLong(10);
  Start();
  auto first = Add({.name = "a", .share_rows = 2, .patience = kLong});
  auto other = Add({.name = "o", .plan = &other_});
  Go();
  ASSERT_TRUE(other->finished.WaitLong());  // the patient one has not flown
  EXPECT_EQ(first->answers(), 0);
  Add({.name = "b", .share_rows = 2, .patience = kLong});  // full: nothing to wait for
  EXPECT_EQ(WaitAll(), (std::vector<std::string>{"-", "o", "ab"}));
}

TEST_F(Flights, NobodyWaitsForCompanyWhileTheServerDrains) {
  Start();
  auto job = Add({.name = "a", .share_rows = 2, .patience = std::chrono::hours(10)});
  auto other = Add({.name = "o", .plan = &other_});
  Go();
  ASSERT_TRUE(other->finished.WaitLong());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the worker waits by now
  EXPECT_TRUE(executor_->Drain(std::chrono::minutes(5)));
  EXPECT_TRUE(job->status().ok());
}

TEST_F(Flights, PatienceEnds) {
  Start();
  auto job = Add({.name = "a", .share_rows = 2, .patience = std::chrono::milliseconds(20)});
  Go();
  ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_GE(job->times().queue_ns, 20'000'000u);
}

}  // namespace
}  // namespace unetd
