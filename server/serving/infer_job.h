// One inference: one forward of the UNet for all its rows, in one quantum.
#pragma once

#include <memory>

#include "server/plan/request_blocks.h"
#include "server/serving/request_checks.h"
#include "server/serving/request_job.h"

namespace unetd {

class InferJob final : public RequestJob {
 public:
  InferJob(JobContext context, const CheckedInfer& checked, InferRequest request,
           InferCallback done);
  void Finish(const Status& status, const JobTimes& times) override;

 private:
  Status DoStage() override;
  StatusOr<Progress> DoRun(const CancelFlag& cancel) override;

  const CheckedInfer checked_;
  InferRequest request_;
  InferCallback done_;
  std::unique_ptr<RequestBlocks> blocks_;
  InferResult result_;
};

}  // namespace unetd
