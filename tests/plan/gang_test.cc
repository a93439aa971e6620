#include "server/plan/gang.h"

#include <gtest/gtest.h>

#include <thread>

namespace unetd {
namespace {

struct Counts {
  std::vector<std::atomic<int>> runs;
  std::atomic<uint32_t> highest_thread{0};
  explicit Counts(size_t tasks) : runs(tasks) {}
  static void Run(void* self, uint32_t task, uint32_t thread) {
    Counts& counts = *static_cast<Counts*>(self);
    ++counts.runs[task];
    uint32_t highest = counts.highest_thread;
    while (thread > highest && !counts.highest_thread.compare_exchange_weak(highest, thread)) {
    }
  }
};

TEST(Gang, RunsEachTaskOnceOnAnyNumberOfThreads) {
  for (uint32_t threads : {1u, 2u, 3u, 5u}) {
    Gang gang(threads);
    EXPECT_EQ(gang.abi()->threads, threads);
    for (uint32_t tasks : {0u, 1u, 2u, 7u, 1000u}) {
      for (int round = 0; round < 50; ++round) {
        Counts counts(tasks);
        gang.abi()->parallel(gang.abi()->self, tasks, &Counts::Run, &counts);
        for (uint32_t task = 0; task < tasks; ++task)
          ASSERT_EQ(counts.runs[task], 1) << task << " of " << tasks;
        ASSERT_LT(counts.highest_thread, threads);
      }
    }
  }
}

// The workers must still come after they have gone to sleep.
TEST(Gang, WakesAfterARest) {
  Gang gang(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    Counts counts(64);
    gang.Parallel(64, &Counts::Run, &counts);
    for (auto& runs : counts.runs) ASSERT_EQ(runs, 1);
  }
}

TEST(Gang, CallersTakeTurns) {
  Gang gang(2);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        Counts counts(9);
        gang.Parallel(9, &Counts::Run, &counts);
        for (auto& runs : counts.runs) wrong += runs != 1;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace unetd
