#include "server/diffusion/distilled_timesteps.h"

#include <cmath>

#include "server/base/text.h"

namespace unetd {

StatusOr<std::vector<double>> DistilledTimesteps(const SchedulerConfig& config, int64_t steps) {
  const int64_t original = config.original_inference_steps;
  if (original > config.num_train_timesteps) {
    return InvalidArgument(
        Format("scheduler config: original_inference_steps: expected at most {} "
               "(num_train_timesteps), got {}",
               config.num_train_timesteps, original));
  }
  if (steps < 1 || steps > original) {
    return InvalidArgument(Format(
        "num_inference_steps: expected 1 to {} (the scheduler's original_inference_steps), got {}",
        original, steps));
  }
  const int64_t distance = config.num_train_timesteps / original;
  const double stride = static_cast<double>(original) / static_cast<double>(steps);
  std::vector<double> timesteps;
  timesteps.reserve(static_cast<size_t>(steps));
  for (int64_t i = 0; i < steps; ++i) {
    const auto skipped = static_cast<int64_t>(std::floor(static_cast<double>(i) * stride));
    timesteps.push_back(static_cast<double>((original - skipped) * distance - 1));
  }
  return timesteps;
}

}  // namespace unetd
