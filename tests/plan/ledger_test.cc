#include "server/plan/ledger.h"

#include <gtest/gtest.h>

namespace unetd {
namespace {

TEST(Ledger, RefusesOverTheLimitAndSaysWhat) {
  Ledger ledger(1000);
  EXPECT_TRUE(ledger.Reserve(LedgerAccount::kWeights, 600, "weights").ok());
  const Status status = ledger.Reserve(LedgerAccount::kArena, 500, "the arena");
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_NE(status.message().find("the arena needs 500 bytes"), std::string::npos)
      << status.message();
  EXPECT_NE(status.message().find("600 bytes"), std::string::npos) << status.message();
  EXPECT_EQ(ledger.held(), 600u);
  EXPECT_TRUE(ledger.Reserve(LedgerAccount::kArena, 400, "the arena").ok());
  ledger.Release(LedgerAccount::kWeights, 600);
  EXPECT_EQ(ledger.held(), 400u);
  EXPECT_EQ(ledger.held(LedgerAccount::kArena), 400u);
}

TEST(Ledger, ARetryHelpsIfOnlyRequestsAreInTheWay) {
  Ledger ledger(1000);
  ASSERT_TRUE(ledger.Reserve(LedgerAccount::kWeights, 300, "weights").ok());
  ASSERT_TRUE(ledger.Reserve(LedgerAccount::kRequests, 500, "a request").ok());
  EXPECT_TRUE(ledger.Reserve(LedgerAccount::kRequests, 700, "b").retry_helps());
  EXPECT_FALSE(ledger.Reserve(LedgerAccount::kRequests, 701, "c").retry_helps());
  EXPECT_FALSE(ledger.Reserve(LedgerAccount::kRequests, 2000, "d").retry_helps());
  EXPECT_TRUE(ledger.Reserve(LedgerAccount::kRequests, 700, "e").WithContext("f").retry_helps());
}

TEST(Ledger, HugeSizesDoNotWrapAround) {
  Ledger ledger(1000);
  EXPECT_TRUE(ledger.Reserve(LedgerAccount::kArena, 10, "a").ok());
  EXPECT_FALSE(ledger.Reserve(LedgerAccount::kArena, ~uint64_t{0}, "b").ok());
  EXPECT_FALSE(ledger.Reserve(LedgerAccount::kArena, ~uint64_t{0} - 5, "c").ok());
  EXPECT_EQ(ledger.held(), 10u);
}

}  // namespace
}  // namespace unetd
