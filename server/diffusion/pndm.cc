#include "server/diffusion/pndm.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/base/text.h"
#include "server/diffusion/scheduler_history.h"

namespace unetd {
namespace {

constexpr int64_t kGroup = 4;         // steps of a Runge-Kutta group
constexpr int64_t kPrkSteps = 12;     // three groups
constexpr int64_t kOrder = 4;         // of the linear multistep method
constexpr uint64_t kMostTensors = 5;  // of a state: three outputs, a sample, a sum

}  // namespace

PndmScheduler::PndmScheduler(const SchedulerConfig& config) : AlphaScheduler(config) {}

StatusOr<std::unique_ptr<Scheduler>> PndmScheduler::Create(const SchedulerConfig& config) {
  return std::unique_ptr<Scheduler>(new PndmScheduler(config));
}

Status PndmScheduler::SetTimesteps(int64_t steps) {
  ASSIGN_OR_RETURN(std::vector<double> spaced, Spaced(steps));
  if (!config_.skip_prk_steps && steps < kOrder) {
    return InvalidArgument(
        Format("num_inference_steps: expected {} or more (PNDM without skip_prk_steps), got {}",
               kOrder, steps));
  }
  const int64_t ratio = config_.num_train_timesteps / steps;
  std::vector<int64_t> prk;
  std::vector<double> timesteps;
  if (config_.skip_prk_steps) {
    timesteps = spaced;
    // The second one twice: the first step is taken again with two outputs.
    if (steps > 1) timesteps.insert(timesteps.begin() + 1, spaced[1]);
  } else {
    // Each group goes from one timestep to the next by way of the middle, twice.
    for (int64_t group = 0; group + 1 < kOrder; ++group) {
      const auto from = static_cast<int64_t>(spaced[group]);
      const auto to = static_cast<int64_t>(spaced[group + 1]);
      const int64_t middle = to + ratio / 2;
      prk.insert(prk.end(), {from, middle, middle, to});
    }
    timesteps.assign(prk.begin(), prk.end());
    timesteps.insert(timesteps.end(), spaced.begin() + kOrder - 1, spaced.end());
  }
  RETURN_IF_ERROR(Accept(steps, std::move(timesteps)));
  ratio_ = ratio;
  prk_timesteps_ = std::move(prk);
  state_ = {};
  return OkStatus();
}

uint64_t PndmScheduler::StepBytes(uint64_t rows, uint64_t row_elements) const {
  return (kMostTensors + 1) * rows * row_elements * sizeof(float);
}

int64_t PndmScheduler::TensorsAfter(int64_t steps) const {
  if (config_.skip_prk_steps) return steps == 1 ? 2 : std::clamp<int64_t>(steps - 1, 0, kOrder - 1);
  if (steps >= kPrkSteps) return kOrder - 1;
  return (steps + kGroup - 1) / kGroup + (steps % kGroup != 0 ? 2 : 0);
}

Status PndmScheduler::SetState(int64_t next_step, uint64_t elements, SchedulerState state) {
  if (state.counters.empty() && state.tensors.empty()) {
    state_ = {};
    return OkStatus();
  }
  if (state.counters.size() != 1 || state.counters[0] < 0 || state.counters[0] > next_step ||
      next_step > static_cast<int64_t>(timesteps_.size())) {
    return InvalidArgument(Format(
        "state: expected one counter from 0 to the next step, {}, got {} counters, the first {}",
        next_step, state.counters.size(), state.counters.empty() ? 0 : state.counters[0]));
  }
  const auto expected = static_cast<size_t>(TensorsAfter(state.counters[0]));
  if (state.tensors.size() != expected) {
    return InvalidArgument(Format("state: expected {} tensors after {} steps of {}, got {}",
                                  expected, state.counters[0], name(), state.tensors.size()));
  }
  RETURN_IF_ERROR(CheckSizes(state, elements));
  state_ = std::move(state);
  return OkStatus();
}

Status PndmScheduler::Step(int64_t step, const StepOptions& options, const StepTensors& tensors) {
  RETURN_IF_ERROR(CheckTensors(step, options, tensors));
  RETURN_IF_ERROR(CheckHistory(state_, tensors));
  const uint64_t elements = tensors.rows * tensors.row_elements;
  PredictOriginal(config_.prediction_type, MixOf(Alpha(Timestep(step))), tensors.model_output,
                  tensors.sample, elements, tensors.pred_original_sample);
  combined_.resize(elements);
  if (steps_taken() < static_cast<int64_t>(prk_timesteps_.size())) {
    RungeKutta(step, tensors);
  } else {
    Multistep(step, tensors);
  }
  state_.counters = {steps_taken() + 1};
  return OkStatus();
}

void PndmScheduler::RungeKutta(int64_t step, const StepTensors& tensors) {
  const int64_t taken = steps_taken();
  const uint64_t elements = combined_.size();
  const float* output = tensors.model_output;
  const int64_t place = taken % kGroup;
  std::vector<std::vector<float>>& held = state_.tensors;
  std::copy_n(output, elements, combined_.data());
  if (place == 0) {
    held.emplace_back(output, output + elements);
    held.emplace_back(tensors.sample, tensors.sample + elements);
    held.emplace_back(elements, 0.0f);
  }
  std::vector<float>& sum = held.back();
  const auto weight = static_cast<float>(place == 0 || place == 3 ? 1.0 / 6 : 1.0 / 3);
  for (uint64_t i = 0; i < elements; ++i) sum[i] += weight * output[i];
  if (place == 3) combined_.swap(sum);

  const int64_t timestep = Timestep(step);
  const float* sample = held[held.size() - 2].data();
  Move(prk_timesteps_[taken / kGroup * kGroup], taken % 2 == 1 ? timestep : timestep - ratio_ / 2,
       sample, tensors.prev_sample);
  if (place == 3) held.resize(held.size() - 2);
}

void PndmScheduler::Multistep(int64_t step, const StepTensors& tensors) {
  const int64_t taken = steps_taken();
  const uint64_t elements = combined_.size();
  const float* output = tensors.model_output;
  std::vector<std::vector<float>>& held = state_.tensors;
  int64_t from = Timestep(step);
  if (taken == 1) {
    // The first step again, from its sample. `from` is at most its timestep: no spacing puts two of
    // them nearer to each other than ratio_.
    const std::vector<float> first = std::move(held.back());
    held.pop_back();
    for (uint64_t i = 0; i < elements; ++i) combined_[i] = (output[i] + held[0][i]) / 2.0f;
    from += ratio_;
    return Move(from, from - ratio_, first.data(), tensors.prev_sample);
  }
  held.emplace_back(output, output + elements);
  const auto e = [&](size_t age, uint64_t i) { return held[held.size() - age][i]; };
  switch (held.size()) {
    case 1:
      std::copy_n(output, elements, combined_.data());
      break;
    case 2:
      for (uint64_t i = 0; i < elements; ++i) combined_[i] = (3 * e(1, i) - e(2, i)) / 2.0f;
      break;
    case 3:
      for (uint64_t i = 0; i < elements; ++i) {
        combined_[i] = (23 * e(1, i) - 16 * e(2, i) + 5 * e(3, i)) / 12.0f;
      }
      break;
    default:
      constexpr auto kPart = static_cast<float>(1.0 / 24);
      for (uint64_t i = 0; i < elements; ++i) {
        combined_[i] = kPart * (55 * e(1, i) - 59 * e(2, i) + 37 * e(3, i) - 9 * e(4, i));
      }
      held.erase(held.begin());
  }
  if (taken == 0) held.emplace_back(tensors.sample, tensors.sample + elements);
  Move(from, from - ratio_, tensors.sample, tensors.prev_sample);
}

void PndmScheduler::Move(int64_t from, int64_t to, const float* sample, float* prev) {
  const float alpha = Alpha(from);
  const float alpha_to = Alpha(to);
  const float kept = std::sqrt(alpha_to / alpha);
  const float change = alpha_to - alpha;
  const float denominator =
      alpha * std::sqrt(1.0f - alpha_to) + std::sqrt(alpha * (1.0f - alpha) * alpha_to);
  float* noise = combined_.data();
  PredictNoise(config_.prediction_type, MixOf(alpha), noise, sample, combined_.size(), noise);
  for (uint64_t i = 0; i < combined_.size(); ++i) {
    prev[i] = kept * sample[i] - change * noise[i] / denominator;
  }
}

}  // namespace unetd
