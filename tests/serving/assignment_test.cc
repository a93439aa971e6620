#include "server/serving/assignment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "server/base/hash.h"

namespace unetd {
namespace {

constexpr int kIds = 100'000;

std::vector<int> Draw(const Assignment& assignment, size_t arms, bool with_ids) {
  std::vector<int> counts(arms);
  for (int i = 0; i < kIds; ++i) {
    ++counts[*assignment.Choose("", with_ids ? "request-" + std::to_string(i) : "")];
  }
  return counts;
}

// Five standard deviations of a binomial.
void ExpectShares(const std::vector<int>& counts, const std::vector<double>& shares) {
  for (size_t i = 0; i < shares.size(); ++i) {
    const double p = shares[i];
    EXPECT_NEAR(counts[i], kIds * p, 5 * std::sqrt(kIds * p * (1 - p))) << i;
  }
}

TEST(Assignment, SharesFollowTheWeights) {
  const Assignment assignment("m", {{"a", 90}, {"b", 0}, {"c", 9}, {"d", 1}});
  const std::vector<double> shares = {0.9, 0, 0.09, 0.01};
  for (size_t i = 0; i < shares.size(); ++i) EXPECT_DOUBLE_EQ(assignment.Share(i), shares[i]);
  ExpectShares(Draw(assignment, 4, true), shares);
  ExpectShares(Draw(assignment, 4, false), shares);
}

TEST(Assignment, AnIdStaysWithItsVariant) {
  const Assignment one("m", {{"a", 1}, {"b", 1}}), two("m", {{"a", 0.5}, {"b", 0.5}});
  for (int i = 0; i < 1000; ++i) {
    const std::string id = std::to_string(i);
    EXPECT_EQ(*one.Choose("", id), *two.Choose("", id));
  }
}

// Other programs compute it too: it is documented, so it must never change.
TEST(Assignment, IsWhatItsDocumentationSays) {
  const Assignment assignment("sd15", {{"a", 1}, {"b", 3}});
  for (const std::string id : {"1", "order-77", "x"}) {
    const double point = static_cast<double>(StableHash(id, StableHash("sd15")) >> 11) * 0x1p-53;
    EXPECT_EQ(*assignment.Choose("", id), point < 0.25 ? 0u : 1u) << id;
  }
}

TEST(Assignment, ModelsAreIndependent) {
  const Assignment one("m", {{"a", 1}, {"b", 1}}), two("n", {{"a", 1}, {"b", 1}});
  int same = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::string id = std::to_string(i);
    same += *one.Choose("", id) == *two.Choose("", id);
  }
  EXPECT_NEAR(same, 5000, 5 * 50);
}

TEST(Assignment, APinWins) {
  const Assignment assignment("m", {{"a", 1}, {"never", 0}});
  EXPECT_EQ(*assignment.Choose("never", "any"), 1u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(*assignment.Choose("", std::to_string(i)), 0u);
  const auto unknown = assignment.Choose("b\n", "");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.status().code(), Code::kNotFound);
  EXPECT_EQ(unknown.status().message(), "model 'm' has no variant 'b\\n'; it has: a, never");
}

TEST(Assignment, HugeWeightsDoNotOverflow) {
  const Assignment assignment("m", {{"a", 1e308}, {"b", 1e308}, {"c", 1e308}});
  ExpectShares(Draw(assignment, 3, true), {1.0 / 3, 1.0 / 3, 1.0 / 3});
}

}  // namespace
}  // namespace unetd
