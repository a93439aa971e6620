#include "server/diffusion/sigma_schedule.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "server/base/text.h"
#include "server/diffusion/noise_schedule.h"

namespace unetd {
namespace {

// from Karras et al.; diffusers has no key for it
constexpr double kRho = 7;

std::vector<double> KarrasSigmas(double first, double last, int64_t count) {
  const double top = std::pow(first, 1 / kRho);
  const double bottom = std::pow(last, 1 / kRho);
  std::vector<double> sigmas = NumpyLinspace(0, 1, count);
  for (double& sigma : sigmas) sigma = std::pow(top + sigma * (bottom - top), kRho);
  return sigmas;
}

// Even steps of lambda, which is -log(sigma); its ends are float32 logarithms.
std::vector<double> LuSigmas(double first, double last, int64_t count) {
  const double top = NumpyLogOf(static_cast<float>(first));
  const double bottom = NumpyLogOf(static_cast<float>(last));
  std::vector<double> sigmas = NumpyLinspace(0, 1, count);
  for (double& sigma : sigmas) sigma = std::exp(top + sigma * (bottom - top));
  return sigmas;
}

std::vector<double> ExponentialSigmas(double first, double last, int64_t count) {
  std::vector<double> sigmas = NumpyLinspace(std::log(first), std::log(last), count);
  for (double& sigma : sigmas) sigma = std::exp(sigma);
  return sigmas;
}

}  // namespace

NoiseLevel NoiseLevelOf(float sigma_ratio) {
  NoiseLevel level;
  level.alpha = 1.0f / std::sqrt(sigma_ratio * sigma_ratio + 1);
  level.sigma = sigma_ratio * level.alpha;
  level.lambda = LogOf(level.alpha) - LogOf(level.sigma);
  return level;
}

std::vector<float> SigmaAlphas(const SchedulerConfig& config) {
  std::vector<float> alphas = AlphasCumprod(config);
  if (config.rescale_betas_zero_snr) alphas.back() = 0x1p-24f;
  return alphas;
}

std::vector<float> SigmasOf(const std::vector<float>& alphas_cumprod) {
  std::vector<float> sigmas(alphas_cumprod.size());
  std::transform(alphas_cumprod.begin(), alphas_cumprod.end(), sigmas.begin(),
                 [](float alpha) { return std::sqrt((1.0f - alpha) / alpha); });
  return sigmas;
}

float ExpOf(float value) { return static_cast<float>(std::exp(static_cast<double>(value))); }

float LogOf(float value) { return static_cast<float>(std::log(static_cast<double>(value))); }

float NumpyLogOf(float value) {
  if (!(value > 0) || !std::isfinite(value)) return std::log(value);
  int exponent = 0;
  float x = std::frexp(value, &exponent);  // in [1/2, 1)
  if (x > static_cast<float>(M_SQRT1_2)) {
    x -= 1;
  } else {
    x = 2 * x - 1;
    --exponent;
  }
  // numpy's minimax quotient for log(1 + x), highest power first.
  constexpr float kAbove[] = {2.589979117907922693523e-02f, 3.808837741388407920751e-01f,
                              1.480000633576506585156e+00f, 2.112677543073053063722e+00f,
                              9.999999999999998702752e-01f, 0.0f};
  constexpr float kBelow[] = {5.875095403124574342950e-03f, 1.546476374983906719538e-01f,
                              9.864942958519418960339e-01f, 2.453006071784736363091e+00f,
                              2.612677543073109236779e+00f, 1.0f};
  float above = kAbove[0];
  float below = kBelow[0];
  for (size_t i = 1; i < std::size(kAbove); ++i) {
    above = std::fma(above, x, kAbove[i]);
    below = std::fma(below, x, kBelow[i]);
  }
  return std::fma(static_cast<float>(exponent), static_cast<float>(M_LN2), above / below);
}

std::vector<float> NumpyLogsOf(const std::vector<float>& values) {
  std::vector<float> logs(values.size());
  std::transform(values.begin(), values.end(), logs.begin(), NumpyLogOf);
  return logs;
}

std::vector<double> NumpyLinspace(double start, double stop, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count), start);
  if (count == 1) return values;
  const double step = (stop - start) / static_cast<double>(count - 1);
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<double>(i) * step + start;
  values.back() = stop;
  return values;
}

