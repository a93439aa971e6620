#include "server/unet/config_reader.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "server/base/text.h"

namespace unetd {
namespace {

constexpr size_t kShownElements = 8;
constexpr size_t kShownUnknownKeys = 16;

struct NamedActivation {
  std::string_view name;
  Activation activation;
};
constexpr NamedActivation kActivations[] = {
    {"silu", Activation::kSilu}, {"swish", Activation::kSilu}, {"mish", Activation::kMish},
    {"gelu", Activation::kGelu}, {"relu", Activation::kRelu},
};

Activation ActivationOf(ConfigReader& reader, std::string_view key, std::string name) {
  const std::string said = name;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  for (const NamedActivation& known : kActivations) {
    if (known.name == name) return known.activation;
  }
  reader.Fail(key,
              Format("{} is no activation of diffusers; expected silu, swish, mish, gelu or relu",
                     Quoted(said)));
  return Activation::kSilu;
}

}  // namespace

std::string ShownJson(const nlohmann::json& value) {
  if (value.is_string()) return Quoted(value.get_ref<const std::string&>());
  if (value.is_object()) return "an object";
  if (!value.is_array()) return value.dump();
  std::string text = "[";
  for (size_t i = 0; i < value.size(); ++i) {
    if (i > 0) text += ", ";
    if (i == kShownElements) {
      text += "...";
      break;
    }
    text += value[i].is_array() ? "a list" : ShownJson(value[i]);
  }
  return text + "]";
}

void ConfigReader::Fail(std::string_view key, std::string_view what) {
  if (status_.ok()) status_ = InvalidArgument(Format("{}: {}: {}", origin_, key, what));
}

const ConfigReader::Json* ConfigReader::Find(std::string_view key) {
  const auto found = object_.find(key);
  if (found == object_.end()) return nullptr;
  read_.emplace(key);
  return &*found;
}

bool ConfigReader::IsNull(std::string_view key) {
  const Json* value = Find(key);
  return value == nullptr || value->is_null();
}

bool ConfigReader::Bool(std::string_view key, bool fallback) {
  if (IsNull(key)) return fallback;
  const Json& value = *Find(key);
  if (value.is_boolean()) return value.get<bool>();
  Fail(key, "expected true or false, got " + ShownJson(value));
  return fallback;
}

uint32_t ConfigReader::CountOf(const std::string& where, const Json& value, Range range) {
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
  const int64_t number = fits ? value.get<int64_t>() : range.least - 1;
  if (number >= range.least && number <= range.most) return static_cast<uint32_t>(number);
  Fail(where, Format("expected an integer from {} to {}, got {}", range.least, range.most,
                     ShownJson(value)));
  return static_cast<uint32_t>(range.least);
}

uint32_t ConfigReader::Count(std::string_view key, uint32_t fallback, Range range) {
  const Json* value = Find(key);
  return value == nullptr ? fallback : CountOf(std::string(key), *value, range);
}

uint32_t ConfigReader::CountOrNone(std::string_view key, Range range) {
  if (IsNull(key)) return 0;
  const Json& value = *Find(key);
  if (value.is_number_integer() && value == 0) return 0;
  return CountOf(std::string(key), value, range);
}

double ConfigReader::Number(std::string_view key, double fallback) {
  const Json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_number() && std::isfinite(value->get<double>())) return value->get<double>();
  Fail(key, "expected a number, got " + ShownJson(*value));
  return fallback;
}

std::string ConfigReader::Text(std::string_view key, const std::string& fallback) {
  const Json* value = Find(key);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  Fail(key, "expected a string, got " + ShownJson(*value));
  return fallback;
}

std::string ConfigReader::TextOrNone(std::string_view key) {
  return IsNull(key) ? "" : Text(key, "");
}

Activation ConfigReader::Act(std::string_view key, std::string_view fallback) {
  return ActivationOf(*this, key, Text(key, std::string(fallback)));
}

Activation ConfigReader::ActOrNone(std::string_view key) {
  return IsNull(key) ? Activation::kNone : Act(key, "silu");
}

std::vector<uint32_t> ConfigReader::Counts(std::string_view key, uint32_t fallback, size_t levels,
                                           Range range, bool null_is_0) {
  const Json* value = Find(key);
  if (value == nullptr) return std::vector<uint32_t>(levels, fallback);
  if (!value->is_array())
    return std::vector<uint32_t>(levels, CountOf(std::string(key), *value, range));
  std::vector<uint32_t> counts(levels, static_cast<uint32_t>(range.least));
  if (value->size() != levels) {
    Fail(key,
         Format("expected an integer or a list of {} (one for each of down_block_types), got {}",
                levels, ShownJson(*value)));
    return counts;
  }
  for (size_t i = 0; i < levels; ++i) {
    const Json& entry = (*value)[i];
    counts[i] = null_is_0 && entry.is_null() ? 0 : CountOf(Format("{}[{}]", key, i), entry, range);
  }
  return counts;
}

std::vector<bool> ConfigReader::Bools(std::string_view key, bool fallback, size_t levels) {
  const Json* value = Find(key);
  if (value == nullptr || !value->is_array()) return std::vector<bool>(levels, Bool(key, fallback));
  std::vector<bool> bools(levels, fallback);
  if (value->size() != levels) {
    Fail(key,
         Format("expected true, false or a list of {} (one for each of down_block_types), got {}",
                levels, ShownJson(*value)));
    return bools;
  }
  for (size_t i = 0; i < levels; ++i) {
    const Json& entry = (*value)[i];
    if (!entry.is_boolean())
      Fail(Format("{}[{}]", key, i), "expected true or false, got " + ShownJson(entry));
    bools[i] = entry == true;
  }
  return bools;
}

std::vector<std::string> ConfigReader::Names(std::string_view key,
                                             std::vector<std::string> fallback) {
  const Json* value = Find(key);
  if (value == nullptr) return fallback;
  const auto is_text = [](const Json& entry) { return entry.is_string(); };
  if (!value->is_array() || !std::all_of(value->begin(), value->end(), is_text)) {
    Fail(key, "expected a list of strings, got " + ShownJson(*value));
    return fallback;
  }
  std::vector<std::string> names;
  for (const Json& entry : *value) names.push_back(entry.get<std::string>());
  return names;
}

std::vector<std::string> ConfigReader::Unknown() const {
  std::vector<std::string> keys;
  for (auto entry = object_.begin(); entry != object_.end() && keys.size() < kShownUnknownKeys;
       ++entry) {
    const std::string& key = entry.key();
    if (!key.starts_with('_') && read_.find(key) == read_.end()) keys.push_back(key);
  }
  return keys;
}

}  // namespace unetd
