// EulerAncestralDiscreteScheduler, as diffusers computes it: each step takes away more noise than
// Euler's and puts fresh noise back, but for a last one to no noise at all.
//
// Where diffusers is wrong, this is right: the root of a rounding error below zero is 0, not NaN.
#pragma once

#include <memory>

#include "server/diffusion/variance_exploding.h"

namespace unetd {

class EulerAncestralDiscreteScheduler final : public VarianceExplodingScheduler {
 public:
  static StatusOr<std::unique_ptr<Scheduler>> Create(const SchedulerConfig& config);

  std::string_view name() const override { return "EulerAncestralDiscreteScheduler"; }
  bool NeedsNoise(int64_t step, const StepOptions& options) const override;
  uint64_t StepBytes(uint64_t /*rows*/, uint64_t /*row_elements*/) const override { return 0; }
  Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) override;

 private:
  using VarianceExplodingScheduler::VarianceExplodingScheduler;
  float NoiseUp(int64_t step) const;  // how much noise a step puts back
};

}  // namespace unetd
