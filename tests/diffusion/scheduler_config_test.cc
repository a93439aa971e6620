#include "server/diffusion/scheduler_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "server/diffusion/scheduler.h"
#include "server/diffusion/scheduler_class.h"

namespace unetd {
namespace {

std::string ErrorOf(std::string_view text, std::string_view base = "") {
  const auto config = ParseSchedulerConfig(text, base);
  return config.ok() ? "" : config.status().message();
}

// A config of that class with one more key.
std::string With(std::string_view name, const std::string& key) {
  return R"({"_class_name": ")" + std::string(name) + R"(", )" + key + "}";
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

TEST(SchedulerConfig, EveryClassHasItsOwnDefaults) {
  for (const SchedulerClass& row : SchedulerClasses()) {
    const auto config = ParseSchedulerConfig(With(row.name, R"("_note": 1)"));
    ASSERT_TRUE(config.ok()) << config.status().message();
    EXPECT_EQ(config->class_name, row.name);
    EXPECT_TRUE(*config == row.Defaults());
  }
  EXPECT_EQ(ParseSchedulerConfig(With("EulerDiscreteScheduler", R"("_note": 1)"))->timestep_spacing,
            TimestepSpacing::kLinspace);
  EXPECT_EQ(ParseSchedulerConfig(With("LCMScheduler", R"("_note": 1)"))->beta_end, 0.012);
}

TEST(SchedulerConfig, KeepsUnknownKeysForOneWarning) {
  const auto config = ParseSchedulerConfig(
      R"({"_class_name": "DDIMScheduler", "_diffusers_version": "0.42.1",
          "skip_prk_steps": true, "beta_start": 0.00085, "trained_betas": null, "extra": []})");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->unknown_keys, (std::vector<std::string>{"extra", "skip_prk_steps"}));
  EXPECT_EQ(config->beta_start, 0.00085);
}

// A published PNDM file has clip_sample, which PNDM does not: whatever it says, nothing reads it.
TEST(SchedulerConfig, AKeyOfAnotherClassIsUnknown) {
  const auto pndm = ParseSchedulerConfig(With("PNDMScheduler", R"("clip_sample": "maybe")"));
  ASSERT_TRUE(pndm.ok()) << pndm.status().message();
  EXPECT_EQ(pndm->unknown_keys, std::vector<std::string>{"clip_sample"});
  EXPECT_FALSE(pndm->clip_sample);
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
            "scheduler config: trained_betas: expected numbers from 0 to 1, got '\"x\"'");
  EXPECT_EQ(ErrorOf(R"({"dynamic_thresholding_ratio": 1.5})"),
            "scheduler config: dynamic_thresholding_ratio: expected a number from 0 to 1, got "
            "'1.5'");
  EXPECT_EQ(ErrorOf(R"({"beta_end": NaN})"),
            "scheduler config: beta_end: expected a number from 0 to 1, got '\"NaN\"'");
  EXPECT_EQ(ErrorOf("[]"), "scheduler config: expected a JSON object, got array");
  EXPECT_NE(ErrorOf("{").find("not JSON"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"beta_end": 1e400})").find("not JSON"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"x": )" + std::string(100000, '[') + std::string(100000, ']') + "}")
                .find("nested deeper"),
            std::string::npos);
}

TEST(SchedulerConfig, ValuesAreOfTheirClass) {
  EXPECT_EQ(ErrorOf(With("PNDMScheduler", R"("prediction_type": "sample")")),
            "scheduler config: prediction_type: expected one of epsilon, v_prediction, got "
            "'\"sample\"'");
  EXPECT_EQ(ErrorOf(With("DDPMScheduler", R"("beta_schedule": "sigmoid")")), "");
  EXPECT_EQ(ErrorOf(With("HeunDiscreteScheduler", R"("beta_schedule": "exp")")), "");
  EXPECT_NE(ErrorOf(With("LCMScheduler", R"("original_inference_steps": 0)")), "");
  EXPECT_NE(ErrorOf(With("UniPCMultistepScheduler", R"("solver_order": 0)")), "");
  EXPECT_EQ(ErrorOf(With("EulerDiscreteScheduler",
                         R"("use_karras_sigmas": true, "use_exponential_sigmas": true)")),
            "scheduler config: use_karras_sigmas, use_exponential_sigmas: expected at most one to "
            "be true, got both");
}

