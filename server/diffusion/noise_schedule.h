// The noise schedules that scheduler configs name, in float32 as torch computes them.
#pragma once

#include <cstdint>
#include <vector>

#include "server/diffusion/scheduler_config.h"

namespace unetd {

// torch.linspace of float32, count >= 1.
std::vector<float> Linspace(float start, float end, int64_t count);

// torch.clamp: NaN stays NaN; `high` where low > high.
float Clamp(float value, float low, float high);

// One a training timestep; rescaled to no signal at the end where rescale_betas_zero_snr says so.
// NaN where that cannot be done: the betas are all 0, or there is only one.
std::vector<float> Betas(const SchedulerConfig& config);

// The running product of 1 - beta; as torch has it to the bit, but with rescale_betas_zero_snr,
// where torch's square roots are off by a bit here and there.
std::vector<float> AlphasCumprod(const SchedulerConfig& config);

}  // namespace unetd
