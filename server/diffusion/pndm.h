// PNDMScheduler, as diffusers computes it: twelve Runge-Kutta steps unless skip_prk_steps, then
// linear multistep ones. A loop that starts late counts its steps from its start, so that its
// second step is the repeated one, as diffusers has it.
//
// pred_original_sample, which diffusers' does not give, is that of the step's own model output.
#pragma once

#include <memory>
#include <vector>

#include "server/diffusion/alpha_scheduler.h"

namespace unetd {

class PndmScheduler final : public AlphaScheduler {
 public:
  static StatusOr<std::unique_ptr<Scheduler>> Create(const SchedulerConfig& config);

  std::string_view name() const override { return "PNDMScheduler"; }
  Status SetTimesteps(int64_t steps) override;
  bool NeedsNoise(int64_t /*step*/, const StepOptions& /*options*/) const override { return false; }
  uint64_t StepBytes(uint64_t rows, uint64_t row_elements) const override;
  Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) override;
  Status SetState(int64_t next_step, uint64_t elements, SchedulerState state) override;

 private:
  explicit PndmScheduler(const SchedulerConfig& config);

  // A state is the number of steps taken and, as long as they are needed: the last model outputs,
  // the oldest first; the sample that a group of steps started from; the sum of the group's
  // outputs.
  int64_t steps_taken() const { return state_.counters.empty() ? 0 : state_.counters[0]; }
  int64_t TensorsAfter(int64_t steps) const;

  void RungeKutta(int64_t step, const StepTensors& tensors);
  void Multistep(int64_t step, const StepTensors& tensors);
  // prev_sample of `sample` at timestep `from`, when combined_ takes it to timestep `to`.
  void Move(int64_t from, int64_t to, const float* sample, float* prev);

  int64_t ratio_ = 0;                   // training timesteps between two of linear multistep
  std::vector<int64_t> prk_timesteps_;  // of the Runge-Kutta steps; empty: none
  std::vector<float> combined_;         // scratch of Step: the outputs that it takes together
};

}  // namespace unetd
