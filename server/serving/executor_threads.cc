// What the executor's three threads do.
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
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stopping_ || !ready_.empty(); });
    if (stopping_) return;
    EntryPtr entry = ready_.front();
    Unlist(*entry);
    entry->state = State::kExecuting;
    const TimePoint begin = Clock::now();
    entry->queued += begin - entry->waiting_since;
    if (!entry->started) {
      entry->started = true;
      JobCounts& counts = counts_[entry->options.model];
      --counts.queued;
      ++counts.running;
    }
    Job& job = *entry->job;
    lock.unlock();
    StatusOr<Job::Progress> progress = job.Run(entry->cancel);
    lock.lock();
    const TimePoint now = Clock::now();
    entry->ran += now - begin;
    entry->waiting_since = now;
    // A job that ended while it was being stopped has ended; one with quanta left stops here.
    Status status = progress.ok() ? OkStatus() : progress.status();
    const bool more = progress.ok() && *progress == Job::Progress::kMore;
    if (more && entry->stop.ok()) {
      PushReady(entry);
      continue;
    }
    if (!entry->stop.ok() && (more || status.code() == Code::kCancelled)) status = entry->stop;
    Ended ended = End(entry, std::move(status));
    entry.reset();
    lock.unlock();
    Answer(std::move(ended));
    lock.lock();
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
