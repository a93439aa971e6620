// AlphaScheduler: what DDIM, DDPM, LCM, TCD and PNDM share, all of whose timesteps are whole
// training timesteps with their alphas_cumprod.
#pragma once

#include <cstdint>
#include <vector>

#include "server/diffusion/prediction.h"
#include "server/diffusion/scheduler.h"

namespace unetd {

class AlphaScheduler : public Scheduler {
 public:
  void AddNoise(int64_t step, const float* original, const float* noise, uint64_t elements,
                float* noisy) const final;

 protected:
  explicit AlphaScheduler(SchedulerConfig config);

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
  const SchedulerConfig config_;
  const std::vector<float> alphas_cumprod_;  // one a training timestep
  const float final_alpha_;
};

}  // namespace unetd
