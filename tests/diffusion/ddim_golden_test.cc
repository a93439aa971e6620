// Whole trajectories against diffusers' DDIMScheduler: tests/golden/ddim has what it computed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "server/diffusion/ddim.h"
#include "server/weights/safetensors.h"

namespace unetd {
namespace {

constexpr double kTolerance =
    1e-5;  // of the largest magnitude of the tensor that diffusers computed

std::vector<std::filesystem::path> Goldens() {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(UNETD_SOURCE_DIR) / "tests/golden/ddim", error)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string NameOf(const testing::TestParamInfo<std::filesystem::path>& info) {
  std::string name = info.param.stem().string();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
  return name;
}

class DdimGolden : public testing::TestWithParam<std::filesystem::path> {
 protected:
  void SetUp() override {
    auto file = SafetensorsFile::Open(GetParam());
    ASSERT_TRUE(file.ok()) << file.status().message();
    file_ = *file;
  }
  bool Has(const std::string& name) const { return file_->tensors().contains(name); }
  const TensorView& At(const std::string& name) const { return file_->tensors().at(name); }
  const std::string& Meta(const std::string& name) const { return file_->metadata().at(name); }

  void ExpectNear(const float* got, const std::string& name) const {
    const TensorView& want = At(name);
    double largest = 0;
    for (uint64_t i = 0; i < want.elements(); ++i) {
      if (std::isfinite(want.as<float>()[i])) {
        largest = std::max<double>(largest, std::fabs(want.as<float>()[i]));
      }
    }
    for (uint64_t i = 0; i < want.elements(); ++i) {
      const float expected = want.as<float>()[i];
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(got[i])) << name << "[" << i << "]";
      } else if (std::isinf(expected)) {
        ASSERT_EQ(got[i], expected) << name << "[" << i << "]";
      } else {
        ASSERT_NEAR(got[i], expected, kTolerance * largest) << name << "[" << i << "]";
      }
    }
  }

  std::shared_ptr<SafetensorsFile> file_;
};

TEST_P(DdimGolden, TrajectoryIsDiffusers) {
  auto config = ParseSchedulerConfig(Meta("scheduler_config"));
  ASSERT_TRUE(config.ok()) << config.status().message();
  auto scheduler = DdimScheduler::Create(*config);
  ASSERT_TRUE(scheduler.ok());
  DdimScheduler& ddim = **scheduler;

  // torch's square roots are off by a bit here and there; rescaling takes differences of them.
  const double tolerance = config->rescale_betas_zero_snr ? 1e-5 : 1e-6;
  const TensorView& alphas = At("alphas_cumprod");
  ASSERT_EQ(ddim.alphas_cumprod().size(), alphas.elements());
  for (uint64_t i = 0; i < alphas.elements(); ++i) {
    const float want = alphas.as<float>()[i];
    ASSERT_NEAR(ddim.alphas_cumprod()[i], want, tolerance * want) << i;
  }

  const int64_t steps = std::stoll(Meta("num_inference_steps"));
  const Status status = ddim.SetTimesteps(steps);
  ASSERT_TRUE(status.ok()) << status.message();
  const TensorView& timesteps = At("timesteps");
  ASSERT_EQ(timesteps.dtype, DType::kInt64);
  ASSERT_EQ(ddim.timesteps().size(), timesteps.elements());
  for (uint64_t i = 0; i < timesteps.elements(); ++i) {
    ASSERT_EQ(ddim.timesteps()[i], static_cast<double>(timesteps.as<int64_t>()[i])) << i;
  }

  StepOptions options;
  options.eta = std::stod(Meta("eta"));
  const std::string& clipped = Meta("use_clipped_model_output");
  options.use_clipped_model_output = clipped == "true" || clipped == "True" || clipped == "1";
  const TensorView& first = At("sample0");
  std::vector<float> sample(first.as<float>(), first.as<float>() + first.elements());
  std::vector<float> original(sample.size());
  int64_t done = 0;
  for (int64_t step = 0; step < steps; ++step) {
    const std::string index = "." + std::to_string(step);
    if (!Has("model_output" + index)) break;
    ASSERT_EQ(ddim.NeedsNoise(step, options), Has("noise" + index));
    StepTensors tensors;
    tensors.model_output = At("model_output" + index).as<float>();
    tensors.sample = sample.data();
    tensors.noise = Has("noise" + index) ? At("noise" + index).as<float>() : nullptr;
    tensors.prev_sample = sample.data();
    tensors.pred_original_sample = original.data();
    tensors.rows = static_cast<uint64_t>(first.shape[0]);
    tensors.row_elements = first.elements() / tensors.rows;
    ASSERT_TRUE(ddim.Step(step, options, tensors).ok());
    ExpectNear(original.data(), "pred_original_sample" + index);
    ExpectNear(sample.data(), "prev_sample" + index);
    if (HasFatalFailure()) return;
    ++done;
  }
  EXPECT_EQ(done, steps);
}

INSTANTIATE_TEST_SUITE_P(All, DdimGolden, testing::ValuesIn(Goldens()), NameOf);

// What diffusers raises for is refused, at the latest when the timesteps are set.
TEST(DdimGoldens, WhatDiffusersRaisesForIsRefused) {
  std::ifstream file(std::filesystem::path(UNETD_SOURCE_DIR) / "tests/golden/ddim/refused.json");
  const nlohmann::json cases = nlohmann::json::parse(file);
  ASSERT_FALSE(cases.empty());
  for (const auto& refused : cases) {
    const auto config = ParseSchedulerConfig(refused["scheduler_config"].dump());
    Status status = config.status();
    if (config.ok()) {
      auto scheduler = MakeScheduler(*config);
      ASSERT_TRUE(scheduler.ok());
      status = (*scheduler)->SetTimesteps(refused["num_inference_steps"]);
    }
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << refused["name"];
    EXPECT_FALSE(status.message().empty());
  }
}

TEST(DdimGoldens, AreThere) { EXPECT_GE(Goldens().size(), 1u); }

}  // namespace
}  // namespace unetd
