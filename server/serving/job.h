// Job: what the executor runs, a quantum at a time.
#pragma once

#include <cstdint>

#include "server/base/status.h"
#include "server/plan/runner.h"

namespace unetd {

struct JobTimes {
  uint64_t queue_ns = 0;  // waiting: before the first quantum and between quanta
  uint64_t run_ns = 0;    // in quanta
  uint64_t total_ns = 0;  // since it was submitted
};

class Job {
 public:
  enum class Progress { kMore, kDone };
  virtual ~Job() = default;

  // True if Prepare would take long (a plan is to be built): then it runs on the preparing thread.
  virtual bool SlowToPrepare() = 0;
  // Gets what is shared: the plan. Alone of all these it may still run when Finish comes with an
  // error, so it neither reads the request's tensors nor touches what Finish touches.
  virtual Status Prepare() = 0;
  // Takes the job's own memory and reads its inputs. Short. After Prepare, once, on the same
  // thread.
  virtual Status Stage() = 0;
  // One quantum, on the worker thread. kCancelled once `cancel` is set.
  virtual StatusOr<Progress> Run(const CancelFlag& cancel) = 0;
  // The job's one answer. Gives back its memory before it answers.
  virtual void Finish(const Status& status, const JobTimes& times) = 0;
};

}  // namespace unetd
