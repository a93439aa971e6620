#include "server/diffusion/unipc_multistep.h"

#include <algorithm>
#include <utility>

#include "server/base/text.h"
#include "server/diffusion/scheduler_history.h"

namespace unetd {
namespace {

// The sample's and the outputs' terms of a UniPcUpdate for one element; `outputs` are m0 and those
// before it.
float Advance(const UniPcUpdate& update, const std::vector<float>* outputs, uint64_t i,
              float sample, float now) {
  const float m0 = outputs[0][i];
  const float base = update.sample * sample - update.output * m0;
  float residual = 0;
  for (int64_t k = 0; k < update.terms; ++k) {
    residual += update.rhos[k] * ((outputs[k + 1][i] - m0) / update.ratios[k]);
  }
  return base - update.residual * (residual + update.rho_now * (now - m0));
}

}  // namespace

StatusOr<std::unique_ptr<Scheduler>> UniPcMultistepScheduler::Create(
    const SchedulerConfig& config) {
  RETURN_IF_ERROR(CheckConfig(config));
  if (!config.predict_x0 && config.final_sigmas_type == FinalSigmasType::kZero) {
    return InvalidArgument(
        "scheduler config: final_sigmas_type: expected sigma_min where predict_x0 is false, got "
        "zero");
  }
  return std::unique_ptr<Scheduler>(new UniPcMultistepScheduler(config));
}

UniPcMultistepScheduler::UniPcMultistepScheduler(const SchedulerConfig& config)
    : MultistepSolver(config, {.predicts_original = config.predict_x0,
                               .thresholding = config.thresholding && config.predict_x0,
                               .rounds_cosine = true,
                               .ends_on_curve = true,
                               .drops_variance = false}) {}

Status UniPcMultistepScheduler::SetTimesteps(int64_t steps) {
  RETURN_IF_ERROR(CheckStepCount(config(), steps));
  return SetGrid(steps, config().num_train_timesteps);
}

uint64_t UniPcMultistepScheduler::StepBytes(uint64_t rows, uint64_t row_elements) const {
  return Bytes(static_cast<uint64_t>(config().solver_order) + 2, rows, row_elements);
}

int64_t UniPcMultistepScheduler::OrderAt(int64_t step, int64_t known) const {
  int64_t order = std::min(config().solver_order, known);
  if (config().lower_order_final) {
    order = std::min(order, static_cast<int64_t>(timesteps_.size()) - step);
  }
  return UsableOrder(step, order);
}

UniPcUpdate UniPcMultistepScheduler::UpdateAt(int64_t step, int64_t order, bool corrects) const {
  const std::span<const NoiseLevel> levels(&level(step - order + 1),
                                           static_cast<size_t>(order + 1));
  return UniPcUpdateOf(config(), levels, order, corrects);
}

bool UniPcMultistepScheduler::Corrects(int64_t step) const {
  const auto& disabled = config().disable_corrector;
  return outputs() > 0 && std::find(disabled.begin(), disabled.end(), step - 1) == disabled.end();
}

void UniPcMultistepScheduler::TakeSample(int64_t step, const StepTensors& tensors) {
  const uint64_t elements = tensors.rows * tensors.row_elements;
  if (!Corrects(step)) {
    if (state_.tensors.empty()) state_.tensors.emplace_back();
    state_.tensors[kSample].assign(tensors.sample, tensors.sample + elements);
    return;
  }
  const int64_t order = OrderAt(step - 1, static_cast<int64_t>(outputs()));
  const UniPcUpdate update = UpdateAt(step - 1, order, true);
  std::vector<float>& sample = state_.tensors[kSample];
  const std::vector<float>* kept = &state_.tensors[kFirstOutput];
  for (uint64_t i = 0; i < elements; ++i) {
    sample[i] = Advance(update, kept, i, sample[i], converted_[i]);
  }
}

Status UniPcMultistepScheduler::Step(int64_t step, const StepOptions& options,
                                     const StepTensors& tensors) {
  RETURN_IF_ERROR(CheckTensors(step, options, tensors));
  ConvertOutput(step, tensors);
  TakeSample(step, tensors);
  KeepOutput(kFirstOutput, static_cast<size_t>(config().solver_order));

  const int64_t order = OrderAt(step, static_cast<int64_t>(outputs()));
  const UniPcUpdate update = UpdateAt(step, order, false);
  const std::vector<float>& sample = state_.tensors[kSample];
  const std::vector<float>* kept = &state_.tensors[kFirstOutput];
  const uint64_t elements = tensors.rows * tensors.row_elements;
  for (uint64_t i = 0; i < elements; ++i) {
    tensors.prev_sample[i] = order == 1 ? update.sample * sample[i] - update.output * kept[0][i]
                                        : Advance(update, kept, i, sample[i], kept[0][i]);
  }
  return OkStatus();
}

Status UniPcMultistepScheduler::SetState(int64_t next_step, uint64_t elements,
                                         SchedulerState state) {
  RETURN_IF_ERROR(CheckStep(next_step));
  const int64_t known = std::min(config().solver_order, next_step);
  RETURN_IF_ERROR(CheckState(state, known == 0 ? 0 : static_cast<uint64_t>(known) + 1, elements));
  if (state.tensors.size() == 1) {
    return InvalidArgument("state: expected a sample and the outputs before it, got one tensor");
  }
  state_ = std::move(state);
  return OkStatus();
}

}  // namespace unetd
