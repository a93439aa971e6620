// The timesteps of LCM and TCD: some of those that the model was distilled for.
#pragma once

#include <cstdint>
#include <vector>

#include "server/base/status.h"
#include "server/diffusion/scheduler_config.h"

namespace unetd {

// In the order of the loop. INVALID_ARGUMENT unless 1 <= steps <= original_inference_steps <=
// num_train_timesteps.
StatusOr<std::vector<double>> DistilledTimesteps(const SchedulerConfig& config, int64_t steps);

}  // namespace unetd
