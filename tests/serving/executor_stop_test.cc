// Stopping an executor, and many callers at once.
#include <gtest/gtest.h>

#include "server/serving/executor.h"
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

TEST(Executor, DrainLetsAdmittedJobsEnd) {
  Executor executor(4, Fake());
  std::vector<std::shared_ptr<FakeJob>> jobs;
  for (int i = 0; i < 4; ++i) jobs.push_back(Make({.quanta = 10}));
  for (auto& job : jobs) executor.Submit(job, {});
  EXPECT_TRUE(executor.Drain(std::chrono::minutes(1)));
  for (auto& job : jobs) {
    EXPECT_EQ(job->answers(), 1);
    EXPECT_TRUE(job->status().ok());
  }
  auto late = Make();
  executor.Submit(late, {});
  EXPECT_EQ(late->status().code(), Code::kUnavailable);
}

TEST(Executor, DrainStopsWhatTakesTooLong) {
  Gate gate;
  Executor executor(4, Fake());
  auto running = Make({.run_until_cancelled = true});
  auto queued = Make(), building = Make({.slow = true, .prepare_until = &gate});
  executor.Submit(running, {});
  ASSERT_TRUE(running->running.WaitLong());
  executor.Submit(queued, {});
  executor.Submit(building, {});
  EXPECT_FALSE(executor.Drain(std::chrono::milliseconds(10)));
  for (auto& job : {running, queued, building}) {
    EXPECT_EQ(job->answers(), 1);
    EXPECT_EQ(job->status().code(), Code::kUnavailable);
  }
  ExpectEmpty(executor);
  gate.Open();
}

TEST(Executor, HandlesOutliveTheExecutor) {
  std::shared_ptr<CallHandle> handle;
  auto job = Make({.run_until_cancelled = true});
  {
    Executor executor(4, Fake());
    handle = executor.Submit(job, {});
  }
  EXPECT_EQ(job->answers(), 1);
  EXPECT_EQ(job->status().code(), Code::kUnavailable);
  handle->Cancel();
  EXPECT_EQ(job->answers(), 1);
}

// For the thread sanitizer, and for promises that hold in any order.
TEST(Executor, ManyThreadsSubmitAndCancel) {
  constexpr int kThreads = 4, kJobs = 200;
  Executor executor(16, Fake());
  std::vector<std::shared_ptr<FakeJob>> jobs(kThreads * kJobs);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kJobs; ++i) {
        const int kind = (t + i) % 5;
        auto& job = jobs[t * kJobs + i];
        job = Make({.quanta = 1 + kind, .slow = kind == 3});
        Executor::SubmitOptions options{.model = kind == 0 ? "a" : "b"};
        if (kind == 1) options.deadline = In(std::chrono::milliseconds(1));
        auto handle = executor.Submit(job, options);
        if (kind == 2 || kind == 3) handle->Cancel();
        if (i % 8 == 0) job->finished.WaitLong();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(executor.Drain(std::chrono::minutes(5)));
  for (auto& job : jobs) EXPECT_EQ(job->answers(), 1);
  ExpectEmpty(executor);
}

}  // namespace
}  // namespace unetd
