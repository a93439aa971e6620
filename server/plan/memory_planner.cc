#include "server/plan/memory_planner.h"

#include <algorithm>
#include <numeric>

namespace unetd {

uint64_t PlanOffsets(std::vector<Lifetime>& buffers) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  std::vector<const Lifetime*> placed;  // by offset
  uint64_t total = 0;
  for (size_t index : order) {
    Lifetime& buffer = buffers[index];
    uint64_t offset = 0;
    for (const Lifetime* other : placed) {
      if (other->last < buffer.first || buffer.last < other->first) continue;
      if (offset + buffer.bytes <= other->offset) break;
      offset = std::max(offset, other->offset + AlignUp(other->bytes));
    }
    buffer.offset = offset;
    total = std::max(total, offset + AlignUp(buffer.bytes));
    placed.insert(std::upper_bound(
                      placed.begin(), placed.end(), &buffer,
                      [](const Lifetime* a, const Lifetime* b) { return a->offset < b->offset; }),
                  &buffer);
  }
  return total;
}

}  // namespace unetd
