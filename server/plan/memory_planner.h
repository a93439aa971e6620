// Memory planner: offsets for buffers that live over known intervals, so that those alive at once
// do not overlap.
#pragma once

#include <cstdint>
#include <vector>

namespace unetd {

inline constexpr uint64_t kAlignment = 64;
constexpr uint64_t AlignUp(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

struct Lifetime {
  uint64_t bytes = 0;
  uint32_t first = 0;   // the operator that writes it
  uint32_t last = 0;    // the last that reads it
  uint64_t offset = 0;  // the answer, a multiple of kAlignment
};

// Sets every offset and returns the bytes in all. Greedy by size (Pisarchyk and Lee, "Efficient
// Memory Management for Deep Neural Net Inference", 2020): the largest first, each at the lowest
// offset free over its interval.
uint64_t PlanOffsets(std::vector<Lifetime>& buffers);

}  // namespace unetd
