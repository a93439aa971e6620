#include "server/diffusion/euler_ancestral.h"

#include <algorithm>
#include <cmath>

#include "server/base/text.h"

namespace unetd {

StatusOr<std::unique_ptr<Scheduler>> EulerAncestralDiscreteScheduler::Create(
    const SchedulerConfig& config) {
  return std::unique_ptr<Scheduler>(new EulerAncestralDiscreteScheduler(config));
}

float EulerAncestralDiscreteScheduler::NoiseUp(int64_t step) const {
  const float from = sigmas_[step] * sigmas_[step];
  const float to = sigmas_[step + 1] * sigmas_[step + 1];
  return std::sqrt(std::max(to * (from - to) / from, 0.0f));
}

bool EulerAncestralDiscreteScheduler::NeedsNoise(int64_t step,
                                                 const StepOptions& /*options*/) const {
  return HasStep(step) && NoiseUp(step) > 0;
}

Status EulerAncestralDiscreteScheduler::Step(int64_t step, const StepOptions& options,
                                             const StepTensors& tensors) {
  RETURN_IF_ERROR(CheckTensors(step, options, tensors));
  const float up = NoiseUp(step);
  const float sigma = sigmas_[step];
  const float to = sigmas_[step + 1];
  const float down = std::sqrt(std::max(to * to - up * up, 0.0f));
  const float dt = down - sigma;
  PredictOriginal(sigma, tensors);
  const uint64_t elements = tensors.rows * tensors.row_elements;
  for (uint64_t i = 0; i < elements; ++i) {
    const float sample = tensors.sample[i];
    const float derivative = (sample - tensors.pred_original_sample[i]) / sigma;
    tensors.prev_sample[i] = sample + derivative * dt;
  }
  if (up == 0) return OkStatus();
  for (uint64_t i = 0; i < elements; ++i) tensors.prev_sample[i] += tensors.noise[i] * up;
  return OkStatus();
}

}  // namespace unetd
