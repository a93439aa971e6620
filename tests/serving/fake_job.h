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

#include "server/serving/executor.h"
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
    // The same for jobs that may share a forward; null: one of its own.
    const std::shared_ptr<const unetd::Plan>* plan = nullptr;
    uint32_t rows = 1;
    int quanta = 1;
    uint32_t share_rows = 1;
    std::chrono::microseconds patience{0};
    bool slow = false;
    Gate* prepare_until = nullptr;  // Prepare waits for it
    Gate* stage_until = nullptr;    // Stage waits for it
    Gate* run_until = nullptr;      // each quantum begins behind it, deaf to cancelling
    bool run_until_cancelled = false;
    Status prepare = {};
    Status stage = {};
    Status run = {};  // Begin's
    Status end = {};
    Journal* journal = nullptr;
  };
  explicit FakeJob(Plan plan)
      : plan_(std::move(plan)),
        unet_plan_(plan_.plan ? *plan_.plan : std::make_shared<const unetd::Plan>()),
        rows_(plan_.rows) {
    for (RowBlocks& row : rows_) row.input = reinterpret_cast<uint8_t*>(this);
  }
  // Whose row a runner was given.
  static FakeJob* Of(const RowBlocks& row) { return reinterpret_cast<FakeJob*>(row.input); }
  const std::string& name() const { return plan_.name; }

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
  ForwardNeed need() const override {
    return {unet_plan_, plan_.rows, static_cast<uint64_t>(plan_.quanta), plan_.share_rows,
            plan_.patience};
  }
  Status Begin(const CancelFlag& cancel) override {
    Note("run");
    running.Open();
    if (plan_.run_until != nullptr) plan_.run_until->Wait();
    while (plan_.run_until_cancelled) {
      if (cancel.load() != 0) return Cancelled("seen by the job");
      std::this_thread::yield();
    }
    return plan_.run;
  }
  std::span<const RowBlocks> rows() const override { return rows_; }
  StatusOr<Progress> End(ForwardRecord& record) override {
    if (!plan_.end.ok()) return plan_.end;
    ++record.output_ns;
    return --plan_.quanta > 0 ? Progress::kMore : Progress::kDone;
  }
  void Count(const ForwardRecord& record) override {
    std::lock_guard lock(mutex_);
    counted_.push_back(record);
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

  std::vector<ForwardRecord> counted() const {
    std::lock_guard lock(mutex_);
    return counted_;
  }

  Gate preparing, staging, running, finished;

 private:
  void Note(const char* what) {
    if (plan_.journal != nullptr) plan_.journal->Add(plan_.name + " " + what);
  }

  Plan plan_;
  const std::shared_ptr<const unetd::Plan> unet_plan_;
  std::vector<RowBlocks> rows_;
  mutable std::mutex mutex_;
  std::vector<ForwardRecord> counted_;
  int answers_ = 0;
  Status status_;
  JobTimes times_;
};

// Forwards of fake jobs: what the test says.
class FakeRunner : public StepRunner {
 public:
  using OnRun = std::function<Status(const std::vector<FakeJob*>&, const CancelFlag&)>;
  explicit FakeRunner(OnRun on_run = {}, uint32_t room = 1 << 20)
      : on_run_(std::move(on_run)), room_(room) {}

  Status Run(const Plan&, std::span<const RowBlocks> rows, const CancelFlag& cancel,
             std::span<OperatorTime>) override {
    std::vector<FakeJob*> jobs;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (i == 0 || rows[i].group != rows[i - 1].group) jobs.push_back(FakeJob::Of(rows[i]));
    }
    return on_run_ ? on_run_(jobs, cancel) : OkStatus();
  }
  uint32_t Room(const Plan&) override { return room_; }

 private:
  const OnRun on_run_;
  const uint32_t room_;
};

inline std::unique_ptr<StepRunner> Fake(FakeRunner::OnRun on_run = {}, uint32_t room = 1 << 20) {
  return std::make_unique<FakeRunner>(std::move(on_run), room);
}

}  // namespace unetd
