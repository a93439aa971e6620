#include "server/serving/plan_cache.h"

#include <utility>

namespace unetd {
namespace {

// A plan and its place in the ledger, which it leaves when its last user has gone.
struct Held {
  PlanCache::PlanPtr plan;
  std::shared_ptr<Ledger> ledger;
  uint64_t bytes = 0;
  Held() = default;
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    if (ledger != nullptr) ledger->Release(LedgerAccount::kPlans, bytes);
  }
};

}  // namespace

PlanCache::PlanPtr PlanCache::Use(Entry& entry) {
  if (!entry.pinned) recent_.splice(recent_.end(), recent_, entry.position);
  ++hits_;
  return entry.plan;
}

PlanCache::PlanPtr PlanCache::Find(const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : Use(found->second);
}

StatusOr<PlanCache::PlanPtr> PlanCache::FindOrBuild(const std::string& key, const Build& build,
                                                    bool pinned) {
  {
    std::unique_lock lock(mutex_);
    built_.wait(lock, [&] { return !building_.contains(key); });
    if (const auto found = entries_.find(key); found != entries_.end()) {
      Entry& entry = found->second;
      PlanPtr plan = Use(entry);
      if (pinned && !entry.pinned) {
        recent_.erase(entry.position);
        bytes_ -= entry.bytes;
        entry.pinned = true;
      }
      return plan;
    }
    building_.insert(key);
    ++misses_;
  }
  StatusOr<PlanPtr> built = build();
  const uint64_t bytes = built.ok() ? (*built)->CacheBytes() : 0;
  if (built.ok()) built = Enter(*built, bytes);
  std::lock_guard lock(mutex_);
  building_.erase(key);
  built_.notify_all();
  if (!built.ok()) return built;
  Entry entry;
  entry.plan = *built;
  entry.bytes = bytes;
  entry.pinned = pinned;
  if (!pinned) {
    bytes_ += bytes;
    entry.position = recent_.insert(recent_.end(), key);
  }
  entries_.emplace(key, std::move(entry));
  while (bytes_ > limit_ && recent_.size() > 1) DropOldest();
  return built;
}

StatusOr<PlanCache::PlanPtr> PlanCache::Enter(const PlanPtr& plan, uint64_t bytes) {
  while (true) {
    const Status status = ledger_->Reserve(LedgerAccount::kPlans, bytes, "a plan");
    if (status.ok()) break;
    std::lock_guard lock(mutex_);
    if (recent_.empty()) return status;
    DropOldest();
  }
  auto held = std::make_shared<Held>();
  held->plan = plan;
  held->ledger = ledger_;
  held->bytes = bytes;
  return PlanPtr(held, plan.get());
}

void PlanCache::DropOldest() {
  const auto oldest = entries_.find(recent_.front());
  bytes_ -= oldest->second.bytes;
  entries_.erase(oldest);
  recent_.pop_front();
}

PlanCache::Counts PlanCache::counts() const {
  std::lock_guard lock(mutex_);
  Counts counts;
  counts.hits = hits_;
  counts.misses = misses_;
  counts.plans = entries_.size();
  for (const auto& [key, entry] : entries_) counts.bytes += entry.bytes;
  return counts;
}

}  // namespace unetd
