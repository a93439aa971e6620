// The executor's state and threads, shared with the handles of its jobs.
#pragma once

#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/serving/executor.h"

namespace unetd {

class Executor::Core : public std::enable_shared_from_this<Executor::Core> {
 public:
  explicit Core(size_t queue_limit) : queue_limit_(queue_limit) {}
  void StartThreads();
  void StopThreads();  // after Stop

  std::shared_ptr<CallHandle> Submit(std::shared_ptr<Job> job, SubmitOptions options);
  void Close();
  bool Drain(std::chrono::duration<double> limit);
  JobCounts counts() const;
  std::map<std::string, JobCounts> counts_by_model() const;

 private:
  // Waiting jobs are in ready_ or to_prepare_ (or being prepared, in neither); the worker's is
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
    std::list<std::shared_ptr<Entry>>::iterator all, position;  // in all_; in ready_ or to_prepare_
    bool listed = false;                                        // position is valid
    std::vector<std::multimap<TimePoint, Timer>::iterator> timers;
  };
  using EntryPtr = std::shared_ptr<Entry>;
  class Handle;
  // A job that has ended under the lock and is to be answered outside of it.
  struct Ended {
    std::shared_ptr<Job> job;
    Status status;
    JobTimes times;
  };

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
  // Without it.
  void Answer(Ended ended);

  const size_t queue_limit_;
  mutable std::mutex mutex_;
  std::condition_variable work_, prepare_, timer_, idle_;
  std::list<EntryPtr> all_, ready_,
      to_prepare_;                          // admitted; waiting for the worker; for the preparer
  std::multimap<TimePoint, Timer> timers_;  // of jobs that have not ended
  std::map<std::string, JobCounts> counts_;
  size_t unanswered_ = 0;
  bool closed_ = false;
  bool stopping_ = false;
  std::thread worker_, preparer_, watcher_;
};

}  // namespace unetd
