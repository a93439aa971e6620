// The checks of a single step.
#include <algorithm>
#include <cmath>
#include <utility>

#include "server/base/hash.h"
#include "server/base/text.h"
#include "server/serving/loop_checks.h"

namespace unetd {
namespace {

// The UNet is told a float, and clients have floats.
bool IsAt(double timestep, double wanted) {
  return static_cast<float>(timestep) == static_cast<float>(wanted);
}

// "499 (step 3), 559 (step 2)": the nearest two.
std::string Nearest(const std::vector<double>& timesteps, double wanted) {
  std::vector<size_t> order(timesteps.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto distance = [&](size_t i) { return std::fabs(timesteps[i] - wanted); };
  const size_t shown = std::min<size_t>(2, order.size());
  std::partial_sort(
      order.begin(), order.begin() + static_cast<int64_t>(shown), order.end(),
      [&](size_t a, size_t b) { return std::pair(distance(a), a) < std::pair(distance(b), b); });
  std::string text;
  for (size_t i = 0; i < shown; ++i) {
    text += Format("{}{} (step {})", i == 0 ? "" : ", ", timesteps[order[i]], order[i]);
  }
  return text;
}

// The step that a timestep means. Several may have it: then `state_step` decides, if it is one of
// them, else it is the first.
StatusOr<int64_t> StepAt(double wanted, const std::vector<double>& timesteps,
                         std::optional<int64_t> state_step) {
  if (!std::isfinite(wanted)) {
    return InvalidArgument(Format("timestep: expected a finite number, got {}", wanted));
  }
  const auto step_is_at = [&](int64_t step) { return IsAt(timesteps[step], wanted); };
  if (state_step && *state_step >= 0 && *state_step < static_cast<int64_t>(timesteps.size()) &&
      step_is_at(*state_step)) {
    return *state_step;
  }
  const auto found = std::find_if(timesteps.begin(), timesteps.end(),
                                  [&](double timestep) { return IsAt(timestep, wanted); });
  if (found != timesteps.end()) return found - timesteps.begin();
  return InvalidArgument(Format("timestep: expected one of the scheduler's {}, got {}; nearest: {}",
                                timesteps.size(), wanted, Nearest(timesteps, wanted)));
}

StatusOr<int64_t> StepOf(const StepRequest& request, const Scheduler& scheduler,
                         std::optional<int64_t> state_step) {
  const std::vector<double>& timesteps = scheduler.timesteps();
  if (request.timestep) {
    if (request.step_index == 0) return StepAt(*request.timestep, timesteps, state_step);
    return InvalidArgument(Format("timestep: expected step_index or timestep, got both ({} and {})",
                                  request.step_index, *request.timestep));
  }
  const auto steps = static_cast<int64_t>(timesteps.size());
  if (request.step_index >= 0 && request.step_index < steps) return request.step_index;
  return InvalidArgument(
      Format("step_index: expected 0 to {} (of the {} steps that {} makes of num_inference_steps "
             "{}), got {}",
             steps - 1, steps, scheduler.name(), request.num_inference_steps, request.step_index));
}

}  // namespace

StatusOr<CheckedDenoise> CheckStep(const ServedModel& model, const StepRequest& request) {
  CheckedDenoise checked;
  checked.sample_shape = request.sample.shape;
  checked.dtype = request.sample.dtype;
  RETURN_IF_ERROR(CheckScheduler(model, request, checked));
  ASSIGN_OR_RETURN(const int64_t step,
                   StepOf(request, *checked.scheduler, ClaimedStep(request.state)));
  checked.options.start_step = step;
  checked.options.end_step = step + 1;
  RETURN_IF_ERROR(CheckLoop(model, request, {true, checked.sample_shape}, checked));

  StateOwner owner;
  owner.scheduler = StableHash(request.scheduler_json, StableHash(model.scheduler_text()));
  owner.steps = static_cast<int64_t>(checked.scheduler->timesteps().size());
  owner.sample_shape = checked.sample_shape;
  if (!request.state.empty()) {
    const uint64_t row_elements =
        uint64_t{checked.options.channels} * checked.shape.size.h * checked.shape.size.w;
    const uint64_t kept = checked.scheduler->StepBytes(checked.batch, row_elements);
    RETURN_IF_ERROR(CheckState(owner, step, request.state, kept));
  }
  checked.state_owner = std::move(owner);
  checked.state = request.state;
  return checked;
}

}  // namespace unetd
