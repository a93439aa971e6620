// AlphaScheduler: what DDIM, DDPM, LCM, TCD and PNDM share, all of whose timesteps are whole
// training timesteps with their alphas_cumprod.
#pragma once

#include <cstdint>
#include <vector>

#include "server/diffusion/scheduler.h"

namespace unetd {

class AlphaScheduler : public Scheduler {
 public:
  void AddNoise(int64_t step, const float* original, const float* noise, uint64_t elements,
                float* noisy) const final;

 protected:
  explicit AlphaScheduler(SchedulerConfig config);

  // A sample is signal * original + deviation * noise.
  struct Mix {
    float signal;     // sqrt(alpha)
    float deviation;  // sqrt(1 - alpha)
  };
  static Mix MixOf(float alpha);

  bool HasStep(int64_t step) const {
    return step >= 0 && static_cast<size_t>(step) < timesteps_.size();
  }
  bool IsLast(int64_t step) const { return static_cast<size_t>(step) + 1 == timesteps_.size(); }
  int64_t Timestep(int64_t step) const { return static_cast<int64_t>(timesteps_[step]); }
  // alphas_cumprod; below timestep 0, what lies after the last step.
  float Alpha(int64_t timestep) const {
    return timestep < 0 ? final_alpha_ : alphas_cumprod_[static_cast<size_t>(timestep)];
  }

  // The timesteps of the config's timestep_spacing, in the order of the loop. INVALID_ARGUMENT
  // unless 1 <= steps <= num_train_timesteps.
  StatusOr<std::vector<double>> Spaced(int64_t steps) const;
  // Takes them as timesteps(). INVALID_ARGUMENT naming one that has no alpha.
  Status Accept(int64_t steps, std::vector<double> timesteps);
  Status CheckSteps(int64_t steps) const;
  // As Scheduler::CheckStep; noise is there if it is needed, and the model gave `outputs` times as
  // much as the sample has.
  Status CheckTensors(int64_t step, const StepOptions& options, const StepTensors& tensors,
                      uint64_t outputs = 1) const;

  // Of one row, by the config's prediction_type. `original` and `noise` may not be the inputs.
  void PredictOriginal(const Mix& mix, const float* output, const float* sample, uint64_t elements,
                       float* original) const;
  void PredictNoise(const Mix& mix, const float* output, const float* sample, uint64_t elements,
                    float* noise) const;
  // The noise that lies between a sample and its original; `noise` may be `sample`.
  static void NoiseBetween(const Mix& mix, const float* original, const float* sample,
                           uint64_t elements, float* noise);

  const SchedulerConfig config_;
  const std::vector<float> alphas_cumprod_;  // one a training timestep
  const float final_alpha_;
};

}  // namespace unetd
