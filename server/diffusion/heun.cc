#include "server/diffusion/heun.h"

#include <algorithm>
#include <utility>

#include "server/base/text.h"
#include "server/diffusion/scheduler_history.h"

namespace unetd {

HeunDiscreteScheduler::HeunDiscreteScheduler(const SchedulerConfig& config)
    : VarianceExplodingScheduler(config), limit_(config) {}

StatusOr<std::unique_ptr<Scheduler>> HeunDiscreteScheduler::Create(const SchedulerConfig& config) {
  return std::unique_ptr<Scheduler>(new HeunDiscreteScheduler(config));
}

Status HeunDiscreteScheduler::SetTimesteps(int64_t steps) {
  RETURN_IF_ERROR(VarianceExplodingScheduler::SetTimesteps(steps));
  const auto calls = 2 * timesteps_.size() - 1;
  std::vector<double> timesteps(calls);
  std::vector<float> sigmas(calls + 1);
  for (size_t call = 0; call < calls; ++call) {
    timesteps[call] = timesteps_[(call + 1) / 2];
    sigmas[call] = sigmas_[(call + 1) / 2];
  }
  sigmas.back() = sigmas_.back();
  timesteps_ = std::move(timesteps);
  sigmas_ = std::move(sigmas);
  return OkStatus();
}

uint64_t HeunDiscreteScheduler::StepBytes(uint64_t rows, uint64_t row_elements) const {
  return kStateTensors * rows * row_elements * sizeof(float) + limit_.Bytes(row_elements);
}

Status HeunDiscreteScheduler::Step(int64_t step, const StepOptions& options,
                                   const StepTensors& tensors) {
  RETURN_IF_ERROR(CheckTensors(step, options, tensors));
  RETURN_IF_ERROR(CheckHistory(state_, tensors));
  PredictOriginal(sigmas_[step], tensors);
  for (uint64_t row = 0; row < tensors.rows; ++row) {
    limit_.Apply(tensors.pred_original_sample + row * tensors.row_elements, tensors.row_elements);
  }
  if (step % 2 == 0) {
    FirstHalf(step, tensors);
  } else if (!state_.tensors.empty()) {
    SecondHalf(step, tensors);
  } else if (tensors.prev_sample != tensors.sample) {
    std::copy_n(tensors.sample, tensors.rows * tensors.row_elements, tensors.prev_sample);
  }
  return OkStatus();
}

void HeunDiscreteScheduler::FirstHalf(int64_t step, const StepTensors& tensors) {
  const uint64_t elements = tensors.rows * tensors.row_elements;
  const float sigma = sigmas_[step];
  const float dt = sigmas_[step + 1] - sigma;
  state_.tensors.resize(kStateTensors);
  for (auto& tensor : state_.tensors) tensor.resize(elements);
  for (uint64_t i = 0; i < elements; ++i) {
    const float sample = tensors.sample[i];
    const float slope = (sample - tensors.pred_original_sample[i]) / sigma;
    tensors.prev_sample[i] = sample + slope * dt;
    state_.tensors[kSample][i] = sample;
    state_.tensors[kSlope][i] = slope;
  }
  if (static_cast<size_t>(step) + 1 == timesteps_.size()) state_.tensors.clear();
}

void HeunDiscreteScheduler::SecondHalf(int64_t step, const StepTensors& tensors) {
  const uint64_t elements = tensors.rows * tensors.row_elements;
  const float sigma = sigmas_[step];
  const float dt = sigma - sigmas_[step - 1];
  for (uint64_t i = 0; i < elements; ++i) {
    const float slope = (tensors.sample[i] - tensors.pred_original_sample[i]) / sigma;
    const float mean = (state_.tensors[kSlope][i] + slope) / 2;
    tensors.prev_sample[i] = state_.tensors[kSample][i] + mean * dt;
  }
  state_.tensors.clear();
}

Status HeunDiscreteScheduler::SetState(int64_t next_step, uint64_t elements, SchedulerState state) {
  RETURN_IF_ERROR(CheckStep(next_step));
  RETURN_IF_ERROR(CheckState(state, next_step % 2 == 0 ? 0 : kStateTensors, elements));
  if (!state.tensors.empty() && state.tensors.size() != kStateTensors) {
    return InvalidArgument(Format("state: expected {} tensors before step {}, got {}",
                                  int{kStateTensors}, next_step, state.tensors.size()));
  }
  state_ = std::move(state);
  return OkStatus();
}

}  // namespace unetd
