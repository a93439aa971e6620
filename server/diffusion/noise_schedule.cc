#include "server/diffusion/noise_schedule.h"

#include <algorithm>
#include <cmath>

namespace unetd {
namespace {

double CosineAlphaBar(double t) {
  const double c = std::cos((t + 0.008) / 1.008 * M_PI / 2);
  return c * c;
}

double LaplaceAlphaBar(double t) {
  const double lambda =
      -0.5 * std::copysign(1, 0.5 - t) * std::log(1 - 2 * std::fabs(0.5 - t) + 1e-6);
  const double snr = std::exp(lambda);
  return std::sqrt(snr / (1 + snr));
}

double ExpAlphaBar(double t) { return std::exp(t * -12.0); }

// The betas whose running product of 1 - beta is alpha_bar over [0, 1].
std::vector<float> BetasForAlphaBar(double (*alpha_bar)(double), int64_t count) {
  std::vector<float> betas;
  betas.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const double t1 = static_cast<double>(i) / static_cast<double>(count);
    const double t2 = static_cast<double>(i + 1) / static_cast<double>(count);
    betas.push_back(static_cast<float>(std::min(1 - alpha_bar(t2) / alpha_bar(t1), 0.999)));
  }
  return betas;
}

std::vector<float> SigmoidBetas(const SchedulerConfig& config) {
  std::vector<float> betas = Linspace(-6, 6, config.num_train_timesteps);
  const auto range = static_cast<float>(config.beta_end - config.beta_start);
  const auto start = static_cast<float>(config.beta_start);
  for (float& beta : betas) beta = 1.0f / (1.0f + std::exp(-beta)) * range + start;
  return betas;
}

std::vector<float> ScaledLinearBetas(const SchedulerConfig& config) {
  std::vector<float> betas =
      Linspace(static_cast<float>(std::sqrt(config.beta_start)),
               static_cast<float>(std::sqrt(config.beta_end)), config.num_train_timesteps);
  for (float& beta : betas) beta = beta * beta;
  return betas;
}

std::vector<float> NamedBetas(const SchedulerConfig& config) {
  const int64_t count = config.num_train_timesteps;
  switch (config.beta_schedule) {
    case BetaSchedule::kScaledLinear:
      return ScaledLinearBetas(config);
    case BetaSchedule::kSquaredCosCapV2:
      return BetasForAlphaBar(CosineAlphaBar, count);
    case BetaSchedule::kSigmoid:
      return SigmoidBetas(config);
    case BetaSchedule::kLaplace:
      return BetasForAlphaBar(LaplaceAlphaBar, count);
    case BetaSchedule::kExp:
      return BetasForAlphaBar(ExpAlphaBar, count);
    case BetaSchedule::kLinear:
      break;
  }
  return Linspace(static_cast<float>(config.beta_start), static_cast<float>(config.beta_end),
                  count);
}

// torch's float32 cumprod on the CPU carries a double and rounds each output.
std::vector<float> Cumprod(const std::vector<float>& betas) {
  std::vector<float> products;
  products.reserve(betas.size());
  double product = 1;
  for (const float beta : betas) {
    product *= static_cast<double>(1.0f - beta);
    products.push_back(static_cast<float>(product));
  }
  return products;
}

// Shifts and scales the betas so that the last timestep has no signal left.
std::vector<float> RescaleZeroTerminalSnr(const std::vector<float>& betas) {
  std::vector<float> bar = Cumprod(betas);
  for (float& value : bar) value = std::sqrt(value);
  const float first = bar.front();
  const float last = bar.back();
  const float scale = first / (first - last);
  for (float& value : bar) {
    value = (value - last) * scale;
    value = value * value;
  }
  std::vector<float> rescaled(bar.size());
  rescaled[0] = 1.0f - bar[0];
  for (size_t i = 1; i < bar.size(); ++i) rescaled[i] = 1.0f - bar[i] / bar[i - 1];
  return rescaled;
}

}  // namespace

// From both ends to the middle, each value with one rounding.
std::vector<float> Linspace(float start, float end, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count), start);
  if (count == 1) return values;
  const float step = (end - start) / static_cast<float>(count - 1);
  for (int64_t i = 0; i < count; ++i) {
    values[i] = i < count / 2 ? std::fma(step, static_cast<float>(i), start)
                              : std::fma(-step, static_cast<float>(count - 1 - i), end);
  }
  return values;
}

float Clamp(float value, float low, float high) {
  if (std::isnan(value)) return value;
  return std::min(std::max(value, low), high);
}

std::vector<float> Betas(const SchedulerConfig& config) {
  std::vector<float> betas(config.trained_betas.begin(), config.trained_betas.end());
  if (betas.empty()) betas = NamedBetas(config);
  return config.rescale_betas_zero_snr ? RescaleZeroTerminalSnr(betas) : betas;
}

std::vector<float> AlphasCumprod(const SchedulerConfig& config) { return Cumprod(Betas(config)); }

}  // namespace unetd
