#include "server/diffusion/ddpm.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace unetd {

DdpmScheduler::DdpmScheduler(const SchedulerConfig& config)
    : AlphaScheduler(config), limit_(config) {}

StatusOr<std::unique_ptr<Scheduler>> DdpmScheduler::Create(const SchedulerConfig& config) {
  return std::unique_ptr<Scheduler>(new DdpmScheduler(config));
}

Status DdpmScheduler::SetTimesteps(int64_t steps) {
  ASSIGN_OR_RETURN(std::vector<double> timesteps, Spaced(steps));
  return Accept(steps, std::move(timesteps));
}

float DdpmScheduler::AlphaBefore(int64_t step) const {
  return IsLast(step) ? 1.0f : Alpha(Timestep(step + 1));
}

bool DdpmScheduler::learns_variance() const {
  return config_.variance_type == VarianceType::kLearned ||
         config_.variance_type == VarianceType::kLearnedRange;
}

bool DdpmScheduler::NeedsNoise(int64_t step, const StepOptions& /*options*/) const {
  if (!HasStep(step) || Timestep(step) == 0) return false;
  switch (config_.variance_type) {
    case VarianceType::kNone:
    case VarianceType::kFixedSmall:
    case VarianceType::kFixedSmallLog:
      return AlphaBefore(step) != 1.0f;
    default:
      return true;
  }
}

uint64_t DdpmScheduler::StepBytes(uint64_t /*rows*/, uint64_t row_elements) const {
  return limit_.Bytes(row_elements);
}

DdpmScheduler::Coefficients DdpmScheduler::CoefficientsAt(int64_t step) const {
  const float alpha = Alpha(Timestep(step));
  const float alpha_prev = AlphaBefore(step);
  const float rest = 1.0f - alpha;
  const float rest_prev = 1.0f - alpha_prev;
  const float step_alpha = alpha / alpha_prev;
  Coefficients c;
  c.mix = MixOf(alpha);
  c.large_variance = 1.0f - step_alpha;
  c.small_variance = std::max(rest_prev / rest * c.large_variance, 1e-20f);
  c.log_large = std::log(c.large_variance);
  c.log_small = std::log(c.small_variance);
  c.original = std::sqrt(alpha_prev) * c.large_variance / rest;
  c.sample = std::sqrt(step_alpha) * rest_prev / rest;
  return c;
}

float DdpmScheduler::FixedDeviation(const Coefficients& c) const {
  switch (config_.variance_type) {
    case VarianceType::kFixedLarge:
    case VarianceType::kFixedLargeLog:
      return std::sqrt(c.large_variance);
    case VarianceType::kFixedSmallLog:
      return std::exp(0.5f * c.log_small);
    default:
      return std::sqrt(c.small_variance);
  }
}

float DdpmScheduler::LearnedDeviation(const Coefficients& c, float predicted) const {
  if (config_.variance_type == VarianceType::kLearned) return std::sqrt(predicted);
  const float part = (predicted + 1.0f) / 2.0f;
  return std::exp(0.5f * (part * c.log_large + (1.0f - part) * c.log_small));
}

Status DdpmScheduler::Step(int64_t step, const StepOptions& options, const StepTensors& tensors) {
  RETURN_IF_ERROR(CheckTensors(step, options, tensors, learns_variance() ? 2 : 1));
  const uint64_t elements = tensors.row_elements;
  const bool noisy = NeedsNoise(step, options);
  const Coefficients c = CoefficientsAt(step);
  const float fixed = FixedDeviation(c);
  for (uint64_t row = 0; row < tensors.rows; ++row) {
    const float* output = tensors.model_output + row * tensors.output_elements;
    const float* sample = tensors.sample + row * elements;
    float* original = tensors.pred_original_sample + row * elements;
    float* prev = tensors.prev_sample + row * elements;
    PredictOriginal(config_.prediction_type, c.mix, output, sample, elements, original);
    limit_.Apply(original, elements);
    for (uint64_t i = 0; i < elements; ++i) {
      prev[i] = c.original * original[i] + c.sample * sample[i];
    }
    if (!noisy) continue;
    const float* noise = tensors.noise + row * elements;
    const float* predicted = output + elements;
    for (uint64_t i = 0; i < elements; ++i) {
      prev[i] += (learns_variance() ? LearnedDeviation(c, predicted[i]) : fixed) * noise[i];
    }
  }
  return OkStatus();
}

}  // namespace unetd
