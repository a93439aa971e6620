#include "server/diffusion/scheduler_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "server/diffusion/ddim.h"

namespace unetd {
namespace {

std::string ErrorOf(std::string_view text, std::string_view base = "") {
  const auto config = ParseSchedulerConfig(text, base);
  return config.ok() ? "" : config.status().message();
}

TEST(SchedulerConfig, DefaultsAreDiffusers) {
  const auto config = ParseSchedulerConfig("{}");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->class_name, "DDIMScheduler");
  EXPECT_EQ(config->num_train_timesteps, 1000);
  EXPECT_EQ(config->beta_start, 0.0001);
  EXPECT_EQ(config->beta_end, 0.02);
  EXPECT_EQ(config->beta_schedule, BetaSchedule::kLinear);
  EXPECT_TRUE(config->clip_sample);
  EXPECT_TRUE(config->set_alpha_to_one);
  EXPECT_EQ(config->timestep_spacing, TimestepSpacing::kLeading);
  EXPECT_EQ(config->dynamic_thresholding_ratio, 0.995);
}

TEST(SchedulerConfig, KeepsUnknownKeysForOneWarning) {
  const auto config = ParseSchedulerConfig(
      R"({"_class_name": "DDIMScheduler", "_diffusers_version": "0.42.1",
          "skip_prk_steps": true, "beta_start": 0.00085, "trained_betas": null, "extra": []})");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->unknown_keys, (std::vector<std::string>{"extra", "skip_prk_steps"}));
  EXPECT_EQ(config->beta_start, 0.00085);
}

TEST(SchedulerConfig, RefusalsNameKeyAndValue) {
  EXPECT_EQ(ErrorOf(R"({"beta_schedule": "sigmoid"})"),
            "scheduler config: beta_schedule: expected one of linear, scaled_linear, "
            "squaredcos_cap_v2, got '\"sigmoid\"'");
  EXPECT_EQ(ErrorOf(R"({"num_train_timesteps": 1000.0})"),
            "scheduler config: num_train_timesteps: expected an integer from 1 to 100000, got "
            "'1000.0'");
  EXPECT_EQ(ErrorOf(R"({"num_train_timesteps": 18446744073709551615})"),
            "scheduler config: num_train_timesteps: expected an integer from 1 to 100000, got "
            "'18446744073709551615'");
  EXPECT_EQ(ErrorOf(R"({"clip_sample": 1})"),
            "scheduler config: clip_sample: expected true or false, got '1'");
  EXPECT_EQ(ErrorOf(R"({"prediction_type": null})"),
            "scheduler config: prediction_type: expected one of epsilon, sample, v_prediction, "
            "got 'null'");
  EXPECT_EQ(ErrorOf(R"({"trained_betas": [0.1, "x"]})"),
            "scheduler config: trained_betas: expected finite numbers, got '\"x\"'");
  EXPECT_EQ(ErrorOf(R"({"dynamic_thresholding_ratio": 1.5})"),
            "scheduler config: dynamic_thresholding_ratio: expected a number from 0 to 1, got "
            "'1.5'");
  EXPECT_EQ(ErrorOf("[]"), "scheduler config: expected a JSON object, got array");
  EXPECT_NE(ErrorOf("{").find("not JSON"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"beta_end": 1e400})").find("not JSON"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"x": )" + std::string(100000, '[') + std::string(100000, ']') + "}")
                .find("nested deeper"),
            std::string::npos);
}

TEST(SchedulerConfig, OtherClassesAreRefusedByName) {
  const auto config = ParseSchedulerConfig(R"({"_class_name": "PNDMScheduler"})");
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), Code::kUnimplemented);
  EXPECT_EQ(config.status().message(),
            "scheduler 'PNDMScheduler' is not built yet; built: DDIMScheduler");
}

TEST(SchedulerConfig, ARequestMayMakeADdimOfAnotherFile) {
  const std::string pndm =
      R"({"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
          "beta_schedule": "scaled_linear", "skip_prk_steps": true, "steps_offset": 1})";
  const auto config = ParseSchedulerConfig(
      R"({"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"})", pndm);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->beta_schedule, BetaSchedule::kScaledLinear);
  EXPECT_EQ(config->steps_offset, 1);
  EXPECT_EQ(config->timestep_spacing, TimestepSpacing::kTrailing);
  EXPECT_EQ(config->unknown_keys, (std::vector<std::string>{"skip_prk_steps"}));
}

