// What the executor's three threads do.
#include <optional>
#include <utility>
#include <vector>

#include "server/serving/executor_core.h"

namespace unetd {

void Executor::Core::PrepareJobs() {
  std::unique_lock lock(mutex_);
  while (true) {
    prepare_.wait(lock, [this] { return stopping_ || !to_prepare_.empty(); });
    if (stopping_) return;
    const EntryPtr entry = to_prepare_.front();
    Unlist(*entry);
    lock.unlock();
    Prepare(entry);
    lock.lock();
  }
}

void Executor::Core::Work() {
  Lock lock(mutex_);
  while (!stopping_) {
    const TimePoint now = Clock::now();
    std::optional<TimePoint> until;
    std::vector<EntryPtr> flight = ChooseFlight(now, until);
    if (!flight.empty()) {
      if (!EndHopeless(flight, now, lock)) Fly(std::move(flight), lock);
    } else if (until) {
      work_.wait_until(lock, *until);
    } else {
      work_.wait(lock);
    }
  }
}

void Executor::Core::WatchDeadlines() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (timers_.empty()) {
      timer_.wait(lock);
      continue;
    }
    const TimePoint first = timers_.begin()->first;
    if (Clock::now() < first) {
      timer_.wait_until(lock, first);
      continue;
    }
    const auto [entry, start_by] = timers_.begin()->second;
    std::erase(entry->timers, timers_.begin());
    timers_.erase(timers_.begin());
    if (start_by && entry->started) continue;
    lock.unlock();
    Stop(entry, DeadlineExceeded(start_by ? "Request timeout expired"
                                          : "the request's deadline has passed"));
    lock.lock();
  }
}

}  // namespace unetd
