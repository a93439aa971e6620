#include "server/diffusion/scheduler_config.h"

#include <cmath>
#include <fstream>
#include <system_error>
#include <utility>

#include "server/base/text.h"
#include "server/diffusion/scheduler_class.h"
#include "server/diffusion/scheduler_config_reader.h"

namespace unetd {
namespace {

using Json = nlohmann::json;

constexpr double kHuge = 1e30;  // its float is finite

constexpr Choice<BetaSchedule> kBetaSchedules[] = {
    {"linear", BetaSchedule::kLinear},
    {"scaled_linear", BetaSchedule::kScaledLinear},
    {"squaredcos_cap_v2", BetaSchedule::kSquaredCosCapV2},
    {"sigmoid", BetaSchedule::kSigmoid},
    {"laplace", BetaSchedule::kLaplace},
    {"exp", BetaSchedule::kExp}};
constexpr Choice<PredictionType> kPredictionTypes[] = {
    {"epsilon", PredictionType::kEpsilon},
    {"sample", PredictionType::kSample},
    {"v_prediction", PredictionType::kVPrediction},
    {"flow_prediction", PredictionType::kFlowPrediction}};
constexpr Choice<TimestepSpacing> kSpacings[] = {{"leading", TimestepSpacing::kLeading},
                                                 {"linspace", TimestepSpacing::kLinspace},
                                                 {"trailing", TimestepSpacing::kTrailing}};
constexpr Choice<VarianceType> kVarianceTypes[] = {
    {"fixed_small", VarianceType::kFixedSmall}, {"fixed_small_log", VarianceType::kFixedSmallLog},
    {"fixed_large", VarianceType::kFixedLarge}, {"fixed_large_log", VarianceType::kFixedLargeLog},
    {"learned", VarianceType::kLearned},        {"learned_range", VarianceType::kLearnedRange}};
constexpr Choice<InterpolationType> kInterpolations[] = {
    {"linear", InterpolationType::kLinear}, {"log_linear", InterpolationType::kLogLinear}};
constexpr Choice<TimestepType> kTimestepTypes[] = {{"discrete", TimestepType::kDiscrete},
                                                   {"continuous", TimestepType::kContinuous}};
constexpr Choice<FinalSigmasType> kFinalSigmas[] = {{"zero", FinalSigmasType::kZero},
                                                    {"sigma_min", FinalSigmasType::kSigmaMin}};
constexpr Choice<TimeShiftType> kTimeShifts[] = {{"exponential", TimeShiftType::kExponential},
                                                 {"linear", TimeShiftType::kLinear}};
// The names of other solvers' files are taken as diffusers takes them.
constexpr Choice<AlgorithmType> kAlgorithms[] = {
    {"dpmsolver", AlgorithmType::kDpmSolver},
    {"dpmsolver++", AlgorithmType::kDpmSolverPp},
    {"sde-dpmsolver", AlgorithmType::kSdeDpmSolver},
    {"sde-dpmsolver++", AlgorithmType::kSdeDpmSolverPp},
    {"deis", AlgorithmType::kDpmSolverPp}};
constexpr Choice<SolverType> kDpmSolverTypes[] = {{"midpoint", SolverType::kMidpoint},
                                                  {"heun", SolverType::kHeun},
                                                  {"logrho", SolverType::kMidpoint},
                                                  {"bh1", SolverType::kMidpoint},
                                                  {"bh2", SolverType::kMidpoint}};
constexpr Choice<SolverType> kUniPcSolverTypes[] = {{"bh1", SolverType::kBh1},
                                                    {"bh2", SolverType::kBh2},
                                                    {"midpoint", SolverType::kBh2},
                                                    {"heun", SolverType::kBh2},
                                                    {"logrho", SolverType::kBh2}};

StatusOr<std::string> ClassOf(const Json& json) {
  const auto found = json.find("_class_name");
  if (found == json.end()) return std::string();
  if (!found->is_string()) {
    return InvalidArgument(Format("scheduler config: _class_name: expected a string, got {}",
                                  SchedulerValueText(*found)));
  }
  return found->get<std::string>();
}

// `_use_default_values` names keys that hold a class's default, not the author's choice: another
// class has its own defaults there.
StatusOr<Json> ParseChosen(std::string_view text) {
  ASSIGN_OR_RETURN(Json json, ParseSchedulerJson(text));
  const auto defaults = json.find("_use_default_values");
  if (defaults == json.end() || !defaults->is_array()) return json;
  const Json keys = *defaults;
  for (const Json& key : keys) {
    if (key.is_string()) json.erase(key.get_ref<const std::string&>());
  }
  return json;
}

void ReadCommon(const SchedulerClass& row, SchedulerConfigReader& reader, SchedulerConfig& config) {
  reader.Int("num_train_timesteps", 1, kMaxTrainTimesteps, &config.num_train_timesteps);
  reader.Float("beta_start", 0, 1, &config.beta_start);
  reader.Float("beta_end", 0, 1, &config.beta_end);
  reader.OneOf("beta_schedule", kBetaSchedules, &config.beta_schedule, row.beta_schedules);
  reader.Floats("trained_betas", 0, 1, kMaxTrainTimesteps, &config.trained_betas);
  reader.OneOf("prediction_type", kPredictionTypes, &config.prediction_type, row.prediction_types);
  reader.OneOf("timestep_spacing", kSpacings, &config.timestep_spacing);
  reader.Int("steps_offset", 0, kMaxTrainTimesteps, &config.steps_offset);
  if (row.has(kZeroSnrKey)) reader.Bool("rescale_betas_zero_snr", &config.rescale_betas_zero_snr);
  if (row.has(kAlphaToOneKey)) reader.Bool("set_alpha_to_one", &config.set_alpha_to_one);
  if (row.has(kClipKeys)) {
    reader.Bool("clip_sample", &config.clip_sample);
    reader.Float("clip_sample_range", 0, kHuge, &config.clip_sample_range);
  }
  if (row.has(kThresholdKeys)) {
    reader.Bool("thresholding", &config.thresholding);
    reader.Float("dynamic_thresholding_ratio", 0, 1, &config.dynamic_thresholding_ratio);
    reader.Float("sample_max_value", 0, kHuge, &config.sample_max_value);
  }
  if (row.has(kVarianceKey)) {
    if (reader.IsNull("variance_type")) {
      reader.Skip("variance_type");
      config.variance_type = VarianceType::kNone;
    } else {
      reader.OneOf("variance_type", kVarianceTypes, &config.variance_type);
    }
  }
  if (row.has(kDistilledKeys)) {
    reader.Int("original_inference_steps", 1, kMaxTrainTimesteps, &config.original_inference_steps);
    reader.Float("timestep_scaling", 0, kHuge, &config.timestep_scaling);
  }
  if (row.has(kRungeKuttaKey)) reader.Bool("skip_prk_steps", &config.skip_prk_steps);
}

void ReadSigmas(const SchedulerClass& row, SchedulerConfigReader& reader, SchedulerConfig& config) {
  if (row.has(kSigmaShapeKeys)) {
    reader.BoolOrNull("use_karras_sigmas", &config.use_karras_sigmas);
    reader.BoolOrNull("use_exponential_sigmas", &config.use_exponential_sigmas);
    reader.Unsupported("use_beta_sigmas",
                       "supported: use_karras_sigmas, use_exponential_sigmas or neither");
  }
  if (row.has(kSigmaRangeKeys)) {
    reader.Optional("sigma_min", 0, kHuge, &config.sigma_min);
    reader.Optional("sigma_max", 0, kHuge, &config.sigma_max);
  }
  if (row.has(kFinalSigmasKey)) {
    reader.OneOf("final_sigmas_type", kFinalSigmas, &config.final_sigmas_type);
  }
  if (row.has(kInterpolationKeys)) {
    reader.OneOf("interpolation_type", kInterpolations, &config.interpolation_type);
    reader.OneOf("timestep_type", kTimestepTypes, &config.timestep_type);
  }
}

// Python's -Infinity, which stands for no limit, comes as a string.
void ReadLambdaMin(const Json& json, SchedulerConfigReader& reader, SchedulerConfig& config) {
  constexpr char kKey[] = "lambda_min_clipped";
  const auto found = json.find(kKey);
  if (found != json.end() && *found == "-Infinity") return reader.Skip(kKey);
  reader.Float(kKey, -kHuge, kHuge, &config.lambda_min_clipped);
}

void ReadSolver(const SchedulerClass& row, const Json& json, SchedulerConfigReader& reader,
                SchedulerConfig& config) {
  if (!row.has(kSolverKeys)) return;
  reader.Int("solver_order", 1, kMaxSolverOrder, &config.solver_order);
  reader.Bool("lower_order_final", &config.lower_order_final);
  reader.Bool("use_flow_sigmas", &config.use_flow_sigmas);
  reader.Float("flow_shift", 0, kHuge, &config.flow_shift);
  reader.Bool("use_dynamic_shifting", &config.use_dynamic_shifting);
  reader.OneOf("time_shift_type", kTimeShifts, &config.time_shift_type);
  if (row.has(kDpmSolverKeys)) {
    reader.OneOf("solver_type", kDpmSolverTypes, &config.solver_type);
    reader.OneOf("algorithm_type", kAlgorithms, &config.algorithm_type);
    reader.Bool("euler_at_final", &config.euler_at_final);
    reader.Bool("use_lu_lambdas", &config.use_lu_lambdas);
    ReadLambdaMin(json, reader, config);
  }
  if (row.has(kUniPcKeys)) {
    reader.OneOf("solver_type", kUniPcSolverTypes, &config.solver_type);
    reader.Bool("predict_x0", &config.predict_x0);
    reader.Indices("disable_corrector", kMaxTrainTimesteps, &config.disable_corrector);
    reader.Unsupported("solver_p", "supported: null");
    reader.Optional("shift_terminal", 0, 1, &config.shift_terminal);
  }
}

}  // namespace

StatusOr<std::string> SchedulerClassOf(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseSchedulerJson(text));
  return ClassOf(json);
}

