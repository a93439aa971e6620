#include "server/diffusion/alpha_scheduler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/base/text.h"
#include "server/diffusion/noise_schedule.h"

namespace unetd {

AlphaScheduler::AlphaScheduler(SchedulerConfig config)
    : config_(std::move(config)),
      alphas_cumprod_(AlphasCumprod(config_)),
      final_alpha_(config_.set_alpha_to_one ? 1.0f : alphas_cumprod_[0]) {}

AlphaScheduler::Mix AlphaScheduler::MixOf(float alpha) {
  return {std::sqrt(alpha), std::sqrt(1.0f - alpha)};
}

Status AlphaScheduler::CheckSteps(int64_t steps) const {
  if (steps >= 1 && steps <= config_.num_train_timesteps) return OkStatus();
  return InvalidArgument(
      Format("num_inference_steps: expected 1 to {} (the scheduler's num_train_timesteps), got {}",
             config_.num_train_timesteps, steps));
}

StatusOr<std::vector<double>> AlphaScheduler::Spaced(int64_t steps) const {
  RETURN_IF_ERROR(CheckSteps(steps));
  const int64_t train = config_.num_train_timesteps;
  std::vector<double> timesteps(static_cast<size_t>(steps));
  if (config_.timestep_spacing == TimestepSpacing::kLinspace) {
    const double step =
        steps > 1 ? static_cast<double>(train - 1) / static_cast<double>(steps - 1) : 0;
    for (int64_t i = 0; i < steps; ++i) {
      const bool last = i == steps - 1 && steps > 1;
      timesteps[steps - 1 - i] =
          std::nearbyint(last ? static_cast<double>(train - 1) : static_cast<double>(i) * step);
    }
  } else if (config_.timestep_spacing == TimestepSpacing::kLeading) {
    for (int64_t i = 0; i < steps; ++i) {
      timesteps[steps - 1 - i] = static_cast<double>(i * (train / steps) + config_.steps_offset);
    }
  } else {
    // As numpy.arange has it: the difference of its first two values, again and again. It may give
    // one value more than `steps`, of timestep -1 (61 of 1000, 121, 223, ...): not here.
    const auto start = static_cast<double>(train);
    const double delta = (start - start / static_cast<double>(steps)) - start;
    for (int64_t i = 0; i < steps; ++i) {
      timesteps[i] = std::nearbyint(start + static_cast<double>(i) * delta) - 1;
    }
  }
  return timesteps;
}

Status AlphaScheduler::Accept(int64_t steps, std::vector<double> timesteps) {
  const auto count = static_cast<int64_t>(alphas_cumprod_.size());
  for (const double timestep : timesteps) {
    if (timestep >= 0 && timestep < static_cast<double>(count)) continue;
    return InvalidArgument(
        Format("num_inference_steps {} with steps_offset {} gives timestep {}, but the scheduler "
               "has timesteps 0 to {}",
               steps, config_.steps_offset, timestep, count - 1));
  }
  timesteps_ = std::move(timesteps);
  return OkStatus();
}

Status AlphaScheduler::CheckTensors(int64_t step, const StepOptions& options,
                                    const StepTensors& tensors, uint64_t outputs) const {
  RETURN_IF_ERROR(CheckStep(step));
  if (tensors.output_elements != outputs * tensors.row_elements) {
    return InvalidArgument(Format("model output: {} expects {} elements a row here, got {}", name(),
                                  outputs * tensors.row_elements, tensors.output_elements));
  }
  if (tensors.noise != nullptr || !NeedsNoise(step, options)) return OkStatus();
  return InvalidArgument(Format("step {}: {} needs noise here, got none", step, name()));
}

void AlphaScheduler::PredictOriginal(const Mix& mix, const float* output, const float* sample,
                                     uint64_t elements, float* original) const {
  if (config_.prediction_type == PredictionType::kEpsilon) {
    for (uint64_t i = 0; i < elements; ++i) {
      original[i] = (sample[i] - mix.deviation * output[i]) / mix.signal;
    }
  } else if (config_.prediction_type == PredictionType::kVPrediction) {
    for (uint64_t i = 0; i < elements; ++i) {
      original[i] = mix.signal * sample[i] - mix.deviation * output[i];
    }
  } else {
    std::copy_n(output, elements, original);
  }
}

void AlphaScheduler::PredictNoise(const Mix& mix, const float* output, const float* sample,
                                  uint64_t elements, float* noise) const {
  if (config_.prediction_type == PredictionType::kEpsilon) {
    std::copy_n(output, elements, noise);
  } else if (config_.prediction_type == PredictionType::kVPrediction) {
    for (uint64_t i = 0; i < elements; ++i) {
      noise[i] = mix.signal * output[i] + mix.deviation * sample[i];
    }
  } else {
    NoiseBetween(mix, output, sample, elements, noise);
  }
}

void AlphaScheduler::NoiseBetween(const Mix& mix, const float* original, const float* sample,
                                  uint64_t elements, float* noise) {
  for (uint64_t i = 0; i < elements; ++i) {
    noise[i] = (sample[i] - mix.signal * original[i]) / mix.deviation;
  }
}

void AlphaScheduler::AddNoise(int64_t step, const float* original, const float* noise,
                              uint64_t elements, float* noisy) const {
  const Mix mix = MixOf(Alpha(Timestep(step)));
  for (uint64_t i = 0; i < elements; ++i) {
    noisy[i] = mix.signal * original[i] + mix.deviation * noise[i];
  }
}

}  // namespace unetd
