// DDIMScheduler, as diffusers computes it: float32 throughout, rounded where torch rounds.
//
// Where diffusers is wrong, this is right: `trailing` spacing gives as many timesteps as were asked
// for (diffusers adds timestep -1 for 61 of 1000, 121, 223, ...), and the root of a rounding error
// below zero at eta 1 is 0, not NaN.
#pragma once

#include <memory>

#include "server/diffusion/alpha_scheduler.h"
#include "server/diffusion/sample_limit.h"

namespace unetd {

class DdimScheduler final : public AlphaScheduler {
 public:
  static StatusOr<std::unique_ptr<Scheduler>> Create(const SchedulerConfig& config);

  std::string_view name() const override { return "DDIMScheduler"; }
  Status SetTimesteps(int64_t steps) override;
  // Where eta > 0, but not in a last step to no noise at all.
  bool NeedsNoise(int64_t step, const StepOptions& options) const override;
  uint64_t StepBytes(uint64_t rows, uint64_t row_elements) const override;
  Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) override;

 private:
  explicit DdimScheduler(const SchedulerConfig& config);

  // What a step multiplies with, by the names of the paper.
  struct Coefficients {
    Mix mix;                // at the timestep
    float root_alpha_prev;  // sqrt(alpha of the previous timestep)
    float deviation;        // sigma
    float direction;        // sqrt(1 - alpha_prev - sigma^2)
  };
  Coefficients CoefficientsAt(int64_t step, double eta) const;

  SampleLimit limit_;
};

}  // namespace unetd
