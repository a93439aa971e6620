// Scheduler: turns the UNet's outputs into the next, less noisy sample. One instance a request:
// schedulers may keep history between steps.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "server/base/status.h"
#include "server/diffusion/scheduler_config.h"

namespace unetd {

// What a request may say of every step.
struct StepOptions {
  // DDIM, TCD: weight of the added noise, in [0, 1]; unset: the scheduler's own default.
  std::optional<double> eta;
  // DDIM: derive the noise again from the clipped original sample.
  bool use_clipped_model_output = false;
};

// Row-major float32 of rows * row_elements each. prev_sample may be sample itself; no others may
// overlap.
struct StepTensors {
  const float* model_output = nullptr;  // rows * output_elements
  const float* sample = nullptr;
  const float* noise = nullptr;  // standard normal; needed where NeedsNoise
  float* prev_sample = nullptr;
  float* pred_original_sample = nullptr;  // zeros where the scheduler predicts none
  uint64_t rows = 0;
  uint64_t row_elements = 0;
  uint64_t output_elements = 0;  // of a row; twice row_elements where the variance is learned
};

// What a scheduler remembers between steps: enough to go on in another instance that has the same
// config and timesteps.
struct SchedulerState {
  std::vector<std::vector<float>> tensors;  // rows * row_elements each; empty: not there yet
  std::vector<int64_t> counters;
};

class Scheduler {
 public:
  virtual ~Scheduler() = default;

  virtual std::string_view name() const = 0;  // diffusers' class name
  // Forgets history. INVALID_ARGUMENT if this scheduler cannot do `steps` steps.
  virtual Status SetTimesteps(int64_t steps) = 0;
  // One a call of the UNet, in the order of the loop; what the UNet is told. May be more than the
  // `steps` asked for: Heun calls the UNet 2 * steps - 1 times. A "step" below is one of these.
  const std::vector<double>& timesteps() const { return timesteps_; }

  // What standard normal noise is multiplied with to become the first sample.
  virtual double init_noise_sigma() const { return 1; }
  // What the sample is multiplied with before the UNet sees it.
  virtual double InputScale(int64_t /*step*/) const { return 1; }
  // Does Step add noise?
  virtual bool NeedsNoise(int64_t step, const StepOptions& options) const = 0;
  // Bytes that Step needs beside its tensors, history too.
  virtual uint64_t StepBytes(uint64_t rows, uint64_t row_elements) const = 0;

  // INVALID_ARGUMENT for a step out of range or missing noise. Each row is computed by itself.
  // Steps are taken in order, from any first one.
  virtual Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) = 0;

  // What lies before `step`: `original` with as much of `noise` as the loop has there (diffusers'
  // add_noise at the step's timestep). Any may be the same array.
  virtual void AddNoise(int64_t step, const float* original, const float* noise, uint64_t elements,
                        float* noisy) const = 0;

  const SchedulerState& state() const { return state_; }
  // As it was before `next_step`. INVALID_ARGUMENT if no instance like this one can have had it.
  virtual Status SetState(int64_t next_step, uint64_t elements, SchedulerState state);

 protected:
  bool HasStep(int64_t step) const {
    return step >= 0 && static_cast<uint64_t>(step) < timesteps_.size();
  }
  // INVALID_ARGUMENT unless `step` is one of timesteps().
  Status CheckStep(int64_t step) const;
  // The same; and the model gave `outputs` times as much as the sample has; and needed noise is
  // there.
  Status CheckTensors(int64_t step, const StepOptions& options, const StepTensors& tensors,
                      uint64_t outputs = 1) const;

  std::vector<double> timesteps_;
  SchedulerState state_;
};

// The scheduler that the config's class names, without timesteps yet. UNIMPLEMENTED names the
// classes that are built.
StatusOr<std::unique_ptr<Scheduler>> MakeScheduler(const SchedulerConfig& config);

}  // namespace unetd
