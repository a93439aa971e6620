#include "server/diffusion/variance_exploding.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/sigma_schedule.h"

namespace unetd {

VarianceExplodingScheduler::VarianceExplodingScheduler(const SchedulerConfig& config)
    : config_(config),
      training_(SigmasOf(SigmaAlphas(config))),
      log_training_(NumpyLogsOf(training_)) {}

std::vector<double> VarianceExplodingScheduler::SpacedTimesteps(int64_t steps) const {
  const int64_t train = config_.num_train_timesteps;
  if (config_.timestep_spacing == TimestepSpacing::kTrailing) {
    return TrailingTimesteps(train, static_cast<double>(train) / static_cast<double>(steps));
  }
  std::vector<double> timesteps;
  if (config_.timestep_spacing == TimestepSpacing::kLinspace) {
    timesteps = NumpyLinspace(0, static_cast<double>(train - 1), steps);
    for (double& timestep : timesteps) timestep = static_cast<float>(timestep);
  } else {
    for (int64_t i = 0; i < steps; ++i) {
      timesteps.push_back(static_cast<double>(i * (train / steps) + config_.steps_offset));
    }
  }
  std::reverse(timesteps.begin(), timesteps.end());
  return timesteps;
}

std::vector<double> VarianceExplodingScheduler::SpacedSigmas(
    const std::vector<double>& timesteps) const {
  std::vector<double> sigmas;
  if (config_.interpolation_type == InterpolationType::kLogLinear) {
    const auto count = static_cast<int64_t>(timesteps.size()) + 1;
    for (const float log : Linspace(log_training_.back(), log_training_.front(), count)) {
      sigmas.push_back(ExpOf(log));
    }
  } else {
    for (const double timestep : timesteps) sigmas.push_back(SigmaAt(timestep, training_));
  }
  return sigmas;
}

Status VarianceExplodingScheduler::SetTimesteps(int64_t steps) {
  RETURN_IF_ERROR(CheckStepCount(config_, steps));
  std::vector<double> timesteps = SpacedTimesteps(steps);
  std::vector<double> sigmas = SpacedSigmas(timesteps);
  if (HasSigmaCurve(config_)) {
    sigmas = SigmaCurve(config_, sigmas.front(), sigmas.back(), steps);
    for (size_t i = 0; i < timesteps.size(); ++i) {
      timesteps[i] = static_cast<float>(TimestepAt(sigmas[i], log_training_));
    }
  }
  const bool zero = config_.final_sigmas_type == FinalSigmasType::kZero;
  sigmas.push_back(zero ? 0 : training_.front());

  std::vector<float> rounded(sigmas.begin(), sigmas.end());
  RETURN_IF_ERROR(CheckSigmas(rounded));
  if (config_.timestep_type == TimestepType::kContinuous &&
      config_.prediction_type == PredictionType::kVPrediction) {
    for (size_t i = 0; i < timesteps.size(); ++i) timesteps[i] = 0.25f * LogOf(rounded[i]);
  }
  RETURN_IF_ERROR(CheckTimesteps(timesteps));
  timesteps_ = std::move(timesteps);
  sigmas_ = std::move(rounded);
  state_ = {};
  return OkStatus();
}

double VarianceExplodingScheduler::init_noise_sigma() const {
  if (sigmas_.empty()) return 1;
  const float most = *std::max_element(sigmas_.begin(), sigmas_.end());
  const bool leading = config_.timestep_spacing == TimestepSpacing::kLeading;
  return leading ? std::sqrt(most * most + 1) : most;
}

double VarianceExplodingScheduler::InputScale(int64_t step) const {
  const float sigma = sigmas_[step];
  return 1 / static_cast<double>(std::sqrt(sigma * sigma + 1));
}

void VarianceExplodingScheduler::AddNoise(int64_t step, const float* original, const float* noise,
                                          uint64_t elements, float* noisy) const {
  const float sigma = sigmas_[step];
  for (uint64_t i = 0; i < elements; ++i) noisy[i] = original[i] + noise[i] * sigma;
}

void VarianceExplodingScheduler::PredictOriginal(float sigma, const StepTensors& tensors) const {
  const uint64_t elements = tensors.rows * tensors.row_elements;
  const float* output = tensors.model_output;
  const float* sample = tensors.sample;
  float* original = tensors.pred_original_sample;
  if (config_.prediction_type == PredictionType::kEpsilon) {
    for (uint64_t i = 0; i < elements; ++i) original[i] = sample[i] - sigma * output[i];
  } else if (config_.prediction_type == PredictionType::kVPrediction) {
    const float variance = sigma * sigma + 1;
    const float scale = -sigma / std::sqrt(variance);
    for (uint64_t i = 0; i < elements; ++i) {
      original[i] = output[i] * scale + sample[i] / variance;
    }
  } else {
    std::copy_n(output, elements, original);
  }
}

}  // namespace unetd
