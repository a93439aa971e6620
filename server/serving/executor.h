// Executor: one a domain. A bounded FIFO of jobs, one worker thread that runs them a quantum at a
// time in turn, one thread that prepares jobs whose plan is to be built, and one that watches
// deadlines.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "server/base/status.h"
#include "server/serving/job.h"
#include "server/serving/request.h"

namespace unetd {

struct JobCounts {
  uint64_t queued = 0;   // not started
  uint64_t running = 0;  // started, in a quantum or between two
};

class Executor {
 public:
  struct SubmitOptions {
    std::string model = {};  // for the counts
    std::optional<TimePoint> deadline = {};
    std::optional<TimePoint> start_by = {};  // DEADLINE_EXCEEDED if no quantum has begun by then
  };

  // `queue_limit`: jobs that may wait beside the one that runs.
  explicit Executor(size_t queue_limit);
  // Stops admitting, cancels what there is and waits for it. Not from a job.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Admits the job, or answers it (Finish) before returning: RESOURCE_EXHAUSTED if the queue is
  // full, UNAVAILABLE while stopping, DEADLINE_EXCEEDED if it is too late already, or what Prepare
  // says.
  std::shared_ptr<CallHandle> Submit(std::shared_ptr<Job> job, SubmitOptions options);

  // Stops admitting: UNAVAILABLE. Waits until all admitted jobs are answered, at most `limit`; then
  // the rest is answered UNAVAILABLE (at the next operator if running). Returns when all are
  // answered; true if none had to be stopped.
  bool Drain(std::chrono::duration<double> limit);
  // Stops admitting.
  void Close();

  JobCounts counts() const;
  std::map<std::string, JobCounts> counts_by_model() const;  // models that ever had a job

 private:
  class Core;  // shared with the handles
  std::shared_ptr<Core> core_;
};

}  // namespace unetd
