// EulerDiscreteScheduler, as diffusers computes it without churn (s_churn 0).
#pragma once

#include <memory>

#include "server/diffusion/variance_exploding.h"

namespace unetd {

class EulerDiscreteScheduler final : public VarianceExplodingScheduler {
 public:
  static StatusOr<std::unique_ptr<Scheduler>> Create(const SchedulerConfig& config);

  std::string_view name() const override { return "EulerDiscreteScheduler"; }
  bool NeedsNoise(int64_t /*step*/, const StepOptions& /*options*/) const override { return false; }
  uint64_t StepBytes(uint64_t /*rows*/, uint64_t /*row_elements*/) const override { return 0; }
  Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) override;

 private:
  using VarianceExplodingScheduler::VarianceExplodingScheduler;
};

}  // namespace unetd
