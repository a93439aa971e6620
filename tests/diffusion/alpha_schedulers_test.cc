// Where DDIM, DDPM, LCM, TCD and PNDM differ from diffusers, or refuse.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "server/diffusion/scheduler.h"
#include "server/diffusion/scheduler_class.h"

namespace unetd {
namespace {

constexpr const char* kClasses[] = {"DDIMScheduler", "DDPMScheduler", "LCMScheduler",
                                    "TCDScheduler", "PNDMScheduler"};

SchedulerConfig ConfigOf(const std::string& name) {
  return (*FindSchedulerClass(name))->Defaults();
}

std::unique_ptr<Scheduler> Make(const SchedulerConfig& config) {
  auto made = MakeScheduler(config);
  return made.ok() ? std::move(*made) : nullptr;
}

SchedulerConfig DdimWith(TimestepSpacing spacing, int64_t offset = 0) {
  SchedulerConfig config;
  config.timestep_spacing = spacing;
  config.steps_offset = offset;
  return config;
}

TEST(Ddim, RefusesStepsThatTheScheduleDoesNotHave) {
  const auto ddim = Make(DdimWith(TimestepSpacing::kLeading, 1));
  EXPECT_EQ(ddim->SetTimesteps(0).code(), Code::kInvalidArgument);
  EXPECT_EQ(ddim->SetTimesteps(1001).code(), Code::kInvalidArgument);
  // Leading with an offset runs over the end: diffusers raises an IndexError in the first step.
  EXPECT_EQ(ddim->SetTimesteps(1000).code(), Code::kInvalidArgument);
  EXPECT_EQ(ddim->SetTimesteps(INT64_MIN).code(), Code::kInvalidArgument);
  EXPECT_TRUE(ddim->SetTimesteps(50).ok());
  EXPECT_EQ(ddim->timesteps()[0], 981);
}

TEST(Ddim, TrailingNeverAddsATimestepBelowZero) {
  const auto ddim = Make(DdimWith(TimestepSpacing::kTrailing));
  for (int64_t steps = 1; steps <= 1000; ++steps) {
    ASSERT_TRUE(ddim->SetTimesteps(steps).ok()) << steps;
    ASSERT_EQ(ddim->timesteps().size(), static_cast<size_t>(steps));
    ASSERT_EQ(ddim->timesteps().front(), 999);
    ASSERT_GE(ddim->timesteps().back(), 0);
  }
}

// At eta 1 and no signal left, 1 - alpha_prev - deviation^2 is 0 but for a rounding error, which is
// below zero for some numbers of steps: diffusers answers NaN there.
TEST(Ddim, FullNoiseIsNeverNaN) {
  SchedulerConfig config = DdimWith(TimestepSpacing::kTrailing);
  config.rescale_betas_zero_snr = true;
  config.prediction_type = PredictionType::kVPrediction;
  const auto ddim = Make(config);
  for (int64_t steps = 2; steps < 100; ++steps) {
    ASSERT_TRUE(ddim->SetTimesteps(steps).ok());
    const float output = 0.5f, sample = 0.25f, noise = 1;
    float prev = 0, original = 0;
    const StepTensors tensors = {&output, &sample, &noise, &prev, &original, 1, 1, 1};
    ASSERT_TRUE(ddim->Step(0, {.eta = 1}, tensors).ok());
    EXPECT_TRUE(std::isfinite(prev)) << steps;
  }
}

// diffusers takes the root of the variance's logarithm: NaN in every step.
TEST(Ddpm, FixedLargeLogIsFixedLarge) {
  SchedulerConfig config = ConfigOf("DDPMScheduler");
  float prev[2];
  for (const bool log : {false, true}) {
    config.variance_type = log ? VarianceType::kFixedLargeLog : VarianceType::kFixedLarge;
    const auto ddpm = Make(config);
    ASSERT_TRUE(ddpm->SetTimesteps(10).ok());
    const float output = 0.5f, sample = 0.25f, noise = 1;
    float original = 0;
    const StepTensors tensors = {&output, &sample, &noise, &prev[log], &original, 1, 1, 1};
    ASSERT_TRUE(ddpm->Step(3, {}, tensors).ok());
  }
  EXPECT_TRUE(std::isfinite(prev[0]));
  EXPECT_EQ(prev[0], prev[1]);
}

// No spacing makes the repeated step of PNDM reach before the first timestep.
TEST(Pndm, EveryNumberOfStepsRuns) {
  for (const TimestepSpacing spacing :
       {TimestepSpacing::kLeading, TimestepSpacing::kLinspace, TimestepSpacing::kTrailing}) {
    SchedulerConfig config = ConfigOf("PNDMScheduler");
    config.timestep_spacing = spacing;
    for (const bool skip : {false, true}) {
      config.skip_prk_steps = skip;
      for (const int64_t train : {97, 100}) {
        config.num_train_timesteps = train;
        const auto pndm = Make(config);
        for (int64_t steps = skip ? 1 : 4; steps <= train; ++steps) {
          ASSERT_TRUE(pndm->SetTimesteps(steps).ok()) << steps;
          const auto calls = static_cast<int64_t>(pndm->timesteps().size());
          ASSERT_EQ(calls, skip ? steps + (steps > 1 ? 1 : 0) : steps + 9);
          float sample = 0.25f, original = 0;
          const float output = 0.5f;
          for (int64_t step = 0; step < calls; ++step) {
            const StepTensors tensors = {&output, &sample, nullptr, &sample, &original, 1, 1, 1};
            ASSERT_TRUE(pndm->Step(step, {}, tensors).ok());
            ASSERT_TRUE(std::isfinite(sample)) << steps << ", step " << step;
          }
        }
      }
    }
  }
}

TEST(Pndm, AnotherSizeInMidLoopIsRefused) {
  const auto pndm = Make(ConfigOf("PNDMScheduler"));
  ASSERT_TRUE(pndm->SetTimesteps(5).ok());
  float values[4] = {1, 2, 3, 4};
  StepTensors tensors = {values, values + 1, nullptr, values + 2, values + 3, 1, 1, 1};
  ASSERT_TRUE(pndm->Step(0, {}, tensors).ok());
  tensors.row_elements = tensors.output_elements = 0;
  EXPECT_EQ(pndm->Step(1, {}, tensors).code(), Code::kInvalidArgument);
}

TEST(Tcd, EtaOutOfRangeIsRefused) {
  const auto tcd = Make(ConfigOf("TCDScheduler"));
  ASSERT_TRUE(tcd->SetTimesteps(4).ok());
  float values[5] = {1, 2, 3, 4, 5};
  const StepTensors tensors = {values, values + 1, values + 2, values + 3, values + 4, 1, 1, 1};
  for (const double eta : {-0.1, 1.1, double{NAN}}) {
    EXPECT_EQ(tcd->Step(0, {.eta = eta}, tensors).code(), Code::kInvalidArgument) << eta;
  }
  EXPECT_TRUE(tcd->Step(0, {.eta = 1}, tensors).ok());
}

TEST(AlphaSchedulers, StepOutOfRangeOrOfAnotherSizeIsRefused) {
  for (const char* name : kClasses) {
    const auto scheduler = Make(ConfigOf(name));
    ASSERT_TRUE(scheduler->SetTimesteps(4).ok());
    const auto count = static_cast<int64_t>(scheduler->timesteps().size());
    float values[6] = {1, 2, 3, 4, 5, 6};
    StepTensors tensors = {values, values + 1, values + 2, values + 3, values + 4, 1, 1, 1};
    for (const int64_t step : {count, int64_t{-1}, INT64_MIN, INT64_MAX}) {
      EXPECT_FALSE(scheduler->NeedsNoise(step, {.eta = 1})) << name << " " << step;
      EXPECT_EQ(scheduler->Step(step, {}, tensors).code(), Code::kInvalidArgument) << name;
    }
    tensors.output_elements = 2;
    EXPECT_EQ(scheduler->Step(0, {}, tensors).code(), Code::kInvalidArgument) << name;
    tensors.output_elements = 1;
    EXPECT_TRUE(scheduler->Step(0, {}, tensors).ok()) << name;
  }
}

TEST(AlphaSchedulers, MissingNoiseIsRefused) {
  for (const char* name : {"DDIMScheduler", "DDPMScheduler", "LCMScheduler", "TCDScheduler"}) {
    const auto scheduler = Make(ConfigOf(name));
    ASSERT_TRUE(scheduler->SetTimesteps(4).ok());
    float values[4] = {1, 2, 3, 4};
    const StepTensors tensors = {values, values + 1, nullptr, values + 2, values + 3, 1, 1, 1};
    const StepOptions options = {.eta = 0.5};
    EXPECT_EQ(scheduler->Step(0, options, tensors).code(), Code::kInvalidArgument) << name;
    EXPECT_TRUE(scheduler->Step(3, options, tensors).ok()) << name;
  }
}

}  // namespace
}  // namespace unetd
