// What all requests have in common as jobs.
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
  ForwardNeed need() const override;
  Status Begin(const CancelFlag& cancel) final;
  StatusOr<Progress> End(ForwardRecord& record) final;
  void Count(const ForwardRecord& record) override;

 protected:
  // `rows`: of each forward of the UNet.
  RequestJob(JobContext context, const UNetShape& shape, uint32_t rows);

  // As Stage, Begin and End; what they throw becomes a status.
  virtual Status DoStage() = 0;
  virtual Status DoBegin(const CancelFlag& cancel) = 0;
  virtual StatusOr<Progress> DoEnd(ForwardRecord& record) = 0;
  // Until the job is done; known from the start.
  virtual uint64_t forwards_left() const { return 1; }

  Runner& runner() { return *context_.snapshot->domain->runner; }
  Ledger& ledger() { return *context_.snapshot->domain->ledger; }

  const JobContext context_;
  const UNetShape shape_;
  const uint32_t rows_;
  std::shared_ptr<const Plan> plan_;  // not for Finish

 private:
  const uint32_t share_rows_;
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
