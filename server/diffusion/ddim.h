// DDIMScheduler, as diffusers computes it: float32 throughout, rounded where torch rounds.
//
// Where diffusers is wrong, this is right: `trailing` spacing gives as many timesteps as were asked
// for (diffusers adds timestep -1 for 61 of 1000, 121, 223, ...), and the root of a rounding error
// below zero at eta 1 is 0, not NaN.
#pragma once

#include <memory>
#include <vector>

#include "server/diffusion/scheduler.h"

namespace unetd {

class DdimScheduler final : public Scheduler {
 public:
  static StatusOr<std::unique_ptr<DdimScheduler>> Create(const SchedulerConfig& config);

  std::string_view name() const override { return "DDIMScheduler"; }
  Status SetTimesteps(int64_t steps) override;
  bool NeedsNoise(int64_t step, const StepOptions& options) const override;
  uint64_t StepBytes(uint64_t rows, uint64_t row_elements) const override;
  Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) override;

  const std::vector<float>& alphas_cumprod() const { return alphas_cumprod_; }

 private:
  explicit DdimScheduler(SchedulerConfig config);

  // What a step multiplies with, by the names of the paper: a is alphas_cumprod at the timestep.
  struct Coefficients {
    float root_alpha;       // sqrt(a)
    float root_beta;        // sqrt(1 - a)
    float root_alpha_prev;  // sqrt(a of the previous timestep)
    float deviation;        // sigma
    float direction;        // sqrt(1 - a_prev - sigma^2)
  };
  Coefficients CoefficientsAt(int64_t step, double eta) const;
  // Of one row each.
  void PredictOriginal(const Coefficients& c, const float* output, const float* sample,
                       uint64_t elements, float* original) const;
  void PredictNoise(const Coefficients& c, const float* output, const float* sample,
                    uint64_t elements, float* noise) const;
  static void NoiseBetween(const Coefficients& c, const float* original, const float* sample,
                           uint64_t elements, float* noise);
  void Limit(float* original, uint64_t elements);  // clipping or dynamic thresholding
  void Threshold(float* row, uint64_t elements);

  const SchedulerConfig config_;
  std::vector<float> alphas_cumprod_;  // one a training timestep
  float final_alpha_cumprod_ = 1;
  std::vector<float> sorted_;  // scratch of Threshold
};

// The alphas_cumprod of a config; as torch has them to the bit, but with rescale_betas_zero_snr,
// where its square roots are off by a bit here and there.
std::vector<float> AlphasCumprod(const SchedulerConfig& config);

}  // namespace unetd
