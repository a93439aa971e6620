// One denoising request: a quantum a step.
#pragma once

#include <memory>

#include "server/diffusion/denoise_loop.h"
#include "server/serving/request_checks.h"
#include "server/serving/request_job.h"

namespace unetd {

class DenoiseJob final : public RequestJob {
 public:
  DenoiseJob(JobContext context, CheckedDenoise checked, DenoiseRequest request,
             std::shared_ptr<DenoiseListener> listener);
  std::span<const RowBlocks> rows() const override { return run_->step_rows(); }
  void Finish(const Status& status, const JobTimes& times) override;

 private:
  Status DoStage() override;
  Status DoBegin(const CancelFlag& cancel) override;
  StatusOr<Progress> DoEnd(ForwardRecord& record) override;
  uint64_t forwards_left() const override;
  Status Start(const CancelFlag& cancel);
  Status EndStep(uint64_t forward_ns);
  Status Preview(int64_t step);
  Status FillResult();  // after the last step
  StatusOr<OutputTensor> Output(const char* name, const std::vector<float>& values) const;

  CheckedDenoise checked_;
  DenoiseRequest request_;
  std::shared_ptr<DenoiseListener> listener_;
  LedgerHold hold_;  // of what run_ holds beside its blocks
  std::unique_ptr<DenoiseRun> run_;
  uint64_t state_bytes_ = 0;
  uint64_t begin_ns_ = 0;  // of this step's part before the forward
  bool started_ = false;
  DenoiseResult result_;
};

}  // namespace unetd
