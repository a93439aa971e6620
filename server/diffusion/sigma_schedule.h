// The noise levels of the sigma-based schedulers, sigma = sqrt((1 - a) / a) where a is
// alphas_cumprod: float32 where diffusers has torch tensors, float64 where it has numpy arrays.
#pragma once

#include <cstdint>
#include <vector>

#include "server/base/status.h"
#include "server/diffusion/scheduler_config.h"

namespace unetd {

// How much there is of the original and of the noise in a sample of variance 1.
struct NoiseLevel {
  float alpha, sigma;
  float lambda;  // log(alpha / sigma); infinite where there is no noise
};
NoiseLevel NoiseLevelOf(float sigma_ratio);  // of sigma / alpha

// AlphasCumprod, but with rescale_betas_zero_snr the last is 2^-24: its sigma would be infinite.
std::vector<float> SigmaAlphas(const SchedulerConfig& config);
// One a training timestep.
std::vector<float> SigmasOf(const std::vector<float>& alphas_cumprod);

// torch's float32 functions, as near as one rounding comes.
float ExpOf(float value);
float LogOf(float value);
// numpy's float32 logarithm to the bit, for normal numbers: it is off by a bit here and there, and
// where a timestep is cut to a whole one, that bit decides which.
float NumpyLogOf(float value);
std::vector<float> NumpyLogsOf(const std::vector<float>& values);

// numpy.linspace: the last of several values is `stop` itself.
std::vector<double> NumpyLinspace(double start, double stop, int64_t count);
// numpy.arange(start, 0, -ratio), rounded, less 1: `trailing` spacing. Without the timestep -1 that
// diffusers adds where rounding errors leave a little of the range (61 of 1000, 121, 223, ...).
std::vector<double> TrailingTimesteps(int64_t start, double ratio);

// numpy.interp over the timesteps 0, 1, ...: the ends go on as they are.
double SigmaAt(double timestep, const std::vector<float>& sigmas);
// The way back, between the logarithms of sigmas; NaN if there are fewer than two.
double TimestepAt(double sigma, const std::vector<float>& log_sigmas);

// Does the config have another curve of sigmas than that of its timesteps?
bool HasSigmaCurve(const SchedulerConfig& config);
// `count` sigmas from `first` down to `last` by Karras, Lu or exponentially; sigma_max and
// sigma_min stand before them.
std::vector<double> SigmaCurve(const SchedulerConfig& config, double first, double last,
                               int64_t count);

// INVALID_ARGUMENT unless there are 1 to num_train_timesteps steps.
Status CheckStepCount(const SchedulerConfig& config, int64_t steps);
// INVALID_ARGUMENT unless all sigmas but the last, which may be 0, are positive and finite.
Status CheckSigmas(const std::vector<float>& sigmas);
// INVALID_ARGUMENT unless all are finite.
Status CheckTimesteps(const std::vector<double>& timesteps);

}  // namespace unetd
