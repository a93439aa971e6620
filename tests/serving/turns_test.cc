// Whose turn it is, and deadlines that cannot be met.
#include "server/serving/turns.h"

#include <gtest/gtest.h>

#include "server/serving/executor.h"
#include "server/serving/paces.h"
#include "tests/serving/fake_job.h"

namespace unetd {
namespace {

std::shared_ptr<FakeJob> Make(FakeJob::Plan plan = {}) {
  return std::make_shared<FakeJob>(std::move(plan));
}

TEST(Turns, AreWhatTheirDocumentationSays) {
  EXPECT_LT(Turn::Due(100, 0, 0), Turn::Due(100, 1, 0));               // who was served less
  EXPECT_EQ(Turn::Due(100, 40, 0), Turn::Due(100, 400, 0));            // all long loops alike
  EXPECT_LT(Turn::Due(100, 400, 0), Turn::Due(117, 0, 0));             // who waited longer
  EXPECT_LT(Turn::Due(100, 400, 1), Turn::Due(100, 0, 2));             // the higher level
  EXPECT_LT(Turn::Due(100, 0, 8), Turn::Due(100 + 7 * 64 + 1, 0, 1));  // but not for ever
  EXPECT_EQ(Turn::Due(5, 0, 0), Turn::Due(5, 0, Turn::kDefaultPriority));
  EXPECT_EQ(Turn::Due(5, 0, ~uint64_t{0}), Turn::Due(5, 0, Turn::kLowestPriority));
  EXPECT_LT((Turn{7, 1}), (Turn{7, 2}));
}

TEST(Turns, AFreshInferenceGoesBeforeALoopsNextStep) {
  Journal journal;
  std::unique_ptr<Executor> executor;
  auto loop = Make({.name = "loop", .quanta = 50, .journal = &journal});
  auto fresh = Make({.name = "fresh", .journal = &journal});
  executor =
      std::make_unique<Executor>(8, Fake([&, forwards = 0](const auto&, const CancelFlag&) mutable {
                                   if (++forwards == 40) executor->Submit(fresh, {});
                                   return OkStatus();
                                 }));
  executor->Submit(loop, {});
  ASSERT_TRUE(loop->finished.WaitLong());
  const auto lines = journal.lines();
  ASSERT_EQ(lines.size(), 53u);
  EXPECT_EQ(lines[39], "loop run");
  EXPECT_EQ(lines[40], "fresh run");
  EXPECT_EQ(lines[42], "loop run");
}

// As soon as one of `kind` runs another one is there, until `until` has had its answer. Gives the
// names of who ran.
std::vector<std::string> Flood(FakeJob::Plan kind, uint64_t priority,
                               const std::shared_ptr<FakeJob>& until, uint64_t its_priority) {
  Journal flights;
  std::vector<std::shared_ptr<FakeJob>> flood;
  std::atomic<bool> over = false;
  std::unique_ptr<Executor> executor;
  Gate gate;
  const auto add = [&] {
    flood.push_back(Make(kind));
    executor->Submit(flood.back(), {.priority = priority});
  };
  executor = std::make_unique<Executor>(
      64, Fake([&](const std::vector<FakeJob*>& jobs, const CancelFlag&) {
        gate.Wait();
        flights.Add(jobs[0]->name());
        if (jobs[0] != until.get() && !over) add();
        return OkStatus();
      }));
  add();
  executor->Submit(until, {.priority = its_priority});
  gate.Open();
  EXPECT_TRUE(until->finished.WaitLong());
  over = true;
  EXPECT_TRUE(executor->Drain(std::chrono::minutes(5)));
  return flights.lines();
}

// The most others between two turns of `name`.
uint64_t LongestGap(const std::vector<std::string>& lines, const std::string& name) {
  uint64_t longest = 0, gap = 0;
  for (const std::string& line : lines) {
    ++gap;
    if (line != name) continue;
    longest = std::max(longest, gap - 1);
    gap = 0;
  }
  return longest;
}

TEST(Turns, NoFloodOfFreshInferencesStarvesALoop) {
  auto loop = Make({.name = "loop", .quanta = 60});
  const auto lines = Flood({.name = "fresh"}, 0, loop, 0);
  EXPECT_TRUE(loop->status().ok());
  EXPECT_LE(LongestGap(lines, "loop"), Turn::kMostCharged + 2);
  EXPECT_GE(LongestGap(lines, "loop"), Turn::kMostCharged - 2);  // and the fresh ones came first
}

TEST(Turns, TheHighestLevelStarvesNobody) {
  auto low = Make({.name = "low", .quanta = 3});
  const auto lines = Flood({.name = "high"}, 1, low, 8);
  EXPECT_TRUE(low->status().ok());
  const uint64_t bound = Turn::kMostCharged + 7 * Turn::kRowsALevel + 2;
  EXPECT_LE(LongestGap(lines, "low"), bound);
  EXPECT_GE(LongestGap(lines, "low"), 7 * Turn::kRowsALevel - 2);
}

TEST(Turns, AHigherLevelGoesFirst) {
  Journal journal;
  Gate gate;
  Executor executor(8, Fake());
  auto holder = Make({.name = "holder", .run_until = &gate});
  executor.Submit(holder, {});
  ASSERT_TRUE(holder->running.WaitLong());
  auto low = Make({.name = "low", .journal = &journal});
  auto usual = Make({.name = "usual", .journal = &journal});
  auto high = Make({.name = "high", .quanta = 3, .journal = &journal});
  executor.Submit(low, {.priority = 5});
  executor.Submit(usual, {});
  executor.Submit(high, {.priority = 3});
  gate.Open();
  for (auto& job : {low, usual, high}) ASSERT_TRUE(job->finished.WaitLong());
  EXPECT_EQ(journal.lines(),
            (std::vector<std::string>{"high run", "high run", "high run", "high ok", "usual run",
                                      "usual ok", "low run", "low ok"}));
}

TEST(Paces, BelieveWhatWasSeenOften) {
  using std::chrono::milliseconds;
  const TimePoint now = Clock::now();
  auto plan = std::make_shared<const Plan>();
  Paces paces;
  EXPECT_FALSE(paces.Fastest(plan, 4, now).has_value());
  for (const int time : {9, 5, 7}) {
    EXPECT_FALSE(paces.Fastest(plan, 4, now).has_value());
    paces.Add(plan, 2, milliseconds(time), now);
  }
  EXPECT_EQ(paces.Fastest(plan, 2, now), milliseconds(5));
  EXPECT_EQ(paces.Fastest(plan, 4, now), milliseconds(5));  // more rows are not faster
  EXPECT_FALSE(paces.Fastest(plan, 1, now).has_value());
  paces.Add(plan, 4, milliseconds(20), now);
  EXPECT_EQ(paces.Fastest(plan, 4, now), milliseconds(5));  // seen once
  auto other = std::make_shared<const Plan>();
  EXPECT_FALSE(paces.Fastest(other, 2, now).has_value());
}

// Else requests that are refused for a pace of a bad moment would be refused for ever.
TEST(Paces, AreForgotten) {
  using std::chrono::milliseconds;
  const TimePoint now = Clock::now(), later = now + Paces::kForgotten + milliseconds(1);
  auto plan = std::make_shared<const Plan>();
  Paces paces;
  for (int i = 0; i < 3; ++i) paces.Add(plan, 1, milliseconds(9), now);
  EXPECT_EQ(paces.Fastest(plan, 1, now + Paces::kForgotten), milliseconds(9));
  EXPECT_FALSE(paces.Fastest(plan, 1, later).has_value());
  paces.Add(plan, 1, milliseconds(50), later);
  EXPECT_FALSE(paces.Fastest(plan, 1, later).has_value());
  for (int i = 0; i < 2; ++i) paces.Add(plan, 1, milliseconds(50), later);
  EXPECT_EQ(paces.Fastest(plan, 1, later), milliseconds(50));
}

// Forwards that take two milliseconds at least.
std::unique_ptr<StepRunner> Slow() {
  return Fake([](const auto&, const CancelFlag&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return OkStatus();
  });
}

TEST(Deadlines, ThatCannotBeMetAreRefusedAtOnce) {
  const std::shared_ptr<const Plan> plan = std::make_shared<const Plan>();
  Executor executor(8, Slow());
  auto first = Make({.plan = &plan, .quanta = 3});
  executor.Submit(first, {});
  ASSERT_TRUE(first->finished.WaitLong());
  Journal journal;
  auto hopeless = Make({.plan = &plan, .quanta = 1'000'000, .journal = &journal});
  executor.Submit(hopeless, {.deadline = Clock::now() + std::chrono::seconds(60)});
  ASSERT_EQ(hopeless->answers(), 1);  // at once
  EXPECT_EQ(hopeless->status().code(), Code::kDeadlineExceeded);
  const std::string message = hopeless->status().message();
  EXPECT_TRUE(message.starts_with("the deadline cannot be met: 1000000 steps of ")) << message;
  EXPECT_TRUE(message.ends_with(" ms are left")) << message;
  EXPECT_EQ(journal.lines(), std::vector<std::string>{"job failed"});
  auto patient = Make({.plan = &plan, .quanta = 2});
  executor.Submit(patient, {.deadline = Clock::now() + std::chrono::hours(1)});
  ASSERT_TRUE(patient->finished.WaitLong());
  EXPECT_TRUE(patient->status().ok());
}

TEST(Deadlines, OutOfReachAreSeenBeforeTheFirstStep) {
  const std::shared_ptr<const Plan> plan = std::make_shared<const Plan>();
  Gate gate;
  Executor executor(8, Slow());
  auto first = Make({.plan = &plan, .quanta = 3, .run_until = &gate});
  executor.Submit(first, {.priority = 1});
  ASSERT_TRUE(first->running.WaitLong());
  // Nothing is known of the plan yet.
  auto hopeless = Make({.plan = &plan, .quanta = 1'000'000'000});
  executor.Submit(hopeless, {.deadline = Clock::now() + std::chrono::hours(1)});
  EXPECT_EQ(hopeless->answers(), 0);
  gate.Open();
  ASSERT_TRUE(hopeless->finished.WaitLong());
  EXPECT_TRUE(hopeless->status().message().starts_with("the deadline cannot be met"));
  EXPECT_TRUE(hopeless->counted().empty());
  ASSERT_TRUE(first->finished.WaitLong());
}

TEST(Deadlines, OutOfReachStopALoopBetweenSteps) {
  Executor executor(8, Slow());
  // Nothing is known of its plan when it comes.
  auto loop = Make({.quanta = 1'000'000'000});
  executor.Submit(loop, {.deadline = Clock::now() + std::chrono::hours(1)});
  ASSERT_TRUE(loop->finished.WaitLong());
  EXPECT_EQ(loop->status().code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(
      loop->status().message().starts_with("the deadline cannot be met: 999999997 steps of "))
      << loop->status().message();
  EXPECT_EQ(loop->counted().size(), Paces::kTrusted);
}

}  // namespace
}  // namespace unetd
