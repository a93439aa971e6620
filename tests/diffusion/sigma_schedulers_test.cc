// Where Euler, Euler ancestral, Heun, DPM-Solver and UniPC differ from diffusers, or refuse.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "server/diffusion/scheduler.h"
#include "server/diffusion/scheduler_class.h"

namespace unetd {
namespace {

constexpr const char* kClasses[] = {"EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
                                    "HeunDiscreteScheduler", "DPMSolverMultistepScheduler",
                                    "UniPCMultistepScheduler"};
constexpr uint64_t kElements = 2;

SchedulerConfig ConfigOf(const std::string& name) {
  return (*FindSchedulerClass(name))->Defaults();
}

std::unique_ptr<Scheduler> Make(const SchedulerConfig& config, int64_t steps) {
  auto made = MakeScheduler(config);
  if (!made.ok() || !(*made)->SetTimesteps(steps).ok()) return nullptr;
  return std::move(*made);
}

// The arrays of one step of one row.
struct Row {
  std::vector<float> output = {0.5f, -1.25f}, sample = {1, -2}, noise = {0.75f, -0.5f};
  std::vector<float> original = std::vector<float>(kElements);

  StepTensors Tensors() {
    return {output.data(), sample.data(), noise.data(), sample.data(), original.data(), 1,
            kElements,     output.size()};
  }
  bool finite() const {
    const auto is_finite = [](float value) { return std::isfinite(value); };
    return std::all_of(sample.begin(), sample.end(), is_finite) &&
           std::all_of(original.begin(), original.end(), is_finite);
  }
};

// Takes all steps from `start` on.
void ExpectFinite(Scheduler& scheduler, int64_t start, const std::string& what) {
  Row row;
  const auto count = static_cast<int64_t>(scheduler.timesteps().size());
  for (float& value : row.sample) value *= static_cast<float>(scheduler.init_noise_sigma());
  for (int64_t step = start; step < count; ++step) {
    for (float& value : row.output) value = -value * 1.125f;
    const Status status = scheduler.Step(step, {}, row.Tensors());
    ASSERT_TRUE(status.ok()) << what << ": " << status.message();
    ASSERT_TRUE(row.finite()) << what << ", step " << step << " of " << count;
    row.output = {0.5f, -1.25f};
  }
}

// Steps of no length and outputs at one noise level make diffusers' higher orders infinite.
TEST(SigmaSchedulers, EveryNumberOfStepsIsFinite) {
  for (const char* name : kClasses) {
    for (const TimestepSpacing spacing :
         {TimestepSpacing::kLeading, TimestepSpacing::kLinspace, TimestepSpacing::kTrailing}) {
      for (const bool karras : {false, true}) {
        for (const int64_t order : {1, 2, 3, 5}) {
          SchedulerConfig config = ConfigOf(name);
          config.num_train_timesteps = 23;
          config.timestep_spacing = spacing;
          config.use_karras_sigmas = karras && name != kClasses[1];
          config.solver_order = order;
          config.lower_order_final = false;
          config.prediction_type = PredictionType::kVPrediction;
          for (int64_t steps = 1; steps <= 23; ++steps) {
            const auto scheduler = Make(config, steps);
            ASSERT_NE(scheduler, nullptr);
            const auto start = static_cast<int64_t>(scheduler->timesteps().size()) / 3;
            ExpectFinite(*scheduler, 0, name);
            ASSERT_TRUE(scheduler->SetTimesteps(steps).ok());
            ExpectFinite(*scheduler, start, name);
          }
        }
      }
    }
  }
}

TEST(SigmaSchedulers, EverySolverIsFinite) {
  for (const bool heun : {false, true}) {
    for (const AlgorithmType algorithm :
         {AlgorithmType::kDpmSolver, AlgorithmType::kDpmSolverPp, AlgorithmType::kSdeDpmSolver,
          AlgorithmType::kSdeDpmSolverPp}) {
      SchedulerConfig config = ConfigOf("DPMSolverMultistepScheduler");
      config.algorithm_type = algorithm;
      config.solver_type = heun ? SolverType::kHeun : SolverType::kMidpoint;
      config.final_sigmas_type = FinalSigmasType::kSigmaMin;
      config.lower_order_final = false;
      config.use_karras_sigmas = true;  // ends with a step of no length
      ExpectFinite(*Make(config, 20), 0, "dpm");
    }
    SchedulerConfig config = ConfigOf("UniPCMultistepScheduler");
    config.solver_type = heun ? SolverType::kBh1 : SolverType::kBh2;
    ExpectFinite(*Make(config, 6), 0, "unipc");
    config.lower_order_final = false;
    config.solver_order = 3;
    ExpectFinite(*Make(config, 6), 0, "unipc to zero");
    config.predict_x0 = false;
    config.final_sigmas_type = FinalSigmasType::kSigmaMin;
    config.use_karras_sigmas = true;
    ExpectFinite(*Make(config, 20), 0, "unipc of no length");
  }
}

// diffusers takes the root of to^2 - up^2, a rounding error below zero in a first step that far.
TEST(EulerAncestral, LongStepsAreNotNaN) {
  SchedulerConfig config = ConfigOf("EulerAncestralDiscreteScheduler");
  config.beta_schedule = BetaSchedule::kSquaredCosCapV2;
  for (int64_t steps = 1; steps <= 100; ++steps) ExpectFinite(*Make(config, steps), 0, "euler a");
}

TEST(SigmaSchedulers, TrailingNeverAddsATimestepBelowZero) {
  for (const char* name : kClasses) {
    SchedulerConfig config = ConfigOf(name);
    config.timestep_spacing = TimestepSpacing::kTrailing;
    const size_t calls = std::string(name) == "HeunDiscreteScheduler" ? 2 : 1;
    for (const int64_t steps : {1, 60, 61, 121, 223, 999, 1000}) {
      const auto scheduler = Make(config, steps);
      ASSERT_NE(scheduler, nullptr);
      const auto count = static_cast<size_t>(steps);
      EXPECT_EQ(scheduler->timesteps().size(), calls * count - (calls - 1)) << name;
      EXPECT_EQ(scheduler->timesteps().front(), 999) << name;
      EXPECT_GE(scheduler->timesteps().back(), 0) << name << ", " << steps;
    }
  }
}

// What diffusers makes of a start between the halves never removes any noise.
TEST(Heun, BetweenTheHalvesALoopBeginsWithTheNextStep) {
  const auto heun = Make(ConfigOf("HeunDiscreteScheduler"), 4);
  Row row, other;
  ASSERT_TRUE(heun->Step(1, {}, row.Tensors()).ok());
  EXPECT_EQ(row.sample, other.sample);
  ASSERT_TRUE(heun->Step(2, {}, row.Tensors()).ok());
  ASSERT_TRUE(Make(ConfigOf("HeunDiscreteScheduler"), 4)->Step(2, {}, other.Tensors()).ok());
  EXPECT_EQ(row.sample, other.sample);
  EXPECT_NE(row.sample, Row().sample);
}

TEST(SigmaSchedulers, StepOutOfRangeOrOfAnotherSizeIsRefused) {
  for (const char* name : kClasses) {
    const auto scheduler = Make(ConfigOf(name), 4);
    const auto count = static_cast<int64_t>(scheduler->timesteps().size());
    Row row;
    for (const int64_t step : {count, int64_t{-1}, INT64_MIN, INT64_MAX}) {
      EXPECT_FALSE(scheduler->NeedsNoise(step, {})) << name << " " << step;
      EXPECT_EQ(scheduler->Step(step, {}, row.Tensors()).code(), Code::kInvalidArgument) << name;
    }
    row.output.resize(2 * kElements);
    EXPECT_EQ(scheduler->Step(0, {}, row.Tensors()).code(), Code::kInvalidArgument) << name;
    row.output.resize(kElements);
    EXPECT_TRUE(scheduler->Step(0, {}, row.Tensors()).ok()) << name;
    if (scheduler->state().tensors.empty()) continue;
    StepTensors tensors = row.Tensors();
    tensors.row_elements = tensors.output_elements = 1;
    EXPECT_EQ(scheduler->Step(1, {}, tensors).code(), Code::kInvalidArgument) << name;
  }
}

TEST(SigmaSchedulers, StepsThatNoScheduleHasAreRefused) {
  for (const char* name : kClasses) {
    auto scheduler = MakeScheduler(ConfigOf(name));
    ASSERT_TRUE(scheduler.ok());
    for (const int64_t steps : {int64_t{0}, int64_t{1001}, int64_t{-1}, INT64_MIN, INT64_MAX}) {
      EXPECT_EQ((*scheduler)->SetTimesteps(steps).code(), Code::kInvalidArgument) << name;
    }
    EXPECT_TRUE((*scheduler)->SetTimesteps(1000).ok()) << name;
  }
}

TEST(SigmaSchedulers, MissingNoiseIsRefused) {
  SchedulerConfig sde = ConfigOf("DPMSolverMultistepScheduler");
  sde.algorithm_type = AlgorithmType::kSdeDpmSolverPp;
  for (const SchedulerConfig& config : {sde, ConfigOf("EulerAncestralDiscreteScheduler")}) {
    const auto scheduler = Make(config, 4);
    Row row;
    StepTensors tensors = row.Tensors();
    tensors.noise = nullptr;
    EXPECT_TRUE(scheduler->NeedsNoise(0, {}));
    EXPECT_EQ(scheduler->Step(0, {}, tensors).code(), Code::kInvalidArgument);
    EXPECT_FALSE(scheduler->NeedsNoise(3, {}));
    EXPECT_TRUE(scheduler->Step(3, {}, tensors).ok());
  }
}

// Betas of no noise at all, or of nothing else, leave sigmas to divide by that are 0 or infinite.
TEST(SigmaSchedulers, SigmasThatAreNoneAreRefused) {
  for (const char* name : kClasses) {
    SchedulerConfig config = ConfigOf(name);
    config.trained_betas = {0, 0, 0.1, 0.2};
    config.num_train_timesteps = 4;
    config.timestep_spacing = TimestepSpacing::kTrailing;
    EXPECT_EQ(Make(config, 4), nullptr) << name;
    config.trained_betas = {0.1, 0.1, 0.1, 1};
    EXPECT_EQ(Make(config, 4), nullptr) << name;
    config.trained_betas = {0.1, 0.1, 0.1, 0.1};
    EXPECT_NE(Make(config, 4), nullptr) << name;
  }
  SchedulerConfig config = ConfigOf("EulerDiscreteScheduler");
  config.use_karras_sigmas = true;
  config.sigma_min = 0;
  EXPECT_EQ(Make(config, 4), nullptr);
  // One training timestep has no way back from sigmas.
  config = ConfigOf("EulerDiscreteScheduler");
  config.num_train_timesteps = 1;
  EXPECT_NE(Make(config, 1), nullptr);
  config.use_karras_sigmas = true;
  EXPECT_EQ(Make(config, 1), nullptr);
}

TEST(SigmaSchedulers, WhatNoSolverTakesIsRefused) {
  const auto code = [](const std::string& name, const std::function<void(SchedulerConfig&)>& set) {
    SchedulerConfig config = ConfigOf(name);
    set(config);
    return MakeScheduler(config).status().code();
  };
  for (const char* name : {"DPMSolverMultistepScheduler", "UniPCMultistepScheduler"}) {
    EXPECT_EQ(code(name, [](auto& config) { config.use_flow_sigmas = true; }),
              Code::kUnimplemented);
    EXPECT_EQ(code(name, [](auto& config) { config.use_dynamic_shifting = true; }),
              Code::kUnimplemented);
    EXPECT_EQ(
        code(name, [](auto& config) { config.prediction_type = PredictionType::kFlowPrediction; }),
        Code::kUnimplemented);
  }
  EXPECT_EQ(code("UniPCMultistepScheduler", [](auto& config) { config.predict_x0 = false; }),
            Code::kInvalidArgument);
  SchedulerConfig config = ConfigOf("DPMSolverMultistepScheduler");
  config.lambda_min_clipped = 100;  // above every timestep's
  EXPECT_EQ(Make(config, 4), nullptr);
}

// How many tensors a state may have before a step, counted where all rows begin at step 0.
struct StateCase {
  const char* name;
  int64_t order;
  std::vector<size_t> most;  // before steps 0, 1, ...
};

class SigmaSchedulerState : public testing::TestWithParam<StateCase> {};

TEST_P(SigmaSchedulerState, HasOnlyWhatTheStepsBeforeCanHaveLeft) {
  const StateCase& expected = GetParam();
  SchedulerConfig config = ConfigOf(expected.name);
  config.solver_order = expected.order;
  const auto scheduler = Make(config, 20);
  for (size_t step = 0; step < expected.most.size(); ++step) {
    const auto next = static_cast<int64_t>(step);
    ASSERT_EQ(scheduler->state().tensors.size(), expected.most[step]) << step;
    SchedulerState state = scheduler->state();
    EXPECT_TRUE(Make(config, 20)->SetState(next, kElements, state).ok()) << step;
    EXPECT_TRUE(Make(config, 20)->SetState(next, kElements, {}).ok()) << step;
    state.tensors.emplace_back(kElements);
    EXPECT_EQ(Make(config, 20)->SetState(next, kElements, state).code(), Code::kInvalidArgument);
    state = scheduler->state();
    state.counters = {1};
    EXPECT_EQ(Make(config, 20)->SetState(next, kElements, state).code(), Code::kInvalidArgument);
    EXPECT_EQ(Make(config, 20)->SetState(-1, kElements, {}).code(), Code::kInvalidArgument);
    Row row;
    ASSERT_TRUE(scheduler->Step(next, {}, row.Tensors()).ok());
    const uint64_t bytes = scheduler->state().tensors.size() * kElements * sizeof(float);
    EXPECT_LE(bytes, scheduler->StepBytes(1, kElements)) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(All, SigmaSchedulerState,
                         testing::Values(StateCase{"HeunDiscreteScheduler", 2, {0, 2, 0, 2}},
                                         StateCase{"DPMSolverMultistepScheduler", 1, {0, 0, 0}},
                                         StateCase{"DPMSolverMultistepScheduler", 2, {0, 1, 1, 1}},
                                         StateCase{"DPMSolverMultistepScheduler", 3, {0, 1, 2, 2}},
                                         StateCase{"UniPCMultistepScheduler", 1, {0, 2, 2}},
                                         StateCase{"UniPCMultistepScheduler", 3, {0, 2, 3, 4, 4}}),
                         [](const auto& info) {
                           return std::string(info.param.name) + "_" +
                                  std::to_string(info.param.order);
                         });

// Half of what makes a state is none, nor is what the next step would not read.
TEST(SigmaSchedulers, AnotherStepsStateIsRefused) {
  const auto code = [](const char* name, int64_t next_step, size_t tensors) {
    SchedulerState state;
    state.tensors.resize(tensors, std::vector<float>(kElements));
    return Make(ConfigOf(name), 20)->SetState(next_step, kElements, state).code();
  };
  EXPECT_EQ(code("UniPCMultistepScheduler", 1, 1), Code::kInvalidArgument);
  EXPECT_EQ(code("HeunDiscreteScheduler", 1, 1), Code::kInvalidArgument);
  EXPECT_EQ(code("HeunDiscreteScheduler", 2, 2), Code::kInvalidArgument);
  EXPECT_EQ(code("HeunDiscreteScheduler", 3, 2), Code::kOk);
}

TEST(SigmaSchedulers, TimestepsForgetTheState) {
  for (const char* name : kClasses) {
    const auto scheduler = Make(ConfigOf(name), 4);
    Row row;
    ASSERT_TRUE(scheduler->Step(0, {}, row.Tensors()).ok());
    ASSERT_TRUE(scheduler->SetTimesteps(4).ok());
    EXPECT_TRUE(scheduler->state().tensors.empty()) << name;
  }
}

}  // namespace
}  // namespace unetd
