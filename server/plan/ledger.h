// Ledger: one a domain. Every byte that a model, a plan or a request holds there is entered first,
// and refused over the limit.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "server/base/status.h"

namespace unetd {

enum class LedgerAccount { kWeights = 0, kArena = 1, kRequests = 2, kPlans = 3 };
inline constexpr int kLedgerAccounts = 4;
std::string_view LedgerAccountName(LedgerAccount account);

class Ledger {
 public:
  explicit Ledger(uint64_t limit_bytes) : limit_(limit_bytes) {}

  // kResourceExhausted naming `what`, the bytes asked, what is held and the limit; a retry helps if
  // there were room but for requests that run.
  Status Reserve(LedgerAccount account, uint64_t bytes, std::string_view what);
  void Release(LedgerAccount account, uint64_t bytes);

  uint64_t limit() const { return limit_; }
  uint64_t held() const;
  uint64_t held(LedgerAccount account) const;

 private:
  const uint64_t limit_;
  mutable std::mutex mutex_;
  std::array<uint64_t, kLedgerAccounts> held_{};
  uint64_t total_ = 0;
};

}  // namespace unetd
