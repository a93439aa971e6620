// The executor's state and threads, shared with the handles of its jobs.
#pragma once

#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/serving/executor.h"
#include "server/serving/paces.h"
#include "server/serving/turns.h"

namespace unetd {

class Executor::Core : public std::enable_shared_from_this<Executor::Core> {
 public:
  Core(size_t queue_limit, std::unique_ptr<StepRunner> runner)
      : queue_limit_(queue_limit), runner_(std::move(runner)) {}
  void StartThreads();
  void StopThreads();  // after Stop

  std::shared_ptr<CallHandle> Submit(std::shared_ptr<Job> job, SubmitOptions options);
  void Close();
  bool Drain(std::chrono::duration<double> limit);
  JobCounts counts() const;
  std::map<std::pair<std::string, std::string>, JobCounts> counts_by_variant() const;

 private:
  // Waiting jobs are in ready_ or to_prepare_ (or being prepared, in neither); the worker's are
  // executing.
  struct Entry;
  struct Timer {
    std::shared_ptr<Entry> entry;
    bool start_by;  // not the deadline
  };
  enum class State { kPreparing, kStaging, kReady, kExecuting, kFinished };
  struct Entry {
    std::shared_ptr<Job> job;  // null when finished
    SubmitOptions options;
    State state = State::kPreparing;
    bool started = false;
    Status stop;  // why a staging or executing job is to stop; the first reason stays
    CancelFlag cancel{0};
    TimePoint submitted, waiting_since;
    std::chrono::nanoseconds queued{0}, ran{0};
    uint64_t rows_served = 0;
    Turn turn;                                                    // of its place in ready_
    std::list<std::shared_ptr<Entry>>::iterator all, to_prepare;  // in the lists of these names
    bool listed = false;                                          // in ready_ or to_prepare_
    std::vector<std::multimap<TimePoint, Timer>::iterator> timers;
  };
  using EntryPtr = std::shared_ptr<Entry>;
  struct ByTurn {
    using is_transparent = void;
    static const Turn& Of(const EntryPtr& entry) { return entry->turn; }
    static const Turn& Of(const Turn& turn) { return turn; }
    bool operator()(const auto& a, const auto& b) const { return Of(a) < Of(b); }
  };
  class Handle;
  // Who may fly together, in the order of their turns.
  struct Flight {
    std::vector<EntryPtr> jobs;
    TimePoint wait_until;  // for more company
    bool full = false;     // no company could join
  };
  // A job in a forward.
  struct Passenger {
    EntryPtr entry;
    Job* job = nullptr;  // the entry's, which only the worker ends now
    ForwardNeed need;
    Status status = {};  // of what it did so far
    bool more = true;    // has quanta left
  };
  // A job that has ended under the lock and is to be answered outside of it.
  struct Ended {
    std::shared_ptr<Job> job;
    Status status;
    JobTimes times;
  };

  using Lock = std::unique_lock<std::mutex>;
  void Work();
  void PrepareJobs();
  void WatchDeadlines();

  Status Admit(const EntryPtr& entry);  // locks
  void Prepare(const EntryPtr& entry);  // locks; the job's Prepare and Stage run unlocked
  void Stop(const EntryPtr& entry, const Status& reason);  // locks
  // With mutex_ held.
  Ended End(const EntryPtr& entry, Status status);
  void Unlist(Entry& entry);
  void PushReady(const EntryPtr& entry);
  void AddTimers(const EntryPtr& entry);
  JobCounts& CountsOf(const Entry& entry);
  void CancelEmptyFlight();
  // DEADLINE_EXCEEDED if the job's forwards, at their fastest, take longer than it has.
  Status CannotMeet(const Entry& entry, TimePoint now) const;
  // Without it.
  void Answer(Ended ended);
  void Answer(std::vector<Ended> ended);

  // -- the worker's; with mutex_ held, which is let go of meanwhile where `lock` comes along --

  // The jobs of the next forward, still ready. None if all there are may wait for company: until
  // `until`.
  std::vector<EntryPtr> ChooseFlight(TimePoint now, std::optional<TimePoint>& until);
  Flight FlightOf(const EntryPtr& leader);
  // Ends those whose deadline is out of reach. True if there were any.
  bool EndHopeless(const std::vector<EntryPtr>& flight, TimePoint now, Lock& lock);
  // A quantum of each: Begin, the forward that they share, End.
  void Fly(std::vector<EntryPtr> flight, Lock& lock);
  std::vector<Passenger> Board(std::vector<EntryPtr> flight, TimePoint now);
  // Without mutex_. The forward and End.
  void RunForward(std::span<Passenger> passengers);
  // Those that can go on are ready again; the others end.
  std::vector<Ended> Land(std::span<const Passenger> passengers, TimePoint begin);

  const size_t queue_limit_;
  const std::unique_ptr<StepRunner> runner_;
  mutable std::mutex mutex_;
  std::condition_variable work_, prepare_, timer_, idle_;
  std::list<EntryPtr> all_, to_prepare_;  // admitted; waiting for the preparer
  std::set<EntryPtr, ByTurn> ready_;      // waiting for the worker
  std::vector<EntryPtr> flying_;          // in the forward that runs
  CancelFlag flight_cancel_{0};           // of that forward
  uint64_t rows_run_ = 0;
  uint64_t turns_given_ = 0;
  Paces paces_;
  std::multimap<TimePoint, Timer> timers_;                           // of jobs that have not ended
  std::map<std::pair<std::string, std::string>, JobCounts> counts_;  // by model and variant
  size_t unanswered_ = 0;
  bool closed_ = false;
  bool stopping_ = false;
  std::thread worker_, preparer_, watcher_;
};

}  // namespace unetd
