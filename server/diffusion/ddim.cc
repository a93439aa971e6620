#include "server/diffusion/ddim.h"

#include <cmath>
#include <utility>

namespace unetd {

DdimScheduler::DdimScheduler(const SchedulerConfig& config)
    : AlphaScheduler(config), limit_(config) {}

StatusOr<std::unique_ptr<Scheduler>> DdimScheduler::Create(const SchedulerConfig& config) {
  return std::unique_ptr<Scheduler>(new DdimScheduler(config));
}

Status DdimScheduler::SetTimesteps(int64_t steps) {
  ASSIGN_OR_RETURN(std::vector<double> timesteps, Spaced(steps));
  return Accept(steps, std::move(timesteps));
}

bool DdimScheduler::NeedsNoise(int64_t step, const StepOptions& options) const {
  const double eta = options.eta.value_or(0);
  return HasStep(step) && eta > 0 && CoefficientsAt(step, eta).deviation != 0;
}

uint64_t DdimScheduler::StepBytes(uint64_t /*rows*/, uint64_t row_elements) const {
  return limit_.Bytes(row_elements);
}

DdimScheduler::Coefficients DdimScheduler::CoefficientsAt(int64_t step, double eta) const {
  const int64_t t = Timestep(step);
  const float alpha = Alpha(t);
  const float alpha_prev =
      Alpha(t - config_.num_train_timesteps / static_cast<int64_t>(timesteps_.size()));
  const float variance = ((1.0f - alpha_prev) / (1.0f - alpha)) * (1.0f - alpha / alpha_prev);
  Coefficients c;
  c.mix = MixOf(alpha);
  c.root_alpha_prev = std::sqrt(alpha_prev);
  c.deviation = static_cast<float>(eta) * std::sqrt(variance);
  const float direction = 1.0f - alpha_prev - c.deviation * c.deviation;
  c.direction = std::sqrt(direction < 0 ? 0.0f : direction);
  return c;
}

Status DdimScheduler::Step(int64_t step, const StepOptions& options, const StepTensors& tensors) {
  RETURN_IF_ERROR(CheckTensors(step, options, tensors));
  const bool noisy = NeedsNoise(step, options);
  const Coefficients c = CoefficientsAt(step, options.eta.value_or(0));
  const uint64_t elements = tensors.row_elements;
  for (uint64_t row = 0; row < tensors.rows; ++row) {
    const float* output = tensors.model_output + row * elements;
    const float* sample = tensors.sample + row * elements;
    float* original = tensors.pred_original_sample + row * elements;
    // Holds the predicted noise first; the sample may lie there and is not read again.
    float* prev = tensors.prev_sample + row * elements;
    PredictOriginal(config_.prediction_type, c.mix, output, sample, elements, original);
    if (options.use_clipped_model_output) {
      limit_.Apply(original, elements);
      NoiseBetween(c.mix, original, sample, elements, prev);
    } else {
      PredictNoise(config_.prediction_type, c.mix, output, sample, elements, prev);
      limit_.Apply(original, elements);
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
