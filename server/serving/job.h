// Job: what the executor runs, a quantum at a time: Begin, a forward of the UNet, End. The forward
// is the executor's, so that one can serve several jobs.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>

#include "server/base/status.h"
#include "server/plan/runner.h"

namespace unetd {

struct JobTimes {
  uint64_t queue_ns = 0;  // waiting: before the first quantum and between quanta
  uint64_t run_ns = 0;    // in quanta
  uint64_t total_ns = 0;  // since it was submitted
};

// What a job's next forward will be, told before Begin.
struct ForwardNeed {
  std::shared_ptr<const Plan> plan;  // whose step section; null until it is found
  uint32_t rows = 1;                 // of this job
  uint64_t left = 1;                 // forwards until the job is done, this one too
  // Rows of a forward that it shares with others of the same plan, all together; up to its own
  // rows: it never shares.
  uint32_t share_rows = 1;
  std::chrono::microseconds patience{0};  // how long it may wait for company
  // Where its operators' times go, as Runner::Run has them; of a forward that it never shares.
  std::span<OperatorTime> times = {};
};

// A forward as it went. Its jobs add what they did for it alone.
struct ForwardRecord {
  uint32_t rows = 0;
  uint32_t requests = 0;    // that shared it
  uint64_t forward_ns = 0;  // the step section
  // Sums over the jobs: casting inputs, the sections and the scheduler's part of it, casting
  // outputs. compute_ns begins as forward_ns.
  uint64_t input_ns = 0;
  uint64_t compute_ns = 0;
  uint64_t output_ns = 0;
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

  // Not while Prepare or Stage run.
  virtual ForwardNeed need() const = 0;

  // -- a quantum, on the worker thread --

  // All that comes before the forward. kCancelled once `cancel` is set.
  virtual Status Begin(const CancelFlag& cancel) = 0;
  // The forward's rows, as many as need() said; after Begin.
  virtual std::span<const RowBlocks> rows() const = 0;
  // All that comes after the forward. Left out, as the quanta that would follow, where the job has
  // failed or was stopped.
  virtual StatusOr<Progress> End(ForwardRecord& record) = 0;
  // Told to one of the jobs that shared a forward, after End of all and before Finish of any.
  virtual void Count(const ForwardRecord& record) = 0;

  // The job's one answer. Gives back its memory before it answers.
  virtual void Finish(const Status& status, const JobTimes& times) = 0;
};

}  // namespace unetd
