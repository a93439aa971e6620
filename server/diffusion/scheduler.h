// Scheduler: turns the UNet's outputs into the next, less noisy sample. One instance a request:
// schedulers may keep history between steps.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "server/base/status.h"
#include "server/diffusion/scheduler_config.h"

namespace unetd {

// What a request may say of every step.
struct StepOptions {
  double eta = 0;  // DDIM: weight of the added noise, in [0, 1]
  bool use_clipped_model_output =
      false;  // DDIM: derive the noise again from the clipped original sample
};

// Row-major float32 of rows * row_elements each. prev_sample may be sample itself; no others may
// overlap.
struct StepTensors {
  const float* model_output = nullptr;
  const float* sample = nullptr;
  const float* noise = nullptr;  // standard normal; needed where NeedsNoise
  float* prev_sample = nullptr;
  float* pred_original_sample = nullptr;
  uint64_t rows = 0;
  uint64_t row_elements = 0;
};

class Scheduler {
 public:
  virtual ~Scheduler() = default;

  virtual std::string_view name() const = 0;  // diffusers' class name
  // Forgets history. INVALID_ARGUMENT if this scheduler cannot do `steps` steps.
  virtual Status SetTimesteps(int64_t steps) = 0;
  // One a step, in the order of the loop; what the UNet is told.
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
  virtual Status Step(int64_t step, const StepOptions& options, const StepTensors& tensors) = 0;

 protected:
  std::vector<double> timesteps_;
};

// The scheduler that the config's class names, without timesteps yet. UNIMPLEMENTED names the
// classes that are built.
StatusOr<std::unique_ptr<Scheduler>> MakeScheduler(const SchedulerConfig& config);

}  // namespace unetd
