#include "server/diffusion/dpm_solver_multistep.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/base/text.h"
#include "server/diffusion/scheduler_history.h"
#include "server/diffusion/sigma_schedule.h"

namespace unetd {
namespace {

constexpr int64_t kMaxOrder = 3;
constexpr size_t kFewSteps = 15;  // below, lower_order_final lowers the order of the last two

bool GoesByOriginal(const SchedulerConfig& config) {
  return config.algorithm_type == AlgorithmType::kDpmSolverPp ||
         config.algorithm_type == AlgorithmType::kSdeDpmSolverPp;
}

}  // namespace

StatusOr<std::unique_ptr<Scheduler>> DpmSolverMultistepScheduler::Create(
    const SchedulerConfig& config) {
  RETURN_IF_ERROR(CheckConfig(config));
  if (!GoesByOriginal(config) && config.final_sigmas_type == FinalSigmasType::kZero) {
    return InvalidArgument(
        "scheduler config: final_sigmas_type: expected sigma_min for the algorithm_types dpmsolver "
        "and sde-dpmsolver, got zero");
  }
  if (config.algorithm_type == AlgorithmType::kSdeDpmSolver && config.solver_order > 2) {
    return InvalidArgument(
        Format("scheduler config: solver_order: expected 1 or 2 for the algorithm_type "
               "sde-dpmsolver, got {}",
               config.solver_order));
  }
  return std::unique_ptr<Scheduler>(new DpmSolverMultistepScheduler(config));
}

DpmSolverMultistepScheduler::DpmSolverMultistepScheduler(const SchedulerConfig& config)
    : MultistepSolver(config,
                      {.predicts_original = GoesByOriginal(config),
                       .thresholding = config.thresholding,
                       .rounds_cosine = false,
                       .ends_on_curve = false,
                       .drops_variance = config.variance_type == VarianceType::kLearned ||
                                         config.variance_type == VarianceType::kLearnedRange}),
      order_(std::min(config.solver_order, kMaxOrder)) {}

Status DpmSolverMultistepScheduler::SetTimesteps(int64_t steps) {
  RETURN_IF_ERROR(CheckStepCount(config(), steps));
  // Timesteps whose lambda is below lambda_min_clipped are not used; lambda falls with time.
  const auto limit = static_cast<float>(config().lambda_min_clipped);
  int64_t last_timestep = config().num_train_timesteps;
  const std::vector<float> alphas = SigmaAlphas(config());
  for (auto alpha = alphas.rbegin(); alpha != alphas.rend(); ++alpha) {
    const float lambda = LogOf(std::sqrt(*alpha)) - LogOf(std::sqrt(1.0f - *alpha));
    if (lambda >= limit) break;
    --last_timestep;
  }
  if (last_timestep < 1) {
    return InvalidArgument(Format("scheduler config: lambda_min_clipped {} leaves no timestep",
                                  config().lambda_min_clipped));
  }
  return SetGrid(steps, last_timestep);
}

bool DpmSolverMultistepScheduler::NeedsNoise(int64_t step, const StepOptions& /*options*/) const {
  return HasStep(step) && DpmSolverUpdateOf(config(), level(step), level(step + 1), 1).noise > 0;
}

uint64_t DpmSolverMultistepScheduler::StepBytes(uint64_t rows, uint64_t row_elements) const {
  return Bytes(static_cast<uint64_t>(order_), rows, row_elements);
}

int64_t DpmSolverMultistepScheduler::OrderAt(int64_t step) const {
  const size_t left = timesteps_.size() - static_cast<size_t>(step);
  const bool lowers = config().lower_order_final && timesteps_.size() < kFewSteps;
  if (left == 1 && (lowers || config().euler_at_final)) return 1;
  const auto known = static_cast<int64_t>(state_.tensors.size()) + 1;
  return UsableOrder(step, std::min(known, left == 2 && lowers ? 2 : order_));
}

void DpmSolverMultistepScheduler::Update(int64_t step, int64_t order,
                                         const StepTensors& tensors) const {
  const DpmSolverUpdate update = DpmSolverUpdateOf(config(), level(step), level(step + 1), order);
  const uint64_t elements = tensors.rows * tensors.row_elements;
  for (uint64_t i = 0; i < elements; ++i) {
    tensors.prev_sample[i] = update.sample * tensors.sample[i] + update.d0 * converted_[i];
  }
  if (order == 2) AddSecondOrder(step, update, tensors);
  if (order == 3) AddThirdOrder(step, update, tensors);
  if (update.noise > 0) {
    for (uint64_t i = 0; i < elements; ++i) {
      tensors.prev_sample[i] += update.noise * tensors.noise[i];
    }
  }
}

float DpmSolverMultistepScheduler::RelativeLength(int64_t step, int64_t back) const {
  const float length = level(step - back + 1).lambda - level(step - back).lambda;
  return length / (level(step + 1).lambda - level(step).lambda);
}

void DpmSolverMultistepScheduler::AddSecondOrder(int64_t step, const DpmSolverUpdate& update,
                                                 const StepTensors& tensors) const {
  const uint64_t elements = tensors.rows * tensors.row_elements;
  const std::vector<float>& before = state_.tensors[0];
  const float per_r0 = 1.0f / RelativeLength(step, 1);
  for (uint64_t i = 0; i < elements; ++i) {
    tensors.prev_sample[i] += update.d1 * (per_r0 * (converted_[i] - before[i]));
  }
}

void DpmSolverMultistepScheduler::AddThirdOrder(int64_t step, const DpmSolverUpdate& update,
                                                const StepTensors& tensors) const {
  const uint64_t elements = tensors.rows * tensors.row_elements;
  const std::vector<float>& before = state_.tensors[0];
  const std::vector<float>& long_before = state_.tensors[1];
  const float r0 = RelativeLength(step, 1);
  const float r1 = RelativeLength(step, 2);
  const float per_r0 = 1.0f / r0;
  const float per_r1 = 1.0f / r1;
  const float share = r0 / (r0 + r1);
  const float per_sum = 1.0f / (r0 + r1);
  for (uint64_t i = 0; i < elements; ++i) {
    const float newer = per_r0 * (converted_[i] - before[i]);
    const float older = per_r1 * (before[i] - long_before[i]);
    const float first = newer + share * (newer - older);
    const float second = per_sum * (newer - older);
    tensors.prev_sample[i] = tensors.prev_sample[i] + update.d1 * first + update.d2 * second;
  }
}

Status DpmSolverMultistepScheduler::Step(int64_t step, const StepOptions& options,
                                         const StepTensors& tensors) {
  RETURN_IF_ERROR(CheckTensors(step, options, tensors));
  const int64_t order = OrderAt(step);
  ConvertOutput(step, tensors);
  Update(step, order, tensors);
  KeepOutput(0, history());
  return OkStatus();
}

Status DpmSolverMultistepScheduler::SetState(int64_t next_step, uint64_t elements,
                                             SchedulerState state) {
  RETURN_IF_ERROR(CheckStep(next_step));
  const auto most = std::min(history(), static_cast<size_t>(next_step));
  RETURN_IF_ERROR(CheckState(state, most, elements));
  state_ = std::move(state);
  return OkStatus();
}

}  // namespace unetd
