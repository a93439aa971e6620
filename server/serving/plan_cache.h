// PlanCache: the plans of a domain by key, bounded in bytes; the least recently used one goes
// first.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "server/plan/ledger.h"
#include "server/plan/plan.h"

namespace unetd {

// Any thread. A plan that was dropped lives on while someone runs it, and stays in the ledger until
// then.
class PlanCache {
 public:
  using PlanPtr = std::shared_ptr<const Plan>;
  using Build = std::function<StatusOr<PlanPtr>()>;

  struct Counts {
    uint64_t hits = 0;
    uint64_t misses = 0;  // builds
    uint64_t plans = 0;
    uint64_t bytes = 0;
  };

  PlanCache(std::shared_ptr<Ledger> ledger, uint64_t limit_bytes)
      : ledger_(std::move(ledger)), limit_(limit_bytes) {}

  // Null if it is not there.
  PlanPtr Find(const std::string& key);
  // Builds it if it is not there, with no lock held: others find what there is meanwhile, and who
  // asks for the same key waits for this one build. A `pinned` plan is never dropped, and does not
  // count against the limit.
  StatusOr<PlanPtr> FindOrBuild(const std::string& key, const Build& build, bool pinned = false);
  Counts counts() const;

 private:
  struct Entry {
    PlanPtr plan;
    uint64_t bytes = 0;
    bool pinned = false;
    std::list<std::string>::iterator position;  // in recent_, unless pinned
  };

  PlanPtr Use(Entry& entry);                                     // with mutex_ held
  StatusOr<PlanPtr> Enter(const PlanPtr& plan, uint64_t bytes);  // in the ledger
  void DropOldest();                                             // with mutex_ held

  const std::shared_ptr<Ledger> ledger_;
  const uint64_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable built_;
  std::map<std::string, Entry> entries_;
  std::list<std::string> recent_;  // least recently used first
  std::set<std::string> building_;
  uint64_t bytes_ = 0;  // of what is not pinned
  uint64_t hits_ = 0;
  uint64_t misses_ = 0;
};

}  // namespace unetd
