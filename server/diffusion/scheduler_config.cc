#include "server/diffusion/scheduler_config.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <system_error>
#include <utility>

#include "server/base/text.h"

namespace unetd {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kBuilt = "DDIMScheduler";
constexpr int kMaxDepth = 4;  // an object that holds lists of numbers

StatusOr<Json> ParseObject(std::string_view text) {
  if (text.size() > kMaxSchedulerJson) {
    return InvalidArgument(Format("scheduler config: expected at most {} bytes, got {}",
                                  kMaxSchedulerJson, text.size()));
  }
  try {
    bool deep = false;
    Json json = Json::parse(text, [&deep](int depth, Json::parse_event_t, Json&) {
      deep = deep || depth > kMaxDepth;
      return depth <= kMaxDepth;
    });
    if (deep) {
      return InvalidArgument(Format("scheduler config: nested deeper than {} levels", kMaxDepth));
    }
    if (!json.is_object()) {
      return InvalidArgument(
          Format("scheduler config: expected a JSON object, got {}", json.type_name()));
    }
    return json;
  } catch (const std::exception& error) {
    return InvalidArgument(Format("scheduler config: not JSON: {}", Quoted(error.what())));
  }
}

std::string ValueText(const Json& value) {
  return Quoted(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// Reads one key after another; the first error stays.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  void Int(const char* key, int64_t min, int64_t max, int64_t* out) {
    const Json* value = Take(key);
    if (value == nullptr) return;
    const bool fits = value->is_number_unsigned()
                          ? value->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)
                          : value->is_number_integer();
    if (!fits || value->get<int64_t>() < min || value->get<int64_t>() > max) {
      return Expected(key, Format("an integer from {} to {}", min, max), *value);
    }
    *out = value->get<int64_t>();
  }

  void Float(const char* key, double min, double max, double* out) {
    const Json* value = Take(key);
    if (value == nullptr) return;
    if (!value->is_number() || !(value->get<double>() >= min && value->get<double>() <= max)) {
      return Expected(key, Format("a number from {} to {}", min, max), *value);
    }
    *out = value->get<double>();
  }

  void Bool(const char* key, bool* out) {
    const Json* value = Take(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) return Expected(key, "true or false", *value);
    *out = value->get<bool>();
  }

  template <typename Enum>
  void Choice(const char* key, std::span<const std::pair<const char*, Enum>> choices, Enum* out) {
    const Json* value = Take(key);
    if (value == nullptr) return;
    std::string names;
    for (const auto& [name, choice] : choices) {
      if (value->is_string() && value->get_ref<const std::string&>() == name) {
        *out = choice;
        return;
      }
      names += names.empty() ? name : std::string(", ") + name;
    }
    Expected(key, "one of " + names, *value);
  }

  void Floats(const char* key, size_t max_count, std::vector<double>* out) {
    const Json* value = Take(key);
    if (value == nullptr || value->is_null()) return;
    if (!value->is_array() || value->empty() || value->size() > max_count) {
      return Expected(key, Format("null or a list of 1 to {} numbers", max_count), *value);
    }
    for (const Json& item : *value) {
      if (!item.is_number() || !std::isfinite(item.get<double>())) {
        return Expected(key, "finite numbers", item);
      }
      out->push_back(item.get<double>());
    }
  }

  // Keys that nobody took; those that begin with "_" are diffusers' notes about the file.
  std::vector<std::string> Rest() const {
    std::vector<std::string> rest;
    for (const auto& [key, value] : json_.items()) {
      if (!key.starts_with("_") && !taken_.contains(key)) rest.push_back(key);
    }
    return rest;
  }
  const Status& status() const { return status_; }

 private:
  const Json* Take(const char* key) {
    taken_.insert(key);
    const auto found = json_.find(key);
    return found == json_.end() || !status_.ok() ? nullptr : &*found;
  }
  void Expected(const char* key, const std::string& expected, const Json& got) {
    status_ = InvalidArgument(
        Format("scheduler config: {}: expected {}, got {}", key, expected, ValueText(got)));
  }

  const Json& json_;
  std::set<std::string, std::less<>> taken_;
  Status status_;
};

constexpr double kHuge = 1e30;

constexpr std::pair<const char*, BetaSchedule> kBetaSchedules[] = {
    {"linear", BetaSchedule::kLinear},
    {"scaled_linear", BetaSchedule::kScaledLinear},
    {"squaredcos_cap_v2", BetaSchedule::kSquaredCosCapV2}};
constexpr std::pair<const char*, PredictionType> kPredictionTypes[] = {
    {"epsilon", PredictionType::kEpsilon},
    {"sample", PredictionType::kSample},
    {"v_prediction", PredictionType::kVPrediction}};
constexpr std::pair<const char*, TimestepSpacing> kSpacings[] = {
    {"leading", TimestepSpacing::kLeading},
    {"linspace", TimestepSpacing::kLinspace},
    {"trailing", TimestepSpacing::kTrailing}};

StatusOr<std::string> ClassOf(const Json& json) {
  const auto found = json.find("_class_name");
  if (found == json.end()) return std::string();
  if (!found->is_string()) {
    return InvalidArgument(
        Format("scheduler config: _class_name: expected a string, got {}", ValueText(*found)));
  }
  return found->get<std::string>();
}

}  // namespace

Status CheckSchedulerClass(std::string_view class_name) {
  if (class_name == kBuilt) return OkStatus();
  return Unimplemented(
      Format("scheduler {} is not built yet; built: {}", Quoted(class_name), kBuilt));
}

StatusOr<std::string> SchedulerClassOf(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  return ClassOf(json);
}

StatusOr<SchedulerConfig> ParseSchedulerConfig(std::string_view text, std::string_view base) {
  ASSIGN_OR_RETURN(Json json, ParseObject(text));
  if (!base.empty()) {
    ASSIGN_OR_RETURN(Json merged, ParseObject(base));
    merged.update(json);
    json = std::move(merged);
  }
  SchedulerConfig config;
  ASSIGN_OR_RETURN(const std::string class_name, ClassOf(json));
  if (!class_name.empty()) config.class_name = class_name;
  RETURN_IF_ERROR(CheckSchedulerClass(config.class_name));

  Reader reader(json);
  reader.Int("num_train_timesteps", 1, kMaxTrainTimesteps, &config.num_train_timesteps);
  reader.Float("beta_start", 0, 1, &config.beta_start);
  reader.Float("beta_end", 0, 1, &config.beta_end);
  reader.Choice<BetaSchedule>("beta_schedule", kBetaSchedules, &config.beta_schedule);
  reader.Floats("trained_betas", kMaxTrainTimesteps, &config.trained_betas);
  reader.Bool("clip_sample", &config.clip_sample);
  reader.Float("clip_sample_range", 0, kHuge, &config.clip_sample_range);
  reader.Bool("set_alpha_to_one", &config.set_alpha_to_one);
  reader.Int("steps_offset", 0, kMaxTrainTimesteps, &config.steps_offset);
  reader.Choice<PredictionType>("prediction_type", kPredictionTypes, &config.prediction_type);
  reader.Bool("thresholding", &config.thresholding);
  reader.Float("dynamic_thresholding_ratio", 0, 1, &config.dynamic_thresholding_ratio);
  reader.Float("sample_max_value", 0, kHuge, &config.sample_max_value);
  reader.Choice<TimestepSpacing>("timestep_spacing", kSpacings, &config.timestep_spacing);
  reader.Bool("rescale_betas_zero_snr", &config.rescale_betas_zero_snr);
  RETURN_IF_ERROR(reader.status());
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
