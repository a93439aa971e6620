#include "server/plan/ledger.h"

#include <fmt/format.h>

#include "server/base/text.h"

namespace unetd {

std::string_view LedgerAccountName(LedgerAccount account) {
  static constexpr std::string_view kNames[] = {"weights", "arena", "requests", "plans"};
  return kNames[static_cast<int>(account)];
}

Status Ledger::Reserve(LedgerAccount account, uint64_t bytes, std::string_view what) {
  std::lock_guard lock(mutex_);
  if (bytes > limit_ || total_ > limit_ - bytes) {
    const Status full = ResourceExhausted(
        fmt::format("{} needs {}, but {} of the limit of {} (server.limits.memory_mib) are held",
                    what, HumanBytes(bytes), HumanBytes(total_), HumanBytes(limit_)));
    const uint64_t lasting = total_ - held_[static_cast<int>(LedgerAccount::kRequests)];
    return bytes <= limit_ && lasting <= limit_ - bytes ? full.WithRetry() : full;
  }
  total_ += bytes;
  held_[static_cast<int>(account)] += bytes;
  return OkStatus();
}

void Ledger::Release(LedgerAccount account, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  total_ -= bytes;
  held_[static_cast<int>(account)] -= bytes;
}

uint64_t Ledger::held() const {
  std::lock_guard lock(mutex_);
  return total_;
}

uint64_t Ledger::held(LedgerAccount account) const {
  std::lock_guard lock(mutex_);
  return held_[static_cast<int>(account)];
}

}  // namespace unetd
