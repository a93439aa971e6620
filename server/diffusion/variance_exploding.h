// VarianceExplodingScheduler: what the schedulers share whose samples are original + sigma * noise.
// The UNet sees them scaled down to a variance of 1.
#pragma once

#include <vector>

#include "server/diffusion/scheduler.h"

namespace unetd {

class VarianceExplodingScheduler : public Scheduler {
 public:
  Status SetTimesteps(int64_t steps) override;
  double init_noise_sigma() const override;
  double InputScale(int64_t step) const override;
  void AddNoise(int64_t step, const float* original, const float* noise, uint64_t elements,
                float* noisy) const override;

 protected:
  explicit VarianceExplodingScheduler(const SchedulerConfig& config);

  const SchedulerConfig& config() const { return config_; }
  // All rows of pred_original_sample from the model's output for a sample with that much noise.
  void PredictOriginal(float sigma, const StepTensors& tensors) const;

  // Before each step, then after the last. With interpolation_type log_linear one more follows that
  // nothing reads but init_noise_sigma.
  std::vector<float> sigmas_;

 private:
  std::vector<double> SpacedTimesteps(int64_t steps) const;
  std::vector<double> SpacedSigmas(const std::vector<double>& timesteps) const;

  const SchedulerConfig config_;
  const std::vector<float> training_, log_training_;  // sigmas, one a training timestep
};

}  // namespace unetd