std::vector<double> TrailingTimesteps(int64_t start, double ratio) {
  // numpy.arange adds the difference of its first two values again and again.
  const auto first = static_cast<double>(start);
  const double delta = (first - ratio) - first;
  const auto count = static_cast<int64_t>(std::ceil(first / ratio));
  std::vector<double> timesteps;
  for (int64_t i = 0; i < count; ++i) {
    const double timestep = std::nearbyint(first + static_cast<double>(i) * delta) - 1;
    if (timestep < 0) break;
    timesteps.push_back(timestep);
  }
  return timesteps;
}

double SigmaAt(double timestep, const std::vector<float>& sigmas) {
  const auto end = static_cast<double>(sigmas.size() - 1);
  if (timestep >= end) return sigmas.back();
  if (!(timestep > 0)) return sigmas.front();
  const auto below = static_cast<size_t>(timestep);
  const double low = sigmas[below];
  return (sigmas[below + 1] - low) * (timestep - static_cast<double>(below)) + low;
}

double TimestepAt(double sigma, const std::vector<float>& log_sigmas) {
  if (log_sigmas.size() < 2) return NAN;
  const double log_sigma = std::log(std::max(sigma, 1e-10));
  // They rise, but perhaps for the last, which rescale_betas_zero_snr changes.
  const auto end = log_sigmas.end() - 1;
  const auto above = log_sigma >= *end ? end : std::upper_bound(log_sigmas.begin(), end, log_sigma);
  const auto last_below = static_cast<int64_t>(log_sigmas.size()) - 2;
  const int64_t below =
      std::clamp<int64_t>(std::distance(log_sigmas.begin(), above) - 1, 0, last_below);
  const float low = log_sigmas[below];
  const float high = log_sigmas[below + 1];
  const double weight = (low - log_sigma) / static_cast<double>(low - high);
  const double w = std::isnan(weight) ? weight : std::clamp(weight, 0.0, 1.0);
  return (1 - w) * static_cast<double>(below) + w * static_cast<double>(below + 1);
}

bool HasSigmaCurve(const SchedulerConfig& config) {
  return config.use_karras_sigmas || config.use_lu_lambdas || config.use_exponential_sigmas;
}

std::vector<double> SigmaCurve(const SchedulerConfig& config, double first, double last,
                               int64_t count) {
  first = config.sigma_max.value_or(first);
  last = config.sigma_min.value_or(last);
  if (config.use_karras_sigmas) return KarrasSigmas(first, last, count);
  if (config.use_lu_lambdas) return LuSigmas(first, last, count);
  return ExponentialSigmas(first, last, count);
}

Status CheckStepCount(const SchedulerConfig& config, int64_t steps) {
  if (steps >= 1 && steps <= config.num_train_timesteps) return OkStatus();
  return InvalidArgument(
      Format("num_inference_steps: expected 1 to {} (the scheduler's num_train_timesteps), got {}",
             config.num_train_timesteps, steps));
}

Status CheckSigmas(const std::vector<float>& sigmas) {
  for (size_t i = 0; i < sigmas.size(); ++i) {
    const bool last = i + 1 == sigmas.size();
    if (std::isfinite(sigmas[i]) && (sigmas[i] > 0 || (last && sigmas[i] == 0))) continue;
    return InvalidArgument(
        Format("scheduler config: its betas, sigma_min and sigma_max give noise level {} for step "
               "{}: expected a positive finite number",
               sigmas[i], i));
  }
  return OkStatus();
}

Status CheckTimesteps(const std::vector<double>& timesteps) {
  for (size_t i = 0; i < timesteps.size(); ++i) {
    if (std::isfinite(timesteps[i])) continue;
    return InvalidArgument(
        Format("scheduler config: its betas give timestep {} for step {}: expected a finite number",
               timesteps[i], i));
  }
  return OkStatus();
}

}  // namespace unetd