StatusOr<SchedulerConfig> ParseSchedulerConfig(std::string_view text, std::string_view base) {
  ASSIGN_OR_RETURN(Json json, ParseChosen(text));
  if (!base.empty()) {
    ASSIGN_OR_RETURN(Json merged, ParseChosen(base));
    merged.update(json);
    json = std::move(merged);
  }
  ASSIGN_OR_RETURN(const std::string class_name, ClassOf(json));
  ASSIGN_OR_RETURN(const SchedulerClass* row,
                   FindSchedulerClass(class_name.empty() ? "DDIMScheduler" : class_name));
  SchedulerConfig config = row->Defaults();
  SchedulerConfigReader reader(json);
  ReadCommon(*row, reader, config);
  ReadSigmas(*row, reader, config);
  ReadSolver(*row, json, reader, config);
  RETURN_IF_ERROR(reader.status());
  if (config.use_karras_sigmas && config.use_exponential_sigmas) {
    return InvalidArgument(
        "scheduler config: use_karras_sigmas, use_exponential_sigmas: expected at most one to be "
        "true, got both");
  }
  config.unknown_keys = reader.Rest();
  return config;
}

StatusOr<std::string> ReadSchedulerFile(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path file = path;
  if (std::filesystem::is_directory(file, error)) file /= "scheduler_config.json";
  const uintmax_t size = std::filesystem::file_size(file, error);
  if (error) return NotFound(Format("{}: {}", file.string(), error.message()));
  if (size > kMaxSchedulerJson) {
    return InvalidArgument(
        Format("{}: expected at most {} bytes, got {}", file.string(), kMaxSchedulerJson, size));
  }
  std::ifstream stream(file, std::ios::binary);
  std::string text(size, '\0');
  if (!stream.read(text.data(), static_cast<std::streamsize>(size))) {
    return NotFound(Format("{}: cannot be read", file.string()));
  }
  return text;
}

}  // namespace unetd
