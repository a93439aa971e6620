#include "server/diffusion/ddim.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "server/base/text.h"

namespace unetd {
namespace {

// torch.linspace of float32: from both ends to the middle, each value with one rounding.
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

std::vector<float> SquaredCosBetas(int64_t count) {
  const auto alpha_bar = [](double t) {
    const double c = std::cos((t + 0.008) / 1.008 * M_PI / 2);
    return c * c;
  };
  std::vector<float> betas;
  betas.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const double t1 = static_cast<double>(i) / static_cast<double>(count);
    const double t2 = static_cast<double>(i + 1) / static_cast<double>(count);
    betas.push_back(static_cast<float>(std::min(1 - alpha_bar(t2) / alpha_bar(t1), 0.999)));
  }
  return betas;
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

// torch.clamp: a NaN stays one.
float Clamp(float value, float low, float high) {
  if (std::isnan(value)) return value;
  return std::min(std::max(value, low), high);
}

}  // namespace

std::vector<float> AlphasCumprod(const SchedulerConfig& config) {
  std::vector<float> betas;
  if (!config.trained_betas.empty()) {
    betas.assign(config.trained_betas.begin(), config.trained_betas.end());
  } else if (config.beta_schedule == BetaSchedule::kSquaredCosCapV2) {
    betas = SquaredCosBetas(config.num_train_timesteps);
  } else if (config.beta_schedule == BetaSchedule::kLinear) {
    betas = Linspace(static_cast<float>(config.beta_start), static_cast<float>(config.beta_end),
                     config.num_train_timesteps);
  } else {
    betas = Linspace(static_cast<float>(std::sqrt(config.beta_start)),
                     static_cast<float>(std::sqrt(config.beta_end)), config.num_train_timesteps);
    for (float& beta : betas) beta = beta * beta;
  }
  if (config.rescale_betas_zero_snr) betas = RescaleZeroTerminalSnr(betas);
  return Cumprod(betas);
}

DdimScheduler::DdimScheduler(SchedulerConfig config) : config_(std::move(config)) {
  alphas_cumprod_ = AlphasCumprod(config_);
  final_alpha_cumprod_ = config_.set_alpha_to_one ? 1.0f : alphas_cumprod_[0];
}

StatusOr<std::unique_ptr<DdimScheduler>> DdimScheduler::Create(const SchedulerConfig& config) {
  return std::unique_ptr<DdimScheduler>(new DdimScheduler(config));
}

Status DdimScheduler::SetTimesteps(int64_t steps) {
  const int64_t train = config_.num_train_timesteps;
  if (steps < 1 || steps > train) {
    return InvalidArgument(Format(
        "num_inference_steps: expected 1 to {} (the scheduler's num_train_timesteps), got {}",
        train, steps));
  }
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
    // numpy.arange adds the difference of its first two values again and again.
    const double start = static_cast<double>(train);
    const double delta = (start - start / static_cast<double>(steps)) - start;
    for (int64_t i = 0; i < steps; ++i) {
      timesteps[i] = std::nearbyint(start + static_cast<double>(i) * delta) - 1;
    }
  }
  for (const double timestep : timesteps) {
    if (timestep < 0 || timestep >= static_cast<double>(alphas_cumprod_.size())) {
      return InvalidArgument(
          Format("num_inference_steps {} with steps_offset {} gives timestep {}, but the scheduler "
                 "has timesteps 0 to {}",
                 steps, config_.steps_offset, timestep, alphas_cumprod_.size() - 1));
    }
  }
  timesteps_ = std::move(timesteps);
  return OkStatus();
}

bool DdimScheduler::NeedsNoise(int64_t /*step*/, const StepOptions& options) const {
  return options.eta > 0;
}

uint64_t DdimScheduler::StepBytes(uint64_t /*rows*/, uint64_t row_elements) const {
  return config_.thresholding ? row_elements * sizeof(float) : 0;
}

void DdimScheduler::Threshold(float* row, uint64_t elements) {
  sorted_.resize(elements);
  bool nan = false;
  for (uint64_t i = 0; i < elements; ++i) {
    sorted_[i] = std::fabs(row[i]);
    nan = nan || std::isnan(sorted_[i]);
  }
  float s = NAN;
  if (!nan) {  // torch.quantile, interpolated linearly
    const float rank =
        static_cast<float>(config_.dynamic_thresholding_ratio) * static_cast<float>(elements - 1);
    const auto below = std::min(static_cast<uint64_t>(rank), elements - 1);
    const auto above = std::min(static_cast<uint64_t>(std::ceil(rank)), elements - 1);
    const float weight = rank - static_cast<float>(below);
    std::nth_element(sorted_.begin(), sorted_.begin() + static_cast<int64_t>(below), sorted_.end());
    const float a = sorted_[below];
    const float b =
        above == below
            ? a
            : *std::min_element(sorted_.begin() + static_cast<int64_t>(below) + 1, sorted_.end());
    s = weight < 0.5f ? a + weight * (b - a) : b - (b - a) * (1 - weight);
  }
  s = Clamp(s, 1.0f, static_cast<float>(config_.sample_max_value));
  for (uint64_t i = 0; i < elements; ++i) {
    row[i] = (std::isnan(s) ? s : Clamp(row[i], -s, s)) / s;
  }
}

