#include "server/diffusion/multistep_solver.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/base/text.h"
#include "server/diffusion/prediction.h"
#include "server/diffusion/scheduler_history.h"

namespace unetd {

MultistepSolver::MultistepSolver(const SchedulerConfig& config, const Rules& rules)
    : config_(config),
      rules_(rules),
      training_(SigmasOf(SigmaAlphas(config))),
      log_training_(NumpyLogsOf(training_)),
      limit_(config) {}

Status MultistepSolver::CheckConfig(const SchedulerConfig& config) {
  const char* flow = nullptr;
  if (config.use_flow_sigmas) flow = "use_flow_sigmas: true";
  if (config.use_dynamic_shifting) flow = "use_dynamic_shifting: true";
  if (config.shift_terminal.has_value()) flow = "shift_terminal";
  if (config.prediction_type == PredictionType::kFlowPrediction) {
    flow = "prediction_type: flow_prediction";
  }
  if (flow == nullptr) return OkStatus();
  return Unimplemented(Format("scheduler config: {} is not supported: {} has no flow matching here",
                              flow, config.class_name));
}

std::vector<double> MultistepSolver::SpacedTimesteps(int64_t steps, int64_t last_timestep) const {
  if (config_.timestep_spacing == TimestepSpacing::kTrailing) {
    const auto train = static_cast<double>(config_.num_train_timesteps);
    return TrailingTimesteps(last_timestep, train / static_cast<double>(steps));
  }
  // One more than steps, whose last is left out: the loop ends there.
  std::vector<double> timesteps;
  if (config_.timestep_spacing == TimestepSpacing::kLinspace) {
    timesteps = NumpyLinspace(0, static_cast<double>(last_timestep - 1), steps + 1);
    for (double& timestep : timesteps) timestep = std::nearbyint(timestep);
  } else {
    for (int64_t i = 0; i <= steps; ++i) {
      timesteps.push_back(
          static_cast<double>(i * (last_timestep / (steps + 1)) + config_.steps_offset));
    }
  }
  std::reverse(timesteps.begin(), timesteps.end());
  timesteps.pop_back();
  return timesteps;
}

void MultistepSolver::TakeCurve(int64_t steps, std::vector<double>* timesteps,
                                std::vector<double>* sigmas) const {
  *sigmas = SigmaCurve(config_, training_.back(), training_.front(), steps);
  const bool exponential = !config_.use_karras_sigmas && !config_.use_lu_lambdas;
  const bool cosine = config_.beta_schedule == BetaSchedule::kSquaredCosCapV2;
  const bool rounds = !exponential && (!cosine || rules_.rounds_cosine);
  timesteps->clear();
  for (const double sigma : *sigmas) {
    const double timestep = TimestepAt(sigma, log_training_);
    timesteps->push_back(rounds ? std::nearbyint(timestep) : std::trunc(timestep));
  }
}

Status MultistepSolver::SetGrid(int64_t steps, int64_t last_timestep) {
  std::vector<double> timesteps = SpacedTimesteps(steps, last_timestep);
  std::vector<double> sigmas;
  const bool curve = HasSigmaCurve(config_);
  if (curve) {
    TakeCurve(steps, &timesteps, &sigmas);
  } else {
    for (const double timestep : timesteps) sigmas.push_back(SigmaAt(timestep, training_));
  }
  if (config_.final_sigmas_type == FinalSigmasType::kZero) {
    sigmas.push_back(0);
  } else {
    sigmas.push_back(curve && rules_.ends_on_curve ? sigmas.back() : training_.front());
  }
  const std::vector<float> rounded(sigmas.begin(), sigmas.end());
  RETURN_IF_ERROR(CheckSigmas(rounded));
  RETURN_IF_ERROR(CheckTimesteps(timesteps));

  timesteps_ = std::move(timesteps);
  levels_.clear();
  for (const float sigma : rounded) levels_.push_back(NoiseLevelOf(sigma));
  state_ = {};
  return OkStatus();
}

int64_t MultistepSolver::UsableOrder(int64_t step, int64_t wanted) const {
  const float to = levels_[step + 1].lambda;
  if (!std::isfinite(to) || to == levels_[step].lambda) return 1;
  for (int64_t order = 1; order < wanted; ++order) {
    if (order > step || levels_[step - order].lambda == levels_[step - order + 1].lambda) {
      return order;
    }
  }
  return wanted;
}

void MultistepSolver::AddNoise(int64_t step, const float* original, const float* noise,
                               uint64_t elements, float* noisy) const {
  MixNoise({levels_[step].alpha, levels_[step].sigma}, original, noise, elements, noisy);
}

Status MultistepSolver::CheckTensors(int64_t step, const StepOptions& options,
                                     const StepTensors& tensors) const {
  const bool variance =
      rules_.drops_variance && tensors.output_elements == 2 * tensors.row_elements;
  RETURN_IF_ERROR(Scheduler::CheckTensors(step, options, tensors, variance ? 2 : 1));
  return CheckHistory(state_, tensors);
}

void MultistepSolver::ConvertOutput(int64_t step, const StepTensors& tensors) {
  const PredictionType type = config_.prediction_type;
  const Mix mix = {levels_[step].alpha, levels_[step].sigma};
  const uint64_t elements = tensors.row_elements;
  converted_.resize(tensors.rows * elements);
  for (uint64_t row = 0; row < tensors.rows; ++row) {
    const float* output = tensors.model_output + row * tensors.output_elements;
    const float* sample = tensors.sample + row * elements;
    float* original = tensors.pred_original_sample + row * elements;
    float* converted = converted_.data() + row * elements;
    if (rules_.predicts_original) {
      PredictOriginal(type, mix, output, sample, elements, original);
      if (rules_.thresholding) limit_.Apply(original, elements);
      std::copy_n(original, elements, converted);
      continue;
    }
    PredictNoise(type, mix, output, sample, elements, converted);
    PredictOriginal(PredictionType::kEpsilon, mix, converted, sample, elements, original);
    if (!rules_.thresholding) continue;
    limit_.Apply(original, elements);
    NoiseBetween(mix, original, sample, elements, converted);
  }
}

void MultistepSolver::KeepOutput(size_t first, size_t most) {
  auto& kept = state_.tensors;
  if (most == 0) return;
  if (kept.size() - first < most) {
    kept.insert(kept.begin() + static_cast<int64_t>(first), std::move(converted_));
    converted_.clear();
    return;
  }
  // The oldest makes room: its memory is the next step's converted_.
  std::swap(kept.back(), converted_);
  std::rotate(kept.begin() + static_cast<int64_t>(first), kept.end() - 1, kept.end());
}

uint64_t MultistepSolver::Bytes(uint64_t tensors, uint64_t rows, uint64_t row_elements) const {
  const uint64_t scratch = rules_.thresholding ? limit_.Bytes(row_elements) : 0;
  return tensors * rows * row_elements * sizeof(float) + scratch;
}

}  // namespace unetd
