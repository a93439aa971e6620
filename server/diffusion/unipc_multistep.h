// UniPCMultistepScheduler, as diffusers computes it: each step first corrects the sample that the
// step before predicted, by the output for it, and then predicts the next.
//
// Where diffusers is wrong, this is right: solver_type bh1 goes to no noise at all, not to NaN.
// See multistep_solver.h, too.
#pragma once

#include <memory>
#include <span>

#include "server/diffusion/multistep_solver.h"
#include "server/diffusion/unipc_update.h"

namespace unetd {

class UniPcMultistepScheduler final : public MultistepSolver {
 public:
  static StatusOr<std::unique_ptr<Scheduler>> Create(const SchedulerConfig& config);

  std::string_view name() const override { return "UniPCMultistepScheduler"; }
  Status SetTimesteps(int64_t steps) override;
  uint64_t StepBytes(uint64_t rows, uint64_t row_elements) const override;
  Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) override;
  Status SetState(int64_t next_step, uint64_t elements, SchedulerState state) override;

 private:
  explicit UniPcMultistepScheduler(const SchedulerConfig& config);

  // Of the predictor that has seen `known` outputs, and of the corrector of what it predicted.
  int64_t OrderAt(int64_t step, int64_t known) const;
  UniPcUpdate UpdateAt(int64_t step, int64_t order, bool corrects) const;
  bool Corrects(int64_t step) const;
  // Puts the sample of this step, corrected if it is to be, into state_.tensors.
  void TakeSample(int64_t step, const StepTensors& tensors);

  // state_.tensors are the sample of the step before, corrected, and the converted outputs up to
  // that step, newest first, up to the order.
  enum StateTensor { kSample, kFirstOutput };
  size_t outputs() const { return state_.tensors.empty() ? 0 : state_.tensors.size() - 1; }
};

}  // namespace unetd
