// Turns: in what order the jobs that are ready get the worker.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>

namespace unetd {

// The least turn goes next. It is the number of rows that the domain had run when the job began to
// wait, plus the rows that the job has been served itself, up to kMostCharged, plus
// kRowsALevel a level of priority. So
// - a fresh inference goes before the 40th step of a loop, and loops alternate;
// - a higher level goes before a lower one;
// - nobody starves: however many others come, at most kMostCharged rows of theirs go before a
//   job's next forward, and kRowsALevel more a level that they stand above it.
struct Turn {
  static constexpr uint64_t kMostCharged = 16;
  static constexpr uint64_t kRowsALevel = 64;
  static constexpr uint64_t kDefaultPriority = 4;
  static constexpr uint64_t kLowestPriority = 8;  // what is lower counts as this

  uint64_t due = 0;
  uint64_t number = 0;  // of two that are due at once, who came first

  friend auto operator<=>(const Turn&, const Turn&) = default;

  // `priority` as requests say it: 0 the default, 1 the highest.
  static uint64_t Due(uint64_t domain_rows, uint64_t own_rows, uint64_t priority) {
    const uint64_t level = priority == 0 ? kDefaultPriority : std::min(priority, kLowestPriority);
    return domain_rows + std::min(own_rows, kMostCharged) + level * kRowsALevel;
  }
};

}  // namespace unetd
