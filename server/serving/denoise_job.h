// One denoising request: a quantum to start, then one a step.
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
  void Finish(const Status& status, const JobTimes& times) override;

 private:
  Status DoStage() override;
  StatusOr<Progress> DoRun(const CancelFlag& cancel) override;
  Status Start(const CancelFlag& cancel);
  Status Step(const CancelFlag& cancel);
  StatusOr<OutputTensor> Output(const char* name, const std::vector<float>& values) const;

  CheckedDenoise checked_;
  const uint32_t rows_;  // of the UNet
  DenoiseRequest request_;
  std::shared_ptr<DenoiseListener> listener_;
  LedgerHold hold_;  // of what run_ holds beside its blocks
  std::unique_ptr<DenoiseRun> run_;
  uint64_t state_bytes_ = 0;
  bool started_ = false;
  DenoiseResult result_;
};

}  // namespace unetd
