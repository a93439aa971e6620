// DPMSolverMultistepScheduler, as diffusers computes it: dpmsolver++ and dpmsolver of order 1 to 3,
// and their stochastic siblings (sde-dpmsolver up to order 2). A higher order is 3.
//
// Where diffusers is wrong, this is right: a learned variance is dropped for any number of
// channels, not only after the third, and the root of a rounding error below zero is 0, not NaN.
// See multistep_solver.h, too.
#pragma once

#include <memory>

#include "server/diffusion/dpm_solver_update.h"
#include "server/diffusion/multistep_solver.h"

namespace unetd {

class DpmSolverMultistepScheduler final : public MultistepSolver {
 public:
  static StatusOr<std::unique_ptr<Scheduler>> Create(const SchedulerConfig& config);

  std::string_view name() const override { return "DPMSolverMultistepScheduler"; }
  Status SetTimesteps(int64_t steps) override;
  bool NeedsNoise(int64_t step, const StepOptions& options) const override;
  uint64_t StepBytes(uint64_t rows, uint64_t row_elements) const override;
  Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) override;
  Status SetState(int64_t next_step, uint64_t elements, SchedulerState state) override;

 private:
  explicit DpmSolverMultistepScheduler(const SchedulerConfig& config);

  int64_t OrderAt(int64_t step) const;
  void Update(int64_t step, int64_t order, const StepTensors& tensors) const;
  void AddSecondOrder(int64_t step, const DpmSolverUpdate& update,
                      const StepTensors& tensors) const;
  void AddThirdOrder(int64_t step, const DpmSolverUpdate& update, const StepTensors& tensors) const;
  // How long the step `back` steps before is in lambda, in units of this one.
  float RelativeLength(int64_t step, int64_t back) const;

  // state_.tensors are the converted outputs of the steps before, newest first, up to one less than
  // the order.
  size_t history() const { return static_cast<size_t>(order_ - 1); }

  const int64_t order_;
};

}  // namespace unetd
