#include "server/diffusion/euler_discrete.h"

namespace unetd {

StatusOr<std::unique_ptr<Scheduler>> EulerDiscreteScheduler::Create(const SchedulerConfig& config) {
  return std::unique_ptr<Scheduler>(new EulerDiscreteScheduler(config));
}

Status EulerDiscreteScheduler::Step(int64_t step, const StepOptions& options,
                                    const StepTensors& tensors) {
  RETURN_IF_ERROR(CheckTensors(step, options, tensors));
  const float sigma = sigmas_[step];
  const float dt = sigmas_[step + 1] - sigma;
  PredictOriginal(sigma, tensors);
  const uint64_t elements = tensors.rows * tensors.row_elements;
  for (uint64_t i = 0; i < elements; ++i) {
    const float sample = tensors.sample[i];
    const float derivative = (sample - tensors.pred_original_sample[i]) / sigma;
    tensors.prev_sample[i] = sample + derivative * dt;
  }
  return OkStatus();
}

}  // namespace unetd
