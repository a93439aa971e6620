// Paces: the fastest forward that was seen of each plan and number of rows, so that a deadline
// which cannot be met is known beforehand.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "server/plan/plan.h"
#include "server/serving/request.h"

namespace unetd {

// Not locked. Keeps no plan alive.
class Paces {
 public:
  // So many forwards are seen before their time is believed: the first ones find caches cold, and a
  // pace that is too slow would refuse the very requests that could correct it.
  static constexpr uint32_t kTrusted = 3;
  // After so long without a forward nothing is known any more, for the same reason.
  static constexpr std::chrono::minutes kForgotten{1};

  void Add(const std::shared_ptr<const Plan>& plan, uint32_t rows, std::chrono::nanoseconds time,
           TimePoint now);
  // What a forward of `rows` rows takes at least: the time of the most rows up to these that were
  // seen. Unset: too few were.
  std::optional<std::chrono::nanoseconds> Fastest(const std::shared_ptr<const Plan>& plan,
                                                  uint32_t rows, TimePoint now) const;

 private:
  struct Seen {
    TimePoint last;
    uint32_t count = 0;
    std::chrono::nanoseconds fastest = std::chrono::nanoseconds::max();
  };
  using ByRows = std::map<uint32_t, Seen>;
  std::map<std::weak_ptr<const Plan>, ByRows, std::owner_less<>> plans_;
};

}  // namespace unetd
