#include "server/diffusion/tcd.h"

#include <cmath>
#include <utility>

#include "server/base/text.h"
#include "server/diffusion/distilled_timesteps.h"

namespace unetd {

StatusOr<std::unique_ptr<Scheduler>> TcdScheduler::Create(const SchedulerConfig& config) {
  return std::unique_ptr<Scheduler>(new TcdScheduler(config));
}

Status TcdScheduler::SetTimesteps(int64_t steps) {
  ASSIGN_OR_RETURN(std::vector<double> timesteps, DistilledTimesteps(config_, steps));
  return Accept(steps, std::move(timesteps));
}

TcdScheduler::Coefficients TcdScheduler::CoefficientsAt(int64_t step, double eta) const {
  const bool last = IsLast(step);
  const int64_t next = last ? 0 : Timestep(step + 1);
  const auto inner =
      static_cast<int64_t>(std::floor(static_cast<float>(1 - eta) * static_cast<float>(next)));
  Coefficients c = {MixOf(Alpha(Timestep(step))), MixOf(Alpha(inner)), 1, 0};
  if (last || eta <= 0) return c;
  const float ratio = Alpha(next) / Alpha(inner);
  c.signal = std::sqrt(ratio);
  c.deviation = std::sqrt(1.0f - ratio);
  return c;
}

bool TcdScheduler::NeedsNoise(int64_t step, const StepOptions& options) const {
  const double eta = options.eta.value_or(kDefaultEta);
  return HasStep(step) && eta > 0 && eta <= 1 && CoefficientsAt(step, eta).deviation != 0;
}

Status TcdScheduler::Step(int64_t step, const StepOptions& options, const StepTensors& tensors) {
  const double eta = options.eta.value_or(kDefaultEta);
  if (!(eta >= 0 && eta <= 1)) {
    return InvalidArgument(Format("eta: expected a number from 0 to 1, got {}", eta));
  }
  RETURN_IF_ERROR(CheckTensors(step, options, tensors));
  const bool noisy = NeedsNoise(step, options);
  const Coefficients c = CoefficientsAt(step, eta);
  const uint64_t elements = tensors.row_elements;
  for (uint64_t row = 0; row < tensors.rows; ++row) {
    const float* output = tensors.model_output + row * elements;
    const float* sample = tensors.sample + row * elements;
    float* original = tensors.pred_original_sample + row * elements;
    // Holds the predicted noise first; the sample may lie there and is not read again.
    float* prev = tensors.prev_sample + row * elements;
    PredictOriginal(config_.prediction_type, c.mix, output, sample, elements, original);
    PredictNoise(config_.prediction_type, c.mix, output, sample, elements, prev);
    for (uint64_t i = 0; i < elements; ++i) {
      prev[i] = c.inner.signal * original[i] + c.inner.deviation * prev[i];
    }
    if (!noisy) continue;
    const float* noise = tensors.noise + row * elements;
    for (uint64_t i = 0; i < elements; ++i) prev[i] = c.signal * prev[i] + c.deviation * noise[i];
  }
  return OkStatus();
}

}  // namespace unetd
