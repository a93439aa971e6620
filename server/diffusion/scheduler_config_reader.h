// Reads the keys of a scheduler config one after another; the first error stays.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/base/status.h"

namespace unetd {

// A name that a config may say, and what it means.
template <typename Enum>
using Choice = std::pair<const char*, Enum>;

class SchedulerConfigReader {
 public:
  explicit SchedulerConfigReader(const nlohmann::json& json) : json_(json) {}

  // Each leaves *out as it is where the config has no such key.
  void Int(const char* key, int64_t min, int64_t max, int64_t* out);
  void Float(const char* key, double min, double max, double* out);
  void Optional(const char* key, double min, double max, std::optional<double>* out);
  void Bool(const char* key, bool* out);
  void BoolOrNull(const char* key, bool* out);  // null is false
  // null or a list of 1 to `max_count`.
  void Floats(const char* key, double min, double max, size_t max_count, std::vector<double>* out);
  // A list of up to `max_count`; the negative ones are left out: they count from no end.
  void Indices(const char* key, size_t max_count, std::vector<int64_t>* out);
  // Those of `choices` whose bit is in `allowed`.
  template <typename Enum, typename Choices>
  void OneOf(const char* key, const Choices& choices, Enum* out, uint32_t allowed = ~0u);
  // UNIMPLEMENTED with `advice` unless the value is null or false.
  void Unsupported(const char* key, std::string_view advice);
  bool IsNull(const char* key) const;
  void Skip(const char* key) { taken_.insert(key); }

  // Keys that nobody took; those that begin with "_" are diffusers' notes about the file.
  std::vector<std::string> Rest() const;
  const Status& status() const { return status_; }

 private:
  const nlohmann::json* Take(const char* key);
  void Expected(const char* key, const std::string& expected, const nlohmann::json& got);

  const nlohmann::json& json_;
  std::set<std::string, std::less<>> taken_;
  Status status_;
};

// A config's text as a JSON object. Python's Infinity, -Infinity and NaN, which JSON does not have,
// become strings. INVALID_ARGUMENT.
StatusOr<nlohmann::json> ParseSchedulerJson(std::string_view text);

// The value for a message.
std::string SchedulerValueText(const nlohmann::json& value);

template <typename Enum, typename Choices>
void SchedulerConfigReader::OneOf(const char* key, const Choices& choices, Enum* out,
                                  uint32_t allowed) {
  const nlohmann::json* value = Take(key);
  if (value == nullptr) return;
  std::string names;
  for (const auto& [name, choice] : choices) {
    if ((allowed >> static_cast<uint32_t>(choice) & 1) == 0) continue;
    if (value->is_string() && value->get_ref<const std::string&>() == name) {
      *out = choice;
      return;
    }
    names += names.empty() ? name : std::string(", ") + name;
  }
  Expected(key, "one of " + names, *value);
}

}  // namespace unetd
