// What inference and denoising have in common as jobs.
#pragma once

#include <memory>
#include <string>

#include "server/serving/job.h"
#include "server/serving/model.h"
#include "server/serving/request.h"
#include "server/serving/stats.h"

namespace unetd {

struct JobContext {
  std::shared_ptr<const ServedModel> model;
  std::shared_ptr<const Snapshot> snapshot;
  Statistics* statistics = nullptr;  // outlives all jobs
};

class RequestJob : public Job {
 public:
  bool SlowToPrepare() final;
  Status Prepare() final;
  Status Stage() final;
  StatusOr<Progress> Run(const CancelFlag& cancel) final;

 protected:
  RequestJob(JobContext context, const UNetShape& shape)
      : context_(std::move(context)), shape_(shape) {}

  // As Stage and Run; what they throw becomes a status.
  virtual Status DoStage() = 0;
  virtual StatusOr<Progress> DoRun(const CancelFlag& cancel) = 0;

  Runner& runner() { return *context_.snapshot->domain->runner; }
  Ledger& ledger() { return *context_.snapshot->domain->ledger; }

  const JobContext context_;
  const UNetShape shape_;
  std::shared_ptr<const Plan> plan_;  // not for Finish
};

// Nanoseconds of what runs while it lives, added to `sum`.
class AddTime {
 public:
  explicit AddTime(uint64_t& sum) : sum_(sum), begin_(Clock::now()) {}
  ~AddTime() { sum_ += static_cast<uint64_t>((Clock::now() - begin_).count()); }
  AddTime(const AddTime&) = delete;
  AddTime& operator=(const AddTime&) = delete;

 private:
  uint64_t& sum_;
  const TimePoint begin_;
};

}  // namespace unetd