TEST(SchedulerConfig, WhatDiffusersTakesAndThisDoesNotIsUnimplemented) {
  const auto beta =
      ParseSchedulerConfig(With("HeunDiscreteScheduler", R"("use_beta_sigmas": true)"));
  ASSERT_FALSE(beta.ok());
  EXPECT_EQ(beta.status().code(), Code::kUnimplemented);
  EXPECT_EQ(beta.status().message(),
            "scheduler config: use_beta_sigmas: 'true' is not supported; supported: "
            "use_karras_sigmas, use_exponential_sigmas or neither");
  const auto solver = ParseSchedulerConfig(With("UniPCMultistepScheduler", R"("solver_p": {})"));
  ASSERT_FALSE(solver.ok());
  EXPECT_EQ(solver.status().code(), Code::kUnimplemented);
}

TEST(SchedulerConfig, OtherClassesAreRefusedByName) {
  const auto config = ParseSchedulerConfig(R"({"_class_name": "DEISMultistepScheduler"})");
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), Code::kUnimplemented);
  EXPECT_EQ(config.status().message().substr(0, 80),
            "scheduler 'DEISMultistepScheduler' is not built; built: DDIMScheduler, DDPMSched");
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
  // What neither says is the new class's default, not the old one's.
  const auto euler = ParseSchedulerConfig(R"({"_class_name": "EulerDiscreteScheduler"})", pndm);
  ASSERT_TRUE(euler.ok()) << euler.status().message();
  EXPECT_EQ(euler->timestep_spacing, TimestepSpacing::kLinspace);
  EXPECT_EQ(euler->beta_end, 0.012);
}

// As diffusers' configs in memory have it: from_config leaves those keys to the new class.
TEST(SchedulerConfig, KeysThatHoldDefaultsAreNobodysChoice) {
  const auto config = ParseSchedulerConfig(
      R"({"_class_name": "EulerDiscreteScheduler"})",
      R"({"_class_name": "PNDMScheduler", "timestep_spacing": "leading", "steps_offset": 1,
          "_use_default_values": ["timestep_spacing"]})");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->timestep_spacing, TimestepSpacing::kLinspace);
  EXPECT_EQ(config->steps_offset, 1);
}

TEST(SchedulerConfig, ReadsWhatPublishedFilesHave) {
  // Python's JSON of float("-inf"), and only outside strings.
  const auto dpm = ParseSchedulerConfig(
      With("DPMSolverMultistepScheduler",
           R"("lambda_min_clipped": -Infinity, "variance_type": null, "algorithm_type": "deis",
              "solver_type": "bh2", "solver_p": null, "note \"-Infinity": "Infinity")"));
  ASSERT_TRUE(dpm.ok()) << dpm.status().message();
  EXPECT_EQ(dpm->lambda_min_clipped, -INFINITY);
  EXPECT_EQ(dpm->algorithm_type, AlgorithmType::kDpmSolverPp);
  EXPECT_EQ(dpm->solver_type, SolverType::kMidpoint);
  EXPECT_EQ(dpm->variance_type, VarianceType::kNone);
  EXPECT_EQ(dpm->unknown_keys, (std::vector<std::string>{"note \"-Infinity", "solver_p"}));
  // The multistep solvers read each other's files.
  const auto unipc = ParseSchedulerConfig(
      With("UniPCMultistepScheduler",
           R"("solver_type": "midpoint", "sigma_min": null, "disable_corrector": [0, -1, 2],
              "use_karras_sigmas": null)"));
  ASSERT_TRUE(unipc.ok()) << unipc.status().message();
  EXPECT_EQ(unipc->solver_type, SolverType::kBh2);
  EXPECT_EQ(unipc->disable_corrector, (std::vector<int64_t>{0, 2}));
  EXPECT_FALSE(unipc->use_karras_sigmas);
  const auto flax = ParseSchedulerConfig(With("FlaxPNDMScheduler", R"("skip_prk_steps": true)"));
  ASSERT_TRUE(flax.ok()) << flax.status().message();
  EXPECT_EQ(flax->class_name, "PNDMScheduler");
  EXPECT_TRUE(flax->skip_prk_steps);
}

// Betas that never take signal away cannot be rescaled: diffusers answers NaN.
TEST(SchedulerConfig, ZeroSnrNeedsSignalToTake) {
  for (const char* text : {R"({"rescale_betas_zero_snr": true, "num_train_timesteps": 1})",
                           R"({"rescale_betas_zero_snr": true, "beta_start": 0, "beta_end": 0})"}) {
    const auto config = ParseSchedulerConfig(text);
    ASSERT_TRUE(config.ok());
    EXPECT_EQ(MakeScheduler(*config).status().code(), Code::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace unetd
