// DDPMScheduler, as diffusers computes it.
//
// Where diffusers is wrong, this is right: `trailing` spacing gives as many timesteps as were asked
// for, and the variance fixed_large_log is that of fixed_large (diffusers takes the root of its
// logarithm, which is NaN).
#pragma once

#include <memory>

#include "server/diffusion/alpha_scheduler.h"
#include "server/diffusion/sample_limit.h"

namespace unetd {

class DdpmScheduler final : public AlphaScheduler {
 public:
  static StatusOr<std::unique_ptr<Scheduler>> Create(const SchedulerConfig& config);

  std::string_view name() const override { return "DDPMScheduler"; }
  Status SetTimesteps(int64_t steps) override;
  // Not at timestep 0, nor where a fixed_small variance is nothing but diffusers' floor of 1e-20.
  bool NeedsNoise(int64_t step, const StepOptions& options) const override;
  uint64_t StepBytes(uint64_t rows, uint64_t row_elements) const override;
  // Where the variance is learned, output_elements is twice row_elements: a row is the output, then
  // its variance.
  Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) override;

 private:
  explicit DdpmScheduler(const SchedulerConfig& config);

  // What a step multiplies with.
  struct Coefficients {
    Mix mix;         // at the timestep
    float original;  // weights of what prev_sample is made of
    float sample;
    float small_variance;        // the posterior's
    float large_variance;        // beta
    float log_small, log_large;  // of the variances
  };
  Coefficients CoefficientsAt(int64_t step) const;
  float AlphaBefore(int64_t step) const;  // at the next, less noisy timestep; 1 after the last
  bool learns_variance() const;
  float FixedDeviation(const Coefficients& c) const;
  float LearnedDeviation(const Coefficients& c, float predicted) const;

  SampleLimit limit_;
};

}  // namespace unetd
