#include "server/serving/plan_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/serving/fake_job.h"

namespace unetd {
namespace {

using PlanPtr = PlanCache::PlanPtr;

StatusOr<PlanPtr> Empty() { return PlanPtr(std::make_shared<Plan>()); }

struct Fixture {
  explicit Fixture(uint64_t plans)
      : ledger(std::make_shared<Ledger>(uint64_t{1} << 30)),
        one(Plan().CacheBytes()),
        cache(ledger, plans * one) {}
  uint64_t held() const { return ledger->held(LedgerAccount::kPlans); }
  std::shared_ptr<Ledger> ledger;
  uint64_t one;
  PlanCache cache;
};

TEST(PlanCache, DropsTheLeastRecentlyUsed) {
  Fixture f(2);
  ASSERT_TRUE(f.cache.FindOrBuild("a", Empty).ok());
  ASSERT_TRUE(f.cache.FindOrBuild("b", Empty).ok());
  EXPECT_NE(f.cache.Find("a"), nullptr);
  ASSERT_TRUE(f.cache.FindOrBuild("c", Empty).ok());
  EXPECT_EQ(f.cache.Find("b"), nullptr);
  EXPECT_NE(f.cache.Find("a"), nullptr);
  EXPECT_NE(f.cache.Find("c"), nullptr);
  EXPECT_EQ(f.cache.counts().plans, 2u);
  EXPECT_EQ(f.cache.counts().misses, 3u);
  EXPECT_EQ(f.held(), 2 * f.one);
}

TEST(PlanCache, PinnedPlansStay) {
  Fixture f(1);
  ASSERT_TRUE(f.cache.FindOrBuild("pinned", Empty, true).ok());
  for (const char* key : {"a", "b", "c"}) ASSERT_TRUE(f.cache.FindOrBuild(key, Empty).ok());
  EXPECT_NE(f.cache.Find("pinned"), nullptr);
  EXPECT_EQ(f.cache.counts().plans, 2u);
  ASSERT_TRUE(f.cache.FindOrBuild("c", Empty, true).ok());
  ASSERT_TRUE(f.cache.FindOrBuild("d", Empty).ok());
  EXPECT_NE(f.cache.Find("c"), nullptr);
}

TEST(PlanCache, ADroppedPlanStaysInTheLedgerWhileItIsUsed) {
  Fixture f(1);
  auto used = f.cache.FindOrBuild("a", Empty);
  ASSERT_TRUE(used.ok());
  ASSERT_TRUE(f.cache.FindOrBuild("b", Empty).ok());
  EXPECT_EQ(f.cache.Find("a"), nullptr);
  EXPECT_EQ(f.held(), 2 * f.one);
  used = Status(Code::kNotFound, "let go");
  EXPECT_EQ(f.held(), f.one);
}

TEST(PlanCache, AFailedBuildIsTriedAgain) {
  Fixture f(2);
  const auto failed =
      f.cache.FindOrBuild("a", []() -> StatusOr<PlanPtr> { return Unimplemented("no"); });
  EXPECT_EQ(failed.status().code(), Code::kUnimplemented);
  EXPECT_EQ(f.cache.Find("a"), nullptr);
  EXPECT_TRUE(f.cache.FindOrBuild("a", Empty).ok());
}

TEST(PlanCache, OverTheLedgersLimitOldPlansMakeRoom) {
  const uint64_t one = Plan().CacheBytes();
  auto ledger = std::make_shared<Ledger>(2 * one);
  PlanCache cache(ledger, 100 * one);
  for (const char* key : {"a", "b", "c"}) EXPECT_TRUE(cache.FindOrBuild(key, Empty).ok()) << key;
  EXPECT_EQ(cache.counts().plans, 2u);
  ASSERT_TRUE(ledger->Reserve(LedgerAccount::kWeights, 0, "nothing").ok());
  PlanCache other(ledger, 100 * one);
  EXPECT_EQ(other.FindOrBuild("d", Empty).status().code(), Code::kResourceExhausted);
}

TEST(PlanCache, OneBuildAtATimeAndOthersAreNotHeldUp) {
  Fixture f(4);
  Gate gate, building;
  std::atomic<int> builds{0};
  const auto slow = [&]() -> StatusOr<PlanPtr> {
    ++builds;
    building.Open();
    gate.Wait();
    return Empty();
  };
  std::vector<PlanPtr> plans(4);
  std::vector<std::thread> threads;
  for (PlanPtr& plan : plans) {
    threads.emplace_back([&] { plan = *f.cache.FindOrBuild("slow", slow); });
  }
  ASSERT_TRUE(building.WaitLong());
  EXPECT_TRUE(f.cache.FindOrBuild("quick", Empty).ok());  // the slow one is still being built
  EXPECT_EQ(f.cache.Find("slow"), nullptr);
  gate.Open();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(builds, 1);
  for (const PlanPtr& plan : plans) EXPECT_EQ(plan, plans[0]);
}

}  // namespace
}  // namespace unetd
