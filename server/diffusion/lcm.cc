#include "server/diffusion/lcm.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/diffusion/distilled_timesteps.h"

namespace unetd {

LcmScheduler::LcmScheduler(const SchedulerConfig& config)
    : AlphaScheduler(config), limit_(config) {}

StatusOr<std::unique_ptr<Scheduler>> LcmScheduler::Create(const SchedulerConfig& config) {
  return std::unique_ptr<Scheduler>(new LcmScheduler(config));
}

Status LcmScheduler::SetTimesteps(int64_t steps) {
  ASSIGN_OR_RETURN(std::vector<double> timesteps, DistilledTimesteps(config_, steps));
  return Accept(steps, std::move(timesteps));
}

bool LcmScheduler::NeedsNoise(int64_t step, const StepOptions& /*options*/) const {
  return HasStep(step) && !IsLast(step);
}

uint64_t LcmScheduler::StepBytes(uint64_t /*rows*/, uint64_t row_elements) const {
  return limit_.Bytes(row_elements);
}

Status LcmScheduler::Step(int64_t step, const StepOptions& options, const StepTensors& tensors) {
  RETURN_IF_ERROR(CheckTensors(step, options, tensors));
  const bool noisy = NeedsNoise(step, options);
  const Mix mix = MixOf(Alpha(Timestep(step)));
  const Mix next = noisy ? MixOf(Alpha(Timestep(step + 1))) : Mix{1, 0};
  // The boundary condition: at timestep 0 the answer is the sample itself.
  constexpr float kDataVariance = 0.25f;
  const float scaled =
      static_cast<float>(Timestep(step)) * static_cast<float>(config_.timestep_scaling);
  const float variance = scaled * scaled + kDataVariance;
  const float skip = kDataVariance / variance;
  const float out = scaled / std::sqrt(variance);

  const uint64_t elements = tensors.row_elements;
  for (uint64_t row = 0; row < tensors.rows; ++row) {
    const float* output = tensors.model_output + row * elements;
    const float* sample = tensors.sample + row * elements;
    float* denoised = tensors.pred_original_sample + row * elements;
    float* prev = tensors.prev_sample + row * elements;
    PredictOriginal(config_.prediction_type, mix, output, sample, elements, denoised);
    limit_.Apply(denoised, elements);
    for (uint64_t i = 0; i < elements; ++i) denoised[i] = out * denoised[i] + skip * sample[i];
    if (!noisy) {
      std::copy_n(denoised, elements, prev);
      continue;
    }
    const float* noise = tensors.noise + row * elements;
    for (uint64_t i = 0; i < elements; ++i) {
      prev[i] = next.signal * denoised[i] + next.deviation * noise[i];
    }
  }
  return OkStatus();
}

}  // namespace unetd
