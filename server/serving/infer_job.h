// One inference: one forward of the UNet for all its rows, in one quantum.
#pragma once

#include <memory>
#include <vector>

#include "server/plan/request_blocks.h"
#include "server/serving/request_checks.h"
#include "server/serving/request_job.h"

namespace unetd {

class InferJob final : public RequestJob {
 public:
  InferJob(JobContext context, const CheckedInfer& checked, InferRequest request,
           InferCallback done);
  std::span<const RowBlocks> rows() const override { return row_blocks_; }
  void Finish(const Status& status, const JobTimes& times) override;

 private:
  Status DoStage() override;
  Status DoBegin(const CancelFlag& cancel) override;
  StatusOr<Progress> DoEnd(ForwardRecord& record) override;
  Status MakeOutput();

  const CheckedInfer checked_;
  InferRequest request_;
  InferCallback done_;
  std::unique_ptr<RequestBlocks> blocks_;
  std::vector<RowBlocks> row_blocks_;
  InferResult result_;
};

}  // namespace unetd
