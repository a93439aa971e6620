// LCMScheduler, as diffusers computes it. pred_original_sample is what diffusers calls `denoised`:
// the predicted original sample with its boundary condition.
#pragma once

#include <memory>

#include "server/diffusion/alpha_scheduler.h"
#include "server/diffusion/sample_limit.h"

namespace unetd {

class LcmScheduler final : public AlphaScheduler {
 public:
  static StatusOr<std::unique_ptr<Scheduler>> Create(const SchedulerConfig& config);

  std::string_view name() const override { return "LCMScheduler"; }
  Status SetTimesteps(int64_t steps) override;
  // In every step but the last.
  bool NeedsNoise(int64_t step, const StepOptions& options) const override;
  uint64_t StepBytes(uint64_t rows, uint64_t row_elements) const override;
  Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) override;

 private:
  explicit LcmScheduler(const SchedulerConfig& config);

  SampleLimit limit_;
};

}  // namespace unetd
