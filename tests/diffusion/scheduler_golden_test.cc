// Whole trajectories against diffusers' schedulers: tests/golden/schedulers has what they computed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/scheduler.h"
#include "server/weights/safetensors.h"

namespace unetd {
namespace {

// Of the largest magnitude of the tensor that diffusers computed.
constexpr double kTolerance = 1e-5;

std::filesystem::path Folder() {
  return std::filesystem::path(UNETD_SOURCE_DIR) / "tests/golden/schedulers";
}

std::vector<std::filesystem::path> Goldens() {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(Folder(), error)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string NameOf(const testing::TestParamInfo<std::filesystem::path>& info) {
  std::string name =
      info.param.parent_path().filename().string() + "_" + info.param.stem().string();
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}

class SchedulerGolden : public testing::TestWithParam<std::filesystem::path> {
 protected:
  void SetUp() override {
    auto file = SafetensorsFile::Open(GetParam());
    ASSERT_TRUE(file.ok()) << file.status().message();
    file_ = *file;
    auto config = ParseSchedulerConfig(Meta("scheduler_config"));
    ASSERT_TRUE(config.ok()) << config.status().message();
    EXPECT_TRUE(config->unknown_keys.empty());
    config_ = *config;
    if (Has("eta")) options_.eta = std::stod(Meta("eta"));
    options_.use_clipped_model_output =
        Has("use_clipped_model_output") && Meta("use_clipped_model_output") == "true";
    start_ = std::stoll(Meta("start"));
    scheduler_ = MakeWithTimesteps();
    ASSERT_NE(scheduler_, nullptr);
    count_ = static_cast<int64_t>(scheduler_->timesteps().size());
  }

  std::unique_ptr<Scheduler> MakeWithTimesteps() const {
    auto made = MakeScheduler(config_);
    if (!made.ok()) {
      ADD_FAILURE() << made.status().message();
      return nullptr;
    }
    const Status status = (*made)->SetTimesteps(std::stoll(Meta("num_inference_steps")));
    EXPECT_TRUE(status.ok()) << status.message();
    return status.ok() ? std::move(*made) : nullptr;
  }

  bool Has(const std::string& name) const {
    return file_->tensors().contains(name) || file_->metadata().contains(name);
  }
  const TensorView& At(const std::string& name) const { return file_->tensors().at(name); }
  const std::string& Meta(const std::string& name) const { return file_->metadata().at(name); }
  std::vector<float> Values(const std::string& name) const {
    const TensorView& view = At(name);
    return {view.as<float>(), view.as<float>() + view.elements()};
  }

  // Takes `step` in place; `original` is what it thinks the noiseless sample is.
  void Step(Scheduler& scheduler, int64_t step, std::vector<float>& sample,
            std::vector<float>& original) const {
    const std::string index = "." + std::to_string(step);
    const TensorView& output = At("model_output" + index);
    original.assign(sample.size(), 0);
    StepTensors tensors;
    tensors.model_output = output.as<float>();
    tensors.sample = sample.data();
    tensors.noise = Has("noise" + index) ? At("noise" + index).as<float>() : nullptr;
    tensors.prev_sample = sample.data();
    tensors.pred_original_sample = original.data();
    tensors.rows = static_cast<uint64_t>(At("sample0").shape[0]);
    tensors.row_elements = sample.size() / tensors.rows;
    tensors.output_elements = output.elements() / tensors.rows;
    ASSERT_EQ(scheduler.NeedsNoise(step, options_), Has("noise" + index)) << step;
    const Status status = scheduler.Step(step, options_, tensors);
    ASSERT_TRUE(status.ok()) << status.message();
  }

  void ExpectNear(const std::vector<float>& got, const std::string& name) const {
    const std::vector<float> want = Values(name);
    ASSERT_EQ(got.size(), want.size()) << name;
    double largest = 0;
    for (const float value : want) largest = std::max<double>(largest, std::fabs(value));
    ASSERT_TRUE(std::isfinite(largest));
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_NEAR(got[i], want[i], kTolerance * largest) << name << "[" << i << "]";
    }
  }

  std::shared_ptr<SafetensorsFile> file_;
  SchedulerConfig config_;
  StepOptions options_;
  std::unique_ptr<Scheduler> scheduler_;
  int64_t start_ = 0;  // first step
  int64_t count_ = 0;  // of timesteps
};

TEST_P(SchedulerGolden, ScheduleIsDiffusers) {
  EXPECT_EQ(scheduler_->name(), config_.class_name);
  const TensorView& timesteps = At("timesteps");
  ASSERT_EQ(count_, static_cast<int64_t>(timesteps.elements()));
  for (int64_t i = 0; i < count_; ++i) {
    const double got = scheduler_->timesteps()[i];
    if (timesteps.dtype == DType::kInt64) {
      EXPECT_EQ(got, static_cast<double>(timesteps.as<int64_t>()[i])) << i;
    } else {
      const double want =
          timesteps.dtype == DType::kFloat64 ? timesteps.as<double>()[i] : timesteps.as<float>()[i];
      EXPECT_NEAR(got, want, 1e-5 * std::max(1.0, std::fabs(want))) << i;
    }
  }
  const double sigma = At("init_noise_sigma").as<double>()[0];
  EXPECT_NEAR(scheduler_->init_noise_sigma(), sigma, 1e-6 * sigma);
  for (int64_t i = 0; i < count_; ++i) {
    const double scale = At("input_scale").as<double>()[i];
    EXPECT_NEAR(scheduler_->InputScale(i), scale, 1e-6 * scale) << i;
  }
  if (!Has("alphas_cumprod")) return;
  // torch's square roots are off by a bit here and there; rescaling takes differences of them.
  const double tolerance = config_.rescale_betas_zero_snr ? 1e-5 : 1e-6;
  const std::vector<float> alphas = AlphasCumprod(config_);
  const std::vector<float> want = Values("alphas_cumprod");
  ASSERT_EQ(alphas.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(alphas[i], want[i], tolerance * want[i]);
}

TEST_P(SchedulerGolden, TrajectoryIsDiffusers) {
  std::vector<float> sample = Values("sample0");
  std::vector<float> original;
  for (int64_t step = start_; step < count_; ++step) {
    ASSERT_NO_FATAL_FAILURE(Step(*scheduler_, step, sample, original));
    const std::string index = "." + std::to_string(step);
    ExpectNear(sample, "prev_sample" + index);
    if (Has("pred_original_sample" + index)) ExpectNear(original, "pred_original_sample" + index);
    if (HasFatalFailure()) return;
    // Errors of one step are not the next one's.
    sample = Values("prev_sample" + index);
  }
}

TEST_P(SchedulerGolden, AddedNoiseIsDiffusers) {
  const std::vector<float> noise = Values("add_noise");
  int compared = 0;
  for (int64_t step = 0; step < count_; ++step) {
    const std::string name = "noisy." + std::to_string(step);
    if (!Has(name)) continue;
    std::vector<float> noisy = Values("sample0");
    scheduler_->AddNoise(step, noisy.data(), noise.data(), noisy.size(), noisy.data());
    ExpectNear(noisy, name);
    ++compared;
  }
  EXPECT_GE(compared, 1);
}

// Whatever step a loop is cut at: another instance goes on with its state, to the same bits.
TEST_P(SchedulerGolden, StateGoesOnInAnotherInstance) {
  std::vector<float> sample = Values("sample0"), original;
  std::vector<float> other_sample = sample, other_original;
  std::unique_ptr<Scheduler> other = MakeWithTimesteps();
  for (int64_t step = start_; step < count_; ++step) {
    const SchedulerState state = other->state();
    other = MakeWithTimesteps();
    const Status status = other->SetState(step, sample.size(), state);
    ASSERT_TRUE(status.ok()) << step << ": " << status.message();
    ASSERT_NO_FATAL_FAILURE(Step(*scheduler_, step, sample, original));
    ASSERT_NO_FATAL_FAILURE(Step(*other, step, other_sample, other_original));
    const size_t bytes = sample.size() * sizeof(float);
    ASSERT_EQ(std::memcmp(sample.data(), other_sample.data(), bytes), 0) << step;
    ASSERT_EQ(std::memcmp(original.data(), other_original.data(), bytes), 0) << step;
  }
}

// A state comes from a client: one more tensor, one value less or another counter is refused.
TEST_P(SchedulerGolden, WrongStateIsRefused) {
  std::vector<float> sample = Values("sample0"), original;
  for (int64_t step = start_; step < count_; ++step) {
    const SchedulerState state = scheduler_->state();
    const auto refused = [&](SchedulerState wrong) {
      return MakeWithTimesteps()->SetState(step, sample.size(), std::move(wrong)).code() ==
             Code::kInvalidArgument;
    };
    SchedulerState wrong = state;
    wrong.tensors.emplace_back(sample.size() + 1);
    EXPECT_TRUE(refused(wrong)) << step;
    for (size_t i = 0; i < state.tensors.size(); ++i) {
      if (state.tensors[i].empty()) continue;
      wrong = state;
      wrong.tensors[i].pop_back();
      EXPECT_TRUE(refused(wrong)) << step << ", tensor " << i;
    }
    for (const int64_t counter : {INT64_MIN, int64_t{-1}, count_ + 1, INT64_MAX}) {
      for (size_t i = 0; i < state.counters.size(); ++i) {
        wrong = state;
        wrong.counters[i] = counter;
        EXPECT_TRUE(refused(wrong)) << step << ", counter " << i << " of " << counter;
      }
    }
    ASSERT_NO_FATAL_FAILURE(Step(*scheduler_, step, sample, original));
  }
}

// A row's bits are the same alone and beside another one.
TEST_P(SchedulerGolden, RowsAreComputedByThemselves) {
  const auto rows = static_cast<size_t>(At("sample0").shape[0]);
  std::vector<float> both = Values("sample0"), original(both.size());
  const size_t elements = both.size() / rows;
  std::vector<float> alone(both.end() - static_cast<int64_t>(elements), both.end());
  std::vector<float> alone_original(elements);
  const std::unique_ptr<Scheduler> other = MakeWithTimesteps();
  for (int64_t step = start_; step < count_; ++step) {
    ASSERT_NO_FATAL_FAILURE(Step(*scheduler_, step, both, original));
    const std::string index = "." + std::to_string(step);
    const TensorView& output = At("model_output" + index);
    StepTensors tensors;
    tensors.row_elements = elements;
    tensors.output_elements = output.elements() / rows;
    tensors.rows = 1;
    tensors.model_output = output.as<float>() + (rows - 1) * tensors.output_elements;
    tensors.sample = tensors.prev_sample = alone.data();
    tensors.pred_original_sample = alone_original.data();
    if (Has("noise" + index))
      tensors.noise = At("noise" + index).as<float>() + both.size() - elements;
    ASSERT_TRUE(other->Step(step, options_, tensors).ok());
    ASSERT_EQ(
        std::memcmp(alone.data(), both.data() + both.size() - elements, elements * sizeof(float)),
        0)
        << step;
  }
}

INSTANTIATE_TEST_SUITE_P(All, SchedulerGolden, testing::ValuesIn(Goldens()), NameOf);

TEST(SchedulerGoldens, AreThere) { EXPECT_GE(Goldens().size(), 1u); }

}  // namespace
}  // namespace unetd
