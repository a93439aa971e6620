#include "server/plan/memory_planner.h"

#include <gtest/gtest.h>

#include <random>

namespace unetd {
namespace {

bool Alive(const Lifetime& a, const Lifetime& b) { return a.first <= b.last && b.first <= a.last; }
bool Overlap(const Lifetime& a, const Lifetime& b) {
  return a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

TEST(MemoryPlanner, BuffersAliveAtOnceNeverOverlap) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<Lifetime> buffers(60);
    for (Lifetime& buffer : buffers) {
      buffer.bytes = 1 + random() % 5000;
      buffer.first = random() % 40;
      buffer.last = buffer.first + random() % 8;
    }
    const uint64_t total = PlanOffsets(buffers);
    uint64_t busiest = 0;
    for (uint32_t op = 0; op < 48; ++op) {
      uint64_t alive = 0;
      for (const Lifetime& buffer : buffers)
        alive += buffer.first <= op && op <= buffer.last ? buffer.bytes : 0;
      busiest = std::max(busiest, alive);
    }
    EXPECT_GE(total, busiest);
    for (size_t i = 0; i < buffers.size(); ++i) {
      EXPECT_EQ(buffers[i].offset % kAlignment, 0u);
      EXPECT_LE(buffers[i].offset + buffers[i].bytes, total);
      for (size_t j = 0; j < i; ++j) {
        EXPECT_FALSE(Alive(buffers[i], buffers[j]) && Overlap(buffers[i], buffers[j]))
            << i << " and " << j;
      }
    }
  }
}

TEST(MemoryPlanner, AChainNeedsTwoBuffersOnly) {
  std::vector<Lifetime> chain;
  for (uint32_t i = 0; i < 20; ++i) chain.push_back({1024, i, i + 1, 0});
  EXPECT_EQ(PlanOffsets(chain), 2048u);
}

}  // namespace
}  // namespace unetd
