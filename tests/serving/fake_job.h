// Jobs for the executor's tests, driven by the test itself.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/serving/job.h"

namespace unetd {

// A gate that threads wait at until the test opens it.
class Gate {
 public:
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }
  // False if it is not opened within five minutes: a test that would hang fails instead.
  bool WaitLong() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::minutes(5), [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// What all jobs of a test did, in order.
class Journal {
 public:
  void Add(std::string line) {
    std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
  }
  std::vector<std::string> lines() const {
    std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

class FakeJob : public Job {
 public:
  struct Plan {
    std::string name = "job";
    int quanta = 1;
    bool slow = false;
    Gate* prepare_until = nullptr;  // Prepare waits for it
    Gate* stage_until = nullptr;    // Stage waits for it
    Gate* run_until = nullptr;      // the first quantum waits for it, deaf to cancelling
    bool run_until_cancelled = false;
    Status prepare = {};
    Status stage = {};
    Status run = {};
    Journal* journal = nullptr;
  };
  explicit FakeJob(Plan plan) : plan_(std::move(plan)) {}

  bool SlowToPrepare() override { return plan_.slow; }
  Status Prepare() override {
    preparing.Open();
    if (plan_.prepare_until != nullptr) plan_.prepare_until->Wait();
    return plan_.prepare;
  }
  Status Stage() override {
    staging.Open();
    if (plan_.stage_until != nullptr) plan_.stage_until->Wait();
    return plan_.stage;
  }
  StatusOr<Progress> Run(const CancelFlag& cancel) override {
    Note("run");
    running.Open();
    if (plan_.run_until != nullptr) plan_.run_until->Wait();
    while (plan_.run_until_cancelled) {
      if (cancel.load() != 0) return Cancelled("seen by the job");
      std::this_thread::yield();
    }
    if (!plan_.run.ok()) return plan_.run;
    return --plan_.quanta > 0 ? Progress::kMore : Progress::kDone;
  }
  void Finish(const Status& status, const JobTimes& times) override {
    Note(status.ok() ? "ok" : "failed");
    {
      std::lock_guard lock(mutex_);
      ++answers_;
      status_ = status;
      times_ = times;
    }
    finished.Open();
  }

  // After `finished`.
  Status status() const {
    std::lock_guard lock(mutex_);
    return status_;
  }
  JobTimes times() const {
    std::lock_guard lock(mutex_);
    return times_;
  }
  int answers() const {
    std::lock_guard lock(mutex_);
    return answers_;
  }

  Gate preparing, staging, running, finished;

 private:
  void Note(const char* what) {
    if (plan_.journal != nullptr) plan_.journal->Add(plan_.name + " " + what);
  }

  Plan plan_;
  mutable std::mutex mutex_;
  int answers_ = 0;
  Status status_;
  JobTimes times_;
};

}  // namespace unetd