SchedulerConfig With(TimestepSpacing spacing, int64_t offset = 0) {
  SchedulerConfig config;
  config.timestep_spacing = spacing;
  config.steps_offset = offset;
  return config;
}

TEST(Ddim, RefusesStepsThatTheScheduleDoesNotHave) {
  auto ddim = DdimScheduler::Create(With(TimestepSpacing::kLeading, 1));
  ASSERT_TRUE(ddim.ok());
  EXPECT_EQ((*ddim)->SetTimesteps(0).code(), Code::kInvalidArgument);
  EXPECT_EQ((*ddim)->SetTimesteps(1001).code(), Code::kInvalidArgument);
  // Leading with an offset runs over the end: diffusers raises an IndexError in the first step.
  EXPECT_EQ((*ddim)->SetTimesteps(1000).code(), Code::kInvalidArgument);
  EXPECT_TRUE((*ddim)->SetTimesteps(999).code() == Code::kInvalidArgument ||
              (*ddim)->timesteps()[0] <= 999);
  EXPECT_TRUE((*ddim)->SetTimesteps(50).ok());
  EXPECT_EQ((*ddim)->timesteps()[0], 981);
}

TEST(Ddim, TrailingNeverAddsATimestepBelowZero) {
  auto ddim = DdimScheduler::Create(With(TimestepSpacing::kTrailing));
  ASSERT_TRUE(ddim.ok());
  for (int64_t steps = 1; steps <= 1000; ++steps) {
    ASSERT_TRUE((*ddim)->SetTimesteps(steps).ok()) << steps;
    ASSERT_EQ((*ddim)->timesteps().size(), static_cast<size_t>(steps));
    ASSERT_EQ((*ddim)->timesteps().front(), 999);
    ASSERT_GE((*ddim)->timesteps().back(), 0);
  }
}

// At eta 1 and no signal left, 1 - alpha_prev - deviation^2 is 0 but for a rounding error, which is
// below zero for some numbers of steps: diffusers answers NaN there.
TEST(Ddim, FullNoiseIsNeverNaN) {
  SchedulerConfig config = With(TimestepSpacing::kTrailing);
  config.rescale_betas_zero_snr = true;
  config.prediction_type = PredictionType::kVPrediction;
  auto ddim = DdimScheduler::Create(config);
  ASSERT_TRUE(ddim.ok());
  for (int64_t steps = 2; steps < 100; ++steps) {
    ASSERT_TRUE((*ddim)->SetTimesteps(steps).ok());
    const float output = 0.5f, sample = 0.25f, noise = 1;
    float prev = 0, original = 0;
    const StepTensors tensors = {&output, &sample, &noise, &prev, &original, 1, 1};
    ASSERT_TRUE((*ddim)->Step(0, {.eta = 1}, tensors).ok());
    EXPECT_TRUE(std::isfinite(prev)) << steps;
  }
}

TEST(Ddim, StepOutOfRangeOrWithoutNoiseIsRefused) {
  auto ddim = DdimScheduler::Create(SchedulerConfig());
  ASSERT_TRUE(ddim.ok());
  ASSERT_TRUE((*ddim)->SetTimesteps(4).ok());
  float value[3] = {1, 2, 3};
  StepTensors tensors;
  tensors.model_output = tensors.sample = value;
  tensors.prev_sample = value + 1;
  tensors.pred_original_sample = value + 2;
  tensors.rows = tensors.row_elements = 1;
  EXPECT_EQ((*ddim)->Step(4, {}, tensors).code(), Code::kInvalidArgument);
  EXPECT_EQ((*ddim)->Step(-1, {}, tensors).code(), Code::kInvalidArgument);
  EXPECT_EQ((*ddim)->Step(0, {.eta = 0.5}, tensors).code(), Code::kInvalidArgument);
  EXPECT_TRUE((*ddim)->Step(0, {}, tensors).ok());
}

}  // namespace
}  // namespace unetd
