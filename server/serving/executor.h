// Executor: one a domain. Admits jobs, up to a limit, and runs them a quantum at a time: one thread
// prepares those whose plan is to be built, one watches deadlines, and the worker runs forwards.
//
// A forward serves the job whose turn it is (turns.h) and, of the other ready ones in the order of
// their turns, those whose next forward has the same plan, as far as the rows that they allow
// together and the runner's memory reach. Each keeps its own slots, conditions and timesteps: a
// row's bits are those it has alone. An error before or after the forward is its job's; a forward
// that fails is run again for each alone. A job that shares a forward is stopped at the forward's
// end, or at the next operator once all that share it are to stop.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/base/status.h"
#include "server/serving/job.h"
#include "server/serving/request.h"
#include "server/serving/step_runner.h"

namespace unetd {

struct JobCounts {
  uint64_t queued = 0;   // not started
  uint64_t running = 0;  // started, in a quantum or between two
};

class Executor {
 public:
  struct SubmitOptions {
    std::string model = {};    // for the counts
    std::string variant = {};  // for the counts
    uint64_t priority = 0;     // 1 is the highest; 0: the default
    std::optional<TimePoint> deadline = {};
    std::optional<TimePoint> start_by = {};  // DEADLINE_EXCEEDED if no quantum has begun by then
  };

  // `queue_limit`: jobs that may wait beside the one that runs.
  Executor(size_t queue_limit, std::unique_ptr<StepRunner> runner);
  // Stops admitting, cancels what there is and waits for it. Not from a job.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Admits the job, or answers it (Finish) before returning: RESOURCE_EXHAUSTED if the queue is
  // full, UNAVAILABLE while stopping, DEADLINE_EXCEEDED if it is too late already or its forwards,
  // at the fastest that was seen of them, would take longer than there is; or what Prepare says.
  std::shared_ptr<CallHandle> Submit(std::shared_ptr<Job> job, SubmitOptions options);

  // Stops admitting: UNAVAILABLE. Waits until all admitted jobs are answered, at most `limit`; then
  // the rest is answered UNAVAILABLE (at the next operator if running). Returns when all are
  // answered; true if none had to be stopped.
  bool Drain(std::chrono::duration<double> limit);
  // Stops admitting.
  void Close();

  JobCounts counts() const;
  // Of models and variants that ever had a job.
  std::map<std::pair<std::string, std::string>, JobCounts> counts_by_variant() const;

 private:
  class Core;  // shared with the handles
  std::shared_ptr<Core> core_;
};

}  // namespace unetd
