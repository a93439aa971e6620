#include "server/diffusion/alpha_scheduler.h"

#include <cmath>
#include <utility>

#include "server/base/text.h"
#include "server/diffusion/noise_schedule.h"

namespace unetd {

AlphaScheduler::AlphaScheduler(SchedulerConfig config)
    : config_(std::move(config)),
      alphas_cumprod_(AlphasCumprod(config_)),
      final_alpha_(config_.set_alpha_to_one ? 1.0f : alphas_cumprod_[0]) {}

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

void AlphaScheduler::AddNoise(int64_t step, const float* original, const float* noise,
                              uint64_t elements, float* noisy) const {
  MixNoise(MixOf(Alpha(Timestep(step))), original, noise, elements, noisy);
}

}  // namespace unetd
