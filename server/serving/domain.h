// Domain: everything that serves one backend's memory domain: its runner, ledger, packed weights,
// plans and queue.
#pragma once

#include <memory>

#include "server/plan/ledger.h"
#include "server/plan/packed_store.h"
#include "server/plan/runner.h"
#include "server/serving/executor.h"
#include "server/serving/plan_cache.h"
#include "server/serving/stats.h"

namespace unetd {

struct Domain {
  std::shared_ptr<Backend> backend;
  std::shared_ptr<Ledger> ledger;
  std::unique_ptr<Runner> runner;
  std::unique_ptr<PackedStore> packed;
  std::unique_ptr<PlanCache> plans;
  std::unique_ptr<Executor> executor;  // last: its jobs use all of the above

  // `ledger_of`: of a memory domain, shared by all backends that own memory in it, and kept for as
  // long as this; `queue_limit`: the executor's.
  static StatusOr<std::unique_ptr<Domain>> Create(std::shared_ptr<Backend> backend,
                                                  const Runner::LedgerOf& ledger_of,
                                                  size_t queue_limit);

  // kResourceExhausted if `rows` rows of `plan`, at `steps` schedule blocks a row, could not run
  // even alone.
  Status CheckFits(const Plan& plan, uint32_t rows, uint32_t steps) const;
  // Makes the arena as large as one request of `rows` rows would make it, or of fewer where those
  // would not fit; gives the rows. So forwards that requests share take no memory of their own.
  uint32_t MakeRoom(const Plan& plan, uint32_t rows, uint32_t steps);
  DomainStats Stats() const;
};

// Bytes entered in a ledger until this is destroyed.
class LedgerHold {
 public:
  LedgerHold() = default;
  static StatusOr<LedgerHold> Take(std::shared_ptr<Ledger> ledger, LedgerAccount account,
                                   uint64_t bytes, std::string_view what);
  LedgerHold(LedgerHold&& other) noexcept { *this = std::move(other); }
  LedgerHold& operator=(LedgerHold&& other) noexcept;
  ~LedgerHold() { Release(); }

 private:
  void Release();
  std::shared_ptr<Ledger> ledger_;
  LedgerAccount account_ = LedgerAccount::kRequests;
  uint64_t bytes_ = 0;
};

}  // namespace unetd
