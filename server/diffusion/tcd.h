// TCDScheduler, as diffusers computes it: clip_sample and thresholding are keys that it has and
// does not use. pred_original_sample is the predicted original sample; diffusers hands back the
// sample at the step's inner timestep instead, which is no picture of anything.
#pragma once

#include <memory>

#include "server/diffusion/alpha_scheduler.h"

namespace unetd {

class TcdScheduler final : public AlphaScheduler {
 public:
  static constexpr double kDefaultEta = 0.3;  // diffusers' gamma

  static StatusOr<std::unique_ptr<Scheduler>> Create(const SchedulerConfig& config);

  std::string_view name() const override { return "TCDScheduler"; }
  Status SetTimesteps(int64_t steps) override;
  // In every step but the last, if eta > 0.
  bool NeedsNoise(int64_t step, const StepOptions& options) const override;
  uint64_t StepBytes(uint64_t /*rows*/, uint64_t /*row_elements*/) const override { return 0; }
  // INVALID_ARGUMENT for eta outside [0, 1], too.
  Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) override;

 private:
  using AlphaScheduler::AlphaScheduler;

  // A step goes down to an inner timestep without noise, then up to the next one with it.
  struct Coefficients {
    Mix mix;          // at the timestep
    Mix inner;        // at the inner one
    float signal;     // of the inner sample in the next
    float deviation;  // of the noise; 0: none is added
  };
  Coefficients CoefficientsAt(int64_t step, double eta) const;
};

}  // namespace unetd
