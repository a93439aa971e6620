// scheduler_config.json as diffusers writes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/status.h"

namespace unetd {

enum class BetaSchedule { kLinear, kScaledLinear, kSquaredCosCapV2 };
enum class PredictionType { kEpsilon, kSample, kVPrediction };
enum class TimestepSpacing { kLeading, kLinspace, kTrailing };

// The keys of DDIMScheduler with its defaults.
struct SchedulerConfig {
  std::string class_name = "DDIMScheduler";
  int64_t num_train_timesteps = 1000;
  double beta_start = 0.0001;
  double beta_end = 0.02;
  BetaSchedule beta_schedule = BetaSchedule::kLinear;
  std::vector<double> trained_betas;  // empty: none; otherwise they replace the beta schedule
  bool clip_sample = true;
  double clip_sample_range = 1.0;
  bool set_alpha_to_one = true;
  int64_t steps_offset = 0;
  PredictionType prediction_type = PredictionType::kEpsilon;
  bool thresholding = false;
  double dynamic_thresholding_ratio = 0.995;
  double sample_max_value = 1.0;
  TimestepSpacing timestep_spacing = TimestepSpacing::kLeading;
  bool rescale_betas_zero_snr = false;

  std::vector<std::string> unknown_keys;  // ignored, as diffusers does
};

inline constexpr int64_t kMaxTrainTimesteps = 100'000;
inline constexpr size_t kMaxSchedulerJson = 4 << 20;  // bytes

// `text` is a config; `base`, unless it is empty, another one whose values stand where `text` says
// nothing: a request's
// {"_class_name": "DDIMScheduler"} over a model's PNDM file is a DDIM with that model's betas, as
// from_config makes it. INVALID_ARGUMENT naming key, value and what is supported; UNIMPLEMENTED if
// the class is not built yet.
StatusOr<SchedulerConfig> ParseSchedulerConfig(std::string_view text, std::string_view base = "");

// The text of `path`: a JSON file, or a folder that holds scheduler_config.json. NOT_FOUND,
// INVALID_ARGUMENT.
StatusOr<std::string> ReadSchedulerFile(const std::filesystem::path& path);

// The `_class_name` of a config, "" if it has none; INVALID_ARGUMENT if the text is not a JSON
// object.
StatusOr<std::string> SchedulerClassOf(std::string_view text);
// UNIMPLEMENTED "scheduler 'X' is not built yet; built: ...".
Status CheckSchedulerClass(std::string_view class_name);

}  // namespace unetd
