#include "server/serving/executor_core.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "server/base/text.h"

namespace unetd {
namespace {

constexpr std::chrono::hours kLongestDrain(24 * 365);

using Milliseconds = std::chrono::duration<double, std::milli>;

Status Stopping() {
  return Unavailable("Server is stopping, it has stopped accepting new inference requests");
}

uint64_t Nanoseconds(std::chrono::nanoseconds duration) {
  return static_cast<uint64_t>(std::max<int64_t>(duration.count(), 0));
}

}  // namespace

class Executor::Core::Handle final : public CallHandle {
 public:
  Handle(std::shared_ptr<Core> core, EntryPtr entry)
      : core_(std::move(core)), entry_(std::move(entry)) {}
  void Cancel() override { core_->Stop(entry_, Cancelled("the request was cancelled")); }

 private:
  const std::shared_ptr<Core> core_;
  const EntryPtr entry_;
};

void Executor::Core::StartThreads() {
  worker_ = std::thread([this] { Work(); });
  preparer_ = std::thread([this] { PrepareJobs(); });
  watcher_ = std::thread([this] { WatchDeadlines(); });
}

void Executor::Core::StopThreads() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  prepare_.notify_all();
  timer_.notify_all();
  for (std::thread* thread : {&worker_, &preparer_, &watcher_}) thread->join();
}

std::shared_ptr<CallHandle> Executor::Core::Submit(std::shared_ptr<Job> job,
                                                   SubmitOptions options) {
  auto entry = std::make_shared<Entry>();
  entry->job = std::move(job);
  entry->options = std::move(options);
  entry->submitted = entry->waiting_since = Clock::now();
  auto handle = std::make_shared<Handle>(shared_from_this(), entry);
  const std::shared_ptr<Job> alive = entry->job;
  const bool slow = alive->SlowToPrepare();
  if (Status status = Admit(entry); !status.ok()) {
    JobTimes times;
    times.total_ns = Nanoseconds(Clock::now() - entry->submitted);
    alive->Finish(status, times);
    return handle;
  }
  if (slow) {
    std::lock_guard lock(mutex_);
    if (entry->state == State::kPreparing) {  // it may have ended meanwhile
      entry->to_prepare = to_prepare_.insert(to_prepare_.end(), entry);
      entry->listed = true;
      prepare_.notify_one();
    }
  } else {
    Prepare(entry);
  }
  return handle;
}

Status Executor::Core::Admit(const EntryPtr& entry) {
  std::lock_guard lock(mutex_);
  entry->state = State::kFinished;  // what is refused has ended
  if (closed_) return Stopping();
  const TimePoint now = entry->submitted;
  if (entry->options.deadline && *entry->options.deadline <= now) {
    return DeadlineExceeded("the deadline had passed when the request arrived");
  }
  if (entry->options.start_by && *entry->options.start_by <= now) {
    return DeadlineExceeded("Request timeout expired");
  }
  if (all_.size() > queue_limit_) {
    return ResourceExhausted(
               Format("Exceeds maximum queue size: {} requests wait already", queue_limit_))
        .WithRetry();
  }
  RETURN_IF_ERROR(CannotMeet(*entry, now));
  entry->state = State::kPreparing;
  entry->all = all_.insert(all_.end(), entry);
  ++CountsOf(*entry).queued;
  ++unanswered_;
  AddTimers(entry);
  return OkStatus();
}

void Executor::Core::Prepare(const EntryPtr& entry) {
  std::shared_ptr<Job> job;
  {
    std::lock_guard lock(mutex_);
    if (entry->state != State::kPreparing) return;
    job = entry->job;
  }
  Status status = job->Prepare();
  {
    std::lock_guard lock(mutex_);
    if (entry->state != State::kPreparing) return;  // answered meanwhile
    entry->state = State::kStaging;
  }
  if (status.ok()) status = job->Stage();
  job.reset();
  Ended ended;
  {
    std::lock_guard lock(mutex_);
    if (status.ok()) status = entry->stop;
    if (status.ok()) return PushReady(entry);
    ended = End(entry, std::move(status));
  }
  Answer(std::move(ended));
}

void Executor::Core::Stop(const EntryPtr& entry, const Status& reason) {
  Ended ended;
  {
    std::lock_guard lock(mutex_);
    if (entry->state == State::kFinished) return;
    if (entry->state == State::kExecuting || entry->state == State::kStaging) {
      if (entry->stop.ok()) entry->stop = reason;
      entry->cancel.store(1, std::memory_order_relaxed);
      CancelEmptyFlight();
      return;
    }
    ended = End(entry, reason);
  }
  Answer(std::move(ended));
}

