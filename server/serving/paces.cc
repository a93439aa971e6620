#include "server/serving/paces.h"

#include <algorithm>

namespace unetd {

void Paces::Add(const std::shared_ptr<const Plan>& plan, uint32_t rows,
                std::chrono::nanoseconds time, TimePoint now) {
  auto found = plans_.find(plan);
  if (found == plans_.end()) {
    std::erase_if(plans_, [](const auto& entry) { return entry.first.expired(); });
    found = plans_.emplace(plan, ByRows()).first;
  }
  Seen& seen = found->second[rows];
  if (now - seen.last > kForgotten) seen = Seen();
  seen.last = now;
  seen.count = std::min(seen.count + 1, kTrusted);
  seen.fastest = std::min(seen.fastest, time);
}

std::optional<std::chrono::nanoseconds> Paces::Fastest(const std::shared_ptr<const Plan>& plan,
                                                       uint32_t rows, TimePoint now) const {
  const auto found = plans_.find(plan);
  if (found == plans_.end()) return {};
  const ByRows& by_rows = found->second;
  for (auto seen = by_rows.upper_bound(rows); seen != by_rows.begin();) {
    const Seen& one = (--seen)->second;
    if (one.count == kTrusted && now - one.last <= kForgotten) return one.fastest;
  }
  return {};
}

}  // namespace unetd
