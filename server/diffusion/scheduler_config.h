// scheduler_config.json as diffusers writes it, for any of the classes of scheduler_class.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/status.h"

namespace unetd {

enum class BetaSchedule { kLinear, kScaledLinear, kSquaredCosCapV2, kSigmoid, kLaplace, kExp };
enum class PredictionType { kEpsilon, kSample, kVPrediction, kFlowPrediction };
enum class TimestepSpacing { kLeading, kLinspace, kTrailing };
enum class VarianceType {
  kNone,
  kFixedSmall,
  kFixedSmallLog,
  kFixedLarge,
  kFixedLargeLog,
  kLearned,
  kLearnedRange
};
enum class InterpolationType { kLinear, kLogLinear };
enum class TimestepType { kDiscrete, kContinuous };
enum class FinalSigmasType { kZero, kSigmaMin };
enum class AlgorithmType { kDpmSolver, kDpmSolverPp, kSdeDpmSolver, kSdeDpmSolverPp };
enum class SolverType { kMidpoint, kHeun, kBh1, kBh2 };
enum class TimeShiftType { kExponential, kLinear };

// Every key of every class by its diffusers name. A key that the class does not have holds a value
// that does nothing. The defaults here are DDIMScheduler's, and of its siblings where it has none;
// where a class differs, scheduler_class.cc says so.
struct SchedulerConfig {
  std::string class_name = "DDIMScheduler";

  // Of all classes.
  int64_t num_train_timesteps = 1000;
  double beta_start = 0.0001;
  double beta_end = 0.02;
  BetaSchedule beta_schedule = BetaSchedule::kLinear;
  std::vector<double> trained_betas;  // empty: none; otherwise they replace the beta schedule
  PredictionType prediction_type = PredictionType::kEpsilon;
  TimestepSpacing timestep_spacing = TimestepSpacing::kLeading;
  int64_t steps_offset = 0;

  bool rescale_betas_zero_snr = false;
  bool set_alpha_to_one = true;
  bool clip_sample = true;
  double clip_sample_range = 1.0;
  bool thresholding = false;
  double dynamic_thresholding_ratio = 0.995;
  double sample_max_value = 1.0;

  // DDPM; DPMSolverMultistep reads learned and learned_range only.
  VarianceType variance_type = VarianceType::kFixedSmall;

  // LCM, TCD.
  int64_t original_inference_steps = 50;
  double timestep_scaling = 10.0;

  // PNDM.
  bool skip_prk_steps = false;

  // EulerDiscrete, Heun, DPMSolverMultistep, UniPCMultistep. At most one of these holds; a third,
  // use_beta_sigmas, is UNIMPLEMENTED where it is true.
  bool use_karras_sigmas = false;
  bool use_exponential_sigmas = false;
  std::optional<double> sigma_min;  // EulerDiscrete, UniPCMultistep
  std::optional<double> sigma_max;
  FinalSigmasType final_sigmas_type = FinalSigmasType::kZero;

  // EulerDiscrete.
  InterpolationType interpolation_type = InterpolationType::kLinear;
  TimestepType timestep_type = TimestepType::kDiscrete;

  // DPMSolverMultistep, UniPCMultistep.
  int64_t solver_order = 2;
  SolverType solver_type = SolverType::kMidpoint;  // UniPC: kBh1, kBh2
  bool lower_order_final = true;
  bool use_flow_sigmas = false;
  double flow_shift = 1.0;
  bool use_dynamic_shifting = false;
  TimeShiftType time_shift_type = TimeShiftType::kExponential;

  // DPMSolverMultistep.
  AlgorithmType algorithm_type = AlgorithmType::kDpmSolverPp;
  bool euler_at_final = false;
  bool use_lu_lambdas = false;
  double lambda_min_clipped = -std::numeric_limits<double>::infinity();

  // UniPCMultistep; solver_p is UNIMPLEMENTED unless it is null.
  bool predict_x0 = true;
  std::vector<int64_t> disable_corrector;
  std::optional<double> shift_terminal;

  std::vector<std::string> unknown_keys;  // ignored, as diffusers does

  bool operator==(const SchedulerConfig&) const = default;
};

inline constexpr int64_t kMaxTrainTimesteps = 100'000;
inline constexpr int64_t kMaxSolverOrder = 8;
inline constexpr size_t kMaxSchedulerJson = 4 << 20;  // bytes

// `text` is a config; `base`, unless it is empty, another one whose values stand where `text` says
// nothing: a request's {"_class_name": "DDIMScheduler"} over a model's PNDM file is a DDIM with
// that model's betas, as from_config makes it. What neither says is the class's default.
// INVALID_ARGUMENT naming key, value and what is supported; UNIMPLEMENTED for a class that is not
// built, or for a value that diffusers takes and this does not.
StatusOr<SchedulerConfig> ParseSchedulerConfig(std::string_view text, std::string_view base = "");

// The text of `path`: a JSON file, or a folder that holds scheduler_config.json. NOT_FOUND,
// INVALID_ARGUMENT.
StatusOr<std::string> ReadSchedulerFile(const std::filesystem::path& path);

// The `_class_name` of a config, "" if it has none; INVALID_ARGUMENT if the text is not a JSON
// object.
StatusOr<std::string> SchedulerClassOf(std::string_view text);

}  // namespace unetd