Executor::Core::Ended Executor::Core::End(const EntryPtr& entry, Status status) {
  Ended ended;
  if (entry->state != State::kExecuting) entry->queued += Clock::now() - entry->waiting_since;
  ended.times.queue_ns = Nanoseconds(entry->queued);
  ended.times.run_ns = Nanoseconds(entry->ran);
  ended.times.total_ns = Nanoseconds(Clock::now() - entry->submitted);
  ended.status = std::move(status);
  ended.job = std::move(entry->job);
  Unlist(*entry);
  all_.erase(entry->all);
  for (const auto& timer : entry->timers) timers_.erase(timer);
  entry->timers.clear();
  JobCounts& counts = CountsOf(*entry);
  --(entry->started ? counts.running : counts.queued);
  entry->state = State::kFinished;
  return ended;
}

void Executor::Core::Answer(Ended ended) {
  ended.job->Finish(ended.status, ended.times);
  ended.job.reset();
  std::lock_guard lock(mutex_);
  if (--unanswered_ == 0) idle_.notify_all();
}

void Executor::Core::Answer(std::vector<Ended> ended) {
  for (Ended& one : ended) Answer(std::move(one));
}

JobCounts& Executor::Core::CountsOf(const Entry& entry) {
  return counts_[{entry.options.model, entry.options.variant}];
}

void Executor::Core::Unlist(Entry& entry) {
  if (!entry.listed) return;
  if (entry.state == State::kReady) {
    ready_.erase(ready_.find(entry.turn));
  } else {
    to_prepare_.erase(entry.to_prepare);
  }
  entry.listed = false;
}

void Executor::Core::PushReady(const EntryPtr& entry) {
  entry->state = State::kReady;
  entry->turn.due = Turn::Due(rows_run_, entry->rows_served, entry->options.priority);
  entry->turn.number = turns_given_++;
  ready_.insert(entry);
  entry->listed = true;
  work_.notify_one();
}

Status Executor::Core::CannotMeet(const Entry& entry, TimePoint now) const {
  if (!entry.options.deadline) return OkStatus();
  const ForwardNeed need = entry.job->need();
  if (need.plan == nullptr) return OkStatus();
  const auto fastest = paces_.Fastest(need.plan, need.rows, now);
  if (!fastest) return OkStatus();
  const Milliseconds left = *entry.options.deadline - now, each = *fastest;
  const Milliseconds needed = each * static_cast<double>(need.left);
  if (needed <= left) return OkStatus();
  return DeadlineExceeded(
      Format("the deadline cannot be met: {} step{} of {:.3g} ms or more {} {:.3g} ms, {:.3g} ms "
             "are left",
             need.left, need.left == 1 ? "" : "s", each.count(), need.left == 1 ? "needs" : "need",
             needed.count(), std::max(0.0, left.count())));
}

void Executor::Core::AddTimers(const EntryPtr& entry) {
  const auto add = [&](const std::optional<TimePoint>& when, bool start_by) {
    if (when) entry->timers.push_back(timers_.emplace(*when, Timer{entry, start_by}));
  };
  add(entry->options.deadline, false);
  add(entry->options.start_by, true);
  if (!entry->timers.empty()) timer_.notify_one();
}

void Executor::Core::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  work_.notify_all();  // there will be no more company to wait for
}

bool Executor::Core::Drain(std::chrono::duration<double> limit) {
  Close();
  std::vector<EntryPtr> rest;
  {
    std::unique_lock lock(mutex_);
    const auto bounded = std::min(limit, std::chrono::duration<double>(kLongestDrain));
    if (idle_.wait_for(lock, bounded, [this] { return unanswered_ == 0; })) return true;
    rest.assign(all_.begin(), all_.end());
  }
  // The latest first, so that none begins in the place of one that was stopped.
  for (auto entry = rest.rbegin(); entry != rest.rend(); ++entry) {
    Stop(*entry, Unavailable("Server is stopping, the request took longer than the drain limit"));
  }
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return unanswered_ == 0; });
  return false;
}

JobCounts Executor::Core::counts() const {
  std::lock_guard lock(mutex_);
  JobCounts sum;
  for (const auto& [variant, counts] : counts_) {
    sum.queued += counts.queued;
    sum.running += counts.running;
  }
  return sum;
}

std::map<std::pair<std::string, std::string>, JobCounts> Executor::Core::counts_by_variant() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace unetd
