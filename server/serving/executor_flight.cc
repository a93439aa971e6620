// The worker's forwards: who flies together, and what becomes of each.
#include <algorithm>
#include <utility>

#include "server/serving/executor_core.h"

namespace unetd {

Executor::Core::Flight Executor::Core::FlightOf(const EntryPtr& leader) {
  const ForwardNeed first = leader->job->need();
  Flight flight{{leader}, leader->waiting_since + first.patience, true};
  if (first.plan == nullptr || first.share_rows <= first.rows) return flight;
  uint64_t rows = first.rows;
  uint64_t most = std::min(first.share_rows, runner_->Room(*first.plan));
  for (auto other = ready_.begin(); other != ready_.end() && rows < most; ++other) {
    const ForwardNeed need = (*other)->job->need();
    const uint64_t together = std::min<uint64_t>(most, need.share_rows);
    if (*other == leader || need.plan != first.plan || rows + need.rows > together) continue;
    rows += need.rows;
    most = together;
    flight.jobs.push_back(*other);
    flight.wait_until = std::min(flight.wait_until, (*other)->waiting_since + need.patience);
  }
  flight.full = rows >= most;
  return flight;
}

std::vector<Executor::Core::EntryPtr> Executor::Core::ChooseFlight(
    TimePoint now, std::optional<TimePoint>& until) {
  for (const EntryPtr& leader : ready_) {
    Flight flight = FlightOf(leader);
    if (closed_ || flight.full || flight.wait_until <= now) return std::move(flight.jobs);
    until = std::min(until.value_or(flight.wait_until), flight.wait_until);
  }
  return {};
}

bool Executor::Core::EndHopeless(const std::vector<EntryPtr>& flight, TimePoint now, Lock& lock) {
  std::vector<Ended> hopeless;
  for (const EntryPtr& entry : flight) {
    Status late = CannotMeet(*entry, now);
    if (!late.ok()) hopeless.push_back(End(entry, std::move(late)));
  }
  if (hopeless.empty()) return false;
  lock.unlock();
  Answer(std::move(hopeless));
  lock.lock();
  return true;
}

void Executor::Core::Fly(std::vector<EntryPtr> flight, Lock& lock) {
  const TimePoint begin = Clock::now();
  std::vector<Passenger> passengers = Board(std::move(flight), begin);
  lock.unlock();
  for (Passenger& one : passengers) one.status = one.job->Begin(one.entry->cancel);
  lock.lock();
  // Who failed or was stopped leaves before the forward.
  const auto stays = [](const Passenger& p) { return p.status.ok() && p.entry->stop.ok(); };
  const auto left = std::stable_partition(passengers.begin(), passengers.end(), stays);
  std::vector<Ended> ended = Land({left, passengers.end()}, begin);
  passengers.erase(left, passengers.end());
  for (const Passenger& one : passengers) flying_.push_back(one.entry);
  flight_cancel_.store(0, std::memory_order_relaxed);
  lock.unlock();
  Answer(std::move(ended));
  if (!passengers.empty()) RunForward(passengers);
  lock.lock();
  flying_.clear();
  ended = Land(passengers, begin);
  passengers.clear();
  lock.unlock();
  Answer(std::move(ended));
  lock.lock();
}

std::vector<Executor::Core::Passenger> Executor::Core::Board(std::vector<EntryPtr> flight,
                                                             TimePoint now) {
  std::vector<Passenger> passengers;
  for (EntryPtr& entry : flight) {
    Unlist(*entry);
    entry->state = State::kExecuting;
    entry->queued += now - entry->waiting_since;
    if (!entry->started) {
      entry->started = true;
      JobCounts& counts = CountsOf(*entry);
      --counts.queued;
      ++counts.running;
    }
    const ForwardNeed need = entry->job->need();
    entry->rows_served += need.rows;
    rows_run_ += need.rows;
    passengers.push_back({entry, entry->job.get(), need});
  }
  return passengers;
}

void Executor::Core::RunForward(std::span<Passenger> passengers) {
  std::vector<RowBlocks> rows;
  uint32_t group = 0;
  for (const Passenger& one : passengers) {
    for (RowBlocks row : one.job->rows()) {
      row.group = group;
      rows.push_back(row);
    }
    ++group;
  }
  const Passenger& first = passengers.front();
  const bool shared = passengers.size() > 1;
  const TimePoint begin = Clock::now();
  const Status status = runner_->Run(
      *first.need.plan, rows, shared ? flight_cancel_ : first.entry->cancel, first.need.times);
  const TimePoint end = Clock::now();
  if (!status.ok() && shared && status.code() != Code::kCancelled) {
    // Whose fault it is shows when each runs alone.
    for (size_t i = 0; i < passengers.size(); ++i) RunForward(passengers.subspan(i, 1));
    return;
  }
  ForwardRecord record;
  record.rows = static_cast<uint32_t>(rows.size());
  record.requests = static_cast<uint32_t>(passengers.size());
  record.forward_ns = record.compute_ns = static_cast<uint64_t>((end - begin).count());
  for (Passenger& one : passengers) {
    one.status = status;
    const bool stopped = one.entry->cancel.load(std::memory_order_relaxed) != 0;
    // One that was stopped has its answer only if this was its last forward.
    if (!status.ok() || (stopped && one.need.left > 1)) continue;
    const StatusOr<Job::Progress> progress = one.job->End(record);
    one.status = progress.status();
    one.more = progress.ok() && *progress == Job::Progress::kMore;
  }
  if (!status.ok()) return;
  first.job->Count(record);
  std::lock_guard lock(mutex_);
  paces_.Add(first.need.plan, record.rows, end - begin, end);
}

std::vector<Executor::Core::Ended> Executor::Core::Land(std::span<const Passenger> passengers,
                                                        TimePoint begin) {
  const TimePoint now = Clock::now();
  std::vector<Ended> ended;
  for (const Passenger& one : passengers) {
    const EntryPtr& entry = one.entry;
    entry->ran += now - begin;
    entry->waiting_since = now;
    Status status = one.status;
    const bool more = status.ok() && one.more;
    if (more && entry->stop.ok()) {
      status = CannotMeet(*entry, now);
      if (status.ok()) {
        PushReady(entry);
        continue;
      }
    }
    // A job that ended while it was being stopped has ended; one with quanta left stops here.
    if (!entry->stop.ok() && (more || status.code() == Code::kCancelled)) status = entry->stop;
    ended.push_back(End(entry, std::move(status)));
  }
  return ended;
}

void Executor::Core::CancelEmptyFlight() {
  const auto stopped = [](const EntryPtr& entry) { return !entry->stop.ok(); };
  if (!flying_.empty() && std::all_of(flying_.begin(), flying_.end(), stopped)) {
    flight_cancel_.store(1, std::memory_order_relaxed);
  }
}

}  // namespace unetd
