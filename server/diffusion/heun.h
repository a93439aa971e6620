// HeunDiscreteScheduler, as diffusers computes it: 2n - 1 calls of the UNet for n steps. An even
// call is Euler's step; the odd one after it takes that step again, with the mean of the slopes at
// both its ends. The last step has its first half only.
//
// Where diffusers is wrong, this is right: a loop that begins at an odd call, whose first half it
// did not see, leaves the sample as it is there and goes on with Euler's step (diffusers takes the
// halves for each other from then on and never removes any noise).
#pragma once

#include <memory>

#include "server/diffusion/sample_limit.h"
#include "server/diffusion/variance_exploding.h"

namespace unetd {

class HeunDiscreteScheduler final : public VarianceExplodingScheduler {
 public:
  static StatusOr<std::unique_ptr<Scheduler>> Create(const SchedulerConfig& config);

  std::string_view name() const override { return "HeunDiscreteScheduler"; }
  Status SetTimesteps(int64_t steps) override;
  bool NeedsNoise(int64_t /*step*/, const StepOptions& /*options*/) const override { return false; }
  uint64_t StepBytes(uint64_t rows, uint64_t row_elements) const override;
  Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) override;
  Status SetState(int64_t next_step, uint64_t elements, SchedulerState state) override;

 private:
  explicit HeunDiscreteScheduler(const SchedulerConfig& config);
  void FirstHalf(int64_t step, const StepTensors& tensors);
  void SecondHalf(int64_t step, const StepTensors& tensors);

  // Between the halves state_.tensors are the sample before the first and the slope there.
  enum StateTensor { kSample, kSlope, kStateTensors };

  SampleLimit limit_;
};

}  // namespace unetd
