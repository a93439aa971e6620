// MultistepSolver: what the solvers share that fit a polynomial of lambda = log(alpha / sigma) to
// the model's last outputs. Samples are alpha * original + sigma * noise, of variance 1.
//
// Where diffusers is wrong, this is right: a step of no length, one to no noise at all, and those
// whose history has two outputs at one lambda (1000 steps of 1000, say) are taken with as low an
// order as makes them finite.
#pragma once

#include <vector>

#include "server/diffusion/sample_limit.h"
#include "server/diffusion/scheduler.h"
#include "server/diffusion/sigma_schedule.h"

namespace unetd {

class MultistepSolver : public Scheduler {
 public:
  bool NeedsNoise(int64_t /*step*/, const StepOptions& /*options*/) const override { return false; }
  void AddNoise(int64_t step, const float* original, const float* noise, uint64_t elements,
                float* noisy) const override;

 protected:
  // What a solver computes with its own rules.
  struct Rules {
    bool predicts_original;  // else the noise
    bool thresholding;
    bool rounds_cosine;   // timesteps of Karras' or Lu's curve, with the cosine schedule too
    bool ends_on_curve;   // final_sigmas_type sigma_min is the curve's, not the training's
    bool drops_variance;  // the model's output may have a second half, the learned variance
  };

  MultistepSolver(const SchedulerConfig& config, const Rules& rules);
  // UNIMPLEMENTED for keys that none of these solvers takes.
  static Status CheckConfig(const SchedulerConfig& config);

  const SchedulerConfig& config() const { return config_; }
  // Before each step, then after the last.
  const NoiseLevel& level(int64_t index) const { return levels_[index]; }
  // Timesteps from `last_timestep` - 1 down, and their levels.
  Status SetGrid(int64_t steps, int64_t last_timestep);
  // The highest order up to `wanted` that is finite.
  int64_t UsableOrder(int64_t step, int64_t wanted) const;

  // As Scheduler's, and of the history.
  Status CheckTensors(int64_t step, const StepOptions& options, const StepTensors& tensors) const;
  // Fills converted_ with what the solver goes by, original or noise, and pred_original_sample.
  void ConvertOutput(int64_t step, const StepTensors& tensors);
  // Puts converted_ before the outputs of state_.tensors, which begin at `first`, and keeps `most`.
  void KeepOutput(size_t first, size_t most);
  // Bytes of `tensors` tensors and what thresholding needs.
  uint64_t Bytes(uint64_t tensors, uint64_t rows, uint64_t row_elements) const;

  std::vector<float> converted_;

 private:
  std::vector<double> SpacedTimesteps(int64_t steps, int64_t last_timestep) const;
  void TakeCurve(int64_t steps, std::vector<double>* timesteps, std::vector<double>* sigmas) const;
  const SchedulerConfig config_;
  const Rules rules_;
  const std::vector<float> training_, log_training_;  // sigmas, one a training timestep
  SampleLimit limit_;
  std::vector<NoiseLevel> levels_;
};

}  // namespace unetd
