#include "server/diffusion/scheduler_config_reader.h"

#include <exception>

#include "server/base/text.h"
#include "server/diffusion/scheduler_config.h"

namespace unetd {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 4;  // an object that holds lists of numbers

// Python writes lambda_min_clipped's default as -Infinity.
std::string WithoutPythonNumbers(std::string_view text) {
  constexpr std::string_view kWords[] = {"-Infinity", "Infinity", "NaN"};
  std::string json;
  json.reserve(text.size() + 16);
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    std::string_view word;
    for (const std::string_view candidate : kWords) {
      if (!in_string && word.empty() && text.substr(i).starts_with(candidate)) word = candidate;
    }
    if (!word.empty()) {
      json.append("\"").append(word).append("\"");
      i += word.size();
      continue;
    }
    if (text[i] == '"') in_string = !in_string;
    if (in_string && text[i] == '\\' && i + 1 < text.size()) json += text[i++];
    json += text[i++];
  }
  return json;
}

bool IsInt(const Json& value, int64_t min, int64_t max) {
  const bool fits = value.is_number_unsigned()
                        ? value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)
                        : value.is_number_integer();
  return fits && value.get<int64_t>() >= min && value.get<int64_t>() <= max;
}

bool IsNumber(const Json& value, double min, double max) {
  return value.is_number() && value.get<double>() >= min && value.get<double>() <= max;
}

}  // namespace

std::string SchedulerValueText(const Json& value) {
  return Quoted(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

StatusOr<Json> ParseSchedulerJson(std::string_view text) {
  if (text.size() > kMaxSchedulerJson) {
    return InvalidArgument(Format("scheduler config: expected at most {} bytes, got {}",
                                  kMaxSchedulerJson, text.size()));
  }
  try {
    bool deep = false;
    Json json =
        Json::parse(WithoutPythonNumbers(text), [&deep](int depth, Json::parse_event_t, Json&) {
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

void SchedulerConfigReader::Int(const char* key, int64_t min, int64_t max, int64_t* out) {
  const Json* value = Take(key);
  if (value == nullptr) return;
  if (!IsInt(*value, min, max)) {
    return Expected(key, Format("an integer from {} to {}", min, max), *value);
  }
  *out = value->get<int64_t>();
}

void SchedulerConfigReader::Float(const char* key, double min, double max, double* out) {
  const Json* value = Take(key);
  if (value == nullptr) return;
  if (!IsNumber(*value, min, max)) {
    return Expected(key, Format("a number from {} to {}", min, max), *value);
  }
  *out = value->get<double>();
}

void SchedulerConfigReader::Optional(const char* key, double min, double max,
                                     std::optional<double>* out) {
  const Json* value = Take(key);
  if (value == nullptr || value->is_null()) return;
  if (!IsNumber(*value, min, max)) {
    return Expected(key, Format("null or a number from {} to {}", min, max), *value);
  }
  *out = value->get<double>();
}

void SchedulerConfigReader::Bool(const char* key, bool* out) {
  const Json* value = Take(key);
  if (value == nullptr) return;
  if (!value->is_boolean()) return Expected(key, "true or false", *value);
  *out = value->get<bool>();
}

void SchedulerConfigReader::BoolOrNull(const char* key, bool* out) {
  if (IsNull(key)) {
    Skip(key);
    *out = false;
  } else {
    Bool(key, out);
  }
}

void SchedulerConfigReader::Floats(const char* key, double min, double max, size_t max_count,
                                   std::vector<double>* out) {
  const Json* value = Take(key);
  if (value == nullptr || value->is_null()) return;
  if (!value->is_array() || value->empty() || value->size() > max_count) {
    return Expected(key, Format("null or a list of 1 to {} numbers", max_count), *value);
  }
  for (const Json& item : *value) {
    if (!IsNumber(item, min, max)) {
      return Expected(key, Format("numbers from {} to {}", min, max), item);
    }
    out->push_back(item.get<double>());
  }
}

void SchedulerConfigReader::Indices(const char* key, size_t max_count, std::vector<int64_t>* out) {
  const Json* value = Take(key);
  if (value == nullptr) return;
  if (!value->is_array() || value->size() > max_count) {
    return Expected(key, Format("a list of up to {} integers", max_count), *value);
  }
  for (const Json& item : *value) {
    if (!IsInt(item, INT64_MIN, INT64_MAX)) return Expected(key, "integers", item);
    if (item.get<int64_t>() >= 0) out->push_back(item.get<int64_t>());
  }
}

void SchedulerConfigReader::Unsupported(const char* key, std::string_view advice) {
  const Json* value = Take(key);
  if (value == nullptr || value->is_null() || *value == false) return;
  status_ = Unimplemented(Format("scheduler config: {}: {} is not supported; {}", key,
                                 SchedulerValueText(*value), advice));
}

bool SchedulerConfigReader::IsNull(const char* key) const {
  const auto found = json_.find(key);
  return found != json_.end() && found->is_null();
}

std::vector<std::string> SchedulerConfigReader::Rest() const {
  std::vector<std::string> rest;
  for (const auto& [key, value] : json_.items()) {
    if (!key.starts_with("_") && !taken_.contains(key)) rest.push_back(key);
  }
  return rest;
}

const Json* SchedulerConfigReader::Take(const char* key) {
  taken_.insert(key);
  const auto found = json_.find(key);
  return found == json_.end() || !status_.ok() ? nullptr : &*found;
}

void SchedulerConfigReader::Expected(const char* key, const std::string& expected,
                                     const Json& got) {
  status_ = InvalidArgument(
      Format("scheduler config: {}: expected {}, got {}", key, expected, SchedulerValueText(got)));
}

}  // namespace unetd
