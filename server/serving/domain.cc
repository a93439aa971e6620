#include "server/serving/domain.h"

#include <utility>

#include "server/base/text.h"

namespace unetd {
namespace {

// Plans are lists of operators, small beside their weights; this holds hundreds of sizes.
constexpr uint64_t kPlanCacheBytes = uint64_t{256} << 20;

}  // namespace

StatusOr<std::unique_ptr<Domain>> Domain::Create(std::shared_ptr<Backend> backend,
                                                 const Runner::LedgerOf& ledger_of,
                                                 size_t queue_limit) {
  auto domain = std::make_unique<Domain>();
  domain->backend = backend;
  domain->ledger = ledger_of(backend->domain());
  ASSIGN_OR_RETURN(domain->runner, Runner::Create(backend, domain->ledger, 0, ledger_of));
  domain->packed = std::make_unique<PackedStore>(backend, domain->ledger);
  domain->plans = std::make_unique<PlanCache>(domain->ledger, kPlanCacheBytes);
  domain->executor = std::make_unique<Executor>(queue_limit, MakeStepRunner(*domain->runner));
  return domain;
}

Status Domain::CheckFits(const Plan& plan, uint32_t rows, uint32_t steps) const {
  const uint64_t arena = plan.ArenaBytes(rows, runner->threads());
  const uint64_t blocks = plan.BlockBytes(rows, steps);
  const uint64_t fixed =
      ledger->held(LedgerAccount::kWeights) + ledger->held(LedgerAccount::kPlans);
  const uint64_t limit = ledger->limit();
  if (fixed <= limit && arena <= limit - fixed && blocks <= limit - fixed - arena) {
    return OkStatus();
  }
  return ResourceExhausted(Format(
      "{} row{} of this shape need an arena of {} and blocks of {}; beside weights and plans "
      "of {} that is over the limit of {} (server.limits.memory_mib)",
      rows, rows == 1 ? "" : "s", HumanBytes(arena), HumanBytes(blocks), HumanBytes(fixed),
      HumanBytes(limit)));
}

uint32_t Domain::MakeRoom(const Plan& plan, uint32_t rows, uint32_t steps) {
  while (rows > 1 && !(CheckFits(plan, rows, steps).ok() && runner->Admit(plan, rows).ok())) --rows;
  return rows;
}

DomainStats Domain::Stats() const {
  DomainStats stats;
  stats.backend = backend->name();
  stats.domain = backend->domain();
  const JobCounts counts = executor->counts();
  stats.queued = counts.queued;
  stats.running = counts.running;
  stats.memory_limit = ledger->limit();
  stats.weights_bytes = ledger->held(LedgerAccount::kWeights);
  stats.arena_bytes = ledger->held(LedgerAccount::kArena);
  stats.requests_bytes = ledger->held(LedgerAccount::kRequests);
  stats.plans_bytes = ledger->held(LedgerAccount::kPlans);
  return stats;
}

StatusOr<LedgerHold> LedgerHold::Take(std::shared_ptr<Ledger> ledger, LedgerAccount account,
                                      uint64_t bytes, std::string_view what) {
  RETURN_IF_ERROR(ledger->Reserve(account, bytes, what));
  LedgerHold hold;
  hold.ledger_ = std::move(ledger);
  hold.account_ = account;
  hold.bytes_ = bytes;
  return hold;
}

LedgerHold& LedgerHold::operator=(LedgerHold&& other) noexcept {
  Release();
  ledger_ = std::move(other.ledger_);
  account_ = other.account_;
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

void LedgerHold::Release() {
  if (ledger_ != nullptr) ledger_->Release(account_, bytes_);
  ledger_ = nullptr;
  bytes_ = 0;
}

}  // namespace unetd