DdimScheduler::Coefficients DdimScheduler::CoefficientsAt(int64_t step, double eta) const {
  const auto t = static_cast<int64_t>(timesteps_[step]);
  const int64_t prev_t = t - config_.num_train_timesteps / static_cast<int64_t>(timesteps_.size());
  const float alpha = alphas_cumprod_[t];
  const float alpha_prev = prev_t >= 0 ? alphas_cumprod_[prev_t] : final_alpha_cumprod_;
  const float beta = 1.0f - alpha;
  const float variance = ((1.0f - alpha_prev) / beta) * (1.0f - alpha / alpha_prev);
  Coefficients c;
  c.root_alpha = std::sqrt(alpha);
  c.root_beta = std::sqrt(beta);
  c.root_alpha_prev = std::sqrt(alpha_prev);
  c.deviation = static_cast<float>(eta) * std::sqrt(variance);
  const float direction = 1.0f - alpha_prev - c.deviation * c.deviation;
  c.direction = std::sqrt(direction < 0 ? 0.0f : direction);
  return c;
}

void DdimScheduler::PredictOriginal(const Coefficients& c, const float* output, const float* sample,
                                    uint64_t elements, float* original) const {
  if (config_.prediction_type == PredictionType::kEpsilon) {
    for (uint64_t i = 0; i < elements; ++i) {
      original[i] = (sample[i] - c.root_beta * output[i]) / c.root_alpha;
    }
  } else if (config_.prediction_type == PredictionType::kVPrediction) {
    for (uint64_t i = 0; i < elements; ++i) {
      original[i] = c.root_alpha * sample[i] - c.root_beta * output[i];
    }
  } else {
    std::copy_n(output, elements, original);
  }
}

void DdimScheduler::PredictNoise(const Coefficients& c, const float* output, const float* sample,
                                 uint64_t elements, float* noise) const {
  if (config_.prediction_type == PredictionType::kEpsilon) {
    std::copy_n(output, elements, noise);
  } else if (config_.prediction_type == PredictionType::kVPrediction) {
    for (uint64_t i = 0; i < elements; ++i) {
      noise[i] = c.root_alpha * output[i] + c.root_beta * sample[i];
    }
  } else {
    NoiseBetween(c, output, sample, elements, noise);
  }
}

void DdimScheduler::NoiseBetween(const Coefficients& c, const float* original, const float* sample,
                                 uint64_t elements, float* noise) {
  for (uint64_t i = 0; i < elements; ++i) {
    noise[i] = (sample[i] - c.root_alpha * original[i]) / c.root_beta;
  }
}

void DdimScheduler::Limit(float* original, uint64_t elements) {
  if (config_.thresholding) return Threshold(original, elements);
  if (!config_.clip_sample) return;
  const auto range = static_cast<float>(config_.clip_sample_range);
  for (uint64_t i = 0; i < elements; ++i) original[i] = Clamp(original[i], -range, range);
}

Status DdimScheduler::Step(int64_t step, const StepOptions& options, const StepTensors& tensors) {
  if (step < 0 || static_cast<uint64_t>(step) >= timesteps_.size()) {
    return InvalidArgument(
        Format("step {}: expected 0 to {}", step, static_cast<int64_t>(timesteps_.size()) - 1));
  }
  const bool noisy = NeedsNoise(step, options);
  if (noisy && tensors.noise == nullptr) {
    return InvalidArgument(Format("step {}: eta > 0 needs noise", step));
  }
  const Coefficients c = CoefficientsAt(step, options.eta);
  const uint64_t elements = tensors.row_elements;
  for (uint64_t row = 0; row < tensors.rows; ++row) {
    const float* output = tensors.model_output + row * elements;
    const float* sample = tensors.sample + row * elements;
    float* original = tensors.pred_original_sample + row * elements;
    // Holds the predicted noise first; the sample may lie there and is not read again.
    float* prev = tensors.prev_sample + row * elements;
    PredictOriginal(c, output, sample, elements, original);
    if (options.use_clipped_model_output) {
      Limit(original, elements);
      NoiseBetween(c, original, sample, elements, prev);
    } else {
      PredictNoise(c, output, sample, elements, prev);
      Limit(original, elements);
    }
    for (uint64_t i = 0; i < elements; ++i) {
      prev[i] = c.root_alpha_prev * original[i] + c.direction * prev[i];
    }
    if (!noisy) continue;
    const float* noise = tensors.noise + row * elements;
    for (uint64_t i = 0; i < elements; ++i) prev[i] += c.deviation * noise[i];
  }
  return OkStatus();
}

}  // namespace unetd
