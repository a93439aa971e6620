#include "server/settings/json_value.h"

#include <algorithm>
#include <cmath>

#include "server/base/text.h"

namespace unetd {

Status JsonValue::Error(std::string_view message) const {
  return InvalidArgument(Format("{}: {}", path_.empty() ? "the config" : path_, message));
}

Status JsonValue::Expected(std::string_view what) const {
  return Error(Format("expected {}, got {}", what, Got()));
}

std::string JsonValue::Got() const {
  if (node_->is_string()) return Quoted(node_->get_ref<const std::string&>());
  if (node_->is_object()) return node_->empty() ? "an empty object" : "an object";
  if (node_->is_array()) return node_->empty() ? "an empty list" : "a list";
  return node_->dump();  // a number, a boolean or null
}

StatusOr<std::string> JsonValue::Text() const {
  if (!node_->is_string()) return Expected("text");
  const auto& text = node_->get_ref<const std::string&>();
  if (text.empty()) return Expected("text that is not empty");
  if (text.find('\0') != std::string::npos) return Expected("text without NUL");
  return text;
}

StatusOr<int64_t> JsonValue::Integer(int64_t least, int64_t most) const {
  const std::string what = Format("an integer from {} to {}", least, most);
  if (node_->is_number_unsigned()) {
    const auto value = node_->get<uint64_t>();
    if (std::cmp_less(value, least) || std::cmp_greater(value, most)) return Expected(what);
    return static_cast<int64_t>(value);
  }
  if (node_->is_number_integer()) {
    const auto value = node_->get<int64_t>();
    if (value < least || value > most) return Expected(what);
    return value;
  }
  if (!node_->is_number_float()) return Expected(what);
  const auto value = node_->get<double>();
  // Beyond 2^53 a double names no one integer.
  if (value != std::trunc(value) || std::abs(value) > 0x1p53) return Expected(what);
  if (value < static_cast<double>(least) || value > static_cast<double>(most)) {
    return Expected(what);
  }
  return static_cast<int64_t>(value);
}

StatusOr<double> JsonValue::Number(double least, double most) const {
  const std::string what = most == std::numeric_limits<double>::infinity()
                               ? Format("a number >= {}", least)
                               : Format("a number from {} to {}", least, most);
  if (!node_->is_number()) return Expected(what);
  const auto value = node_->get<double>();
  if (!(value >= least && value <= most) || !std::isfinite(value)) return Expected(what);
  return value;
}

StatusOr<size_t> JsonValue::Choice(std::initializer_list<std::string_view> choices) const {
  std::string what = choices.size() == 1 ? "" : "one of ";
  for (const std::string_view choice : choices) {
    if (choice != *choices.begin()) what += ", ";
    what += Quoted(choice);
  }
  if (!node_->is_string()) return Expected(what);
  const auto& text = node_->get_ref<const std::string&>();
  const auto it = std::find(choices.begin(), choices.end(), text);
  if (it == choices.end()) return Expected(what);
  return static_cast<size_t>(it - choices.begin());
}

StatusOr<std::vector<JsonValue>> JsonValue::List() const {
  if (!node_->is_array() || node_->empty()) return Expected("a list that is not empty");
  std::vector<JsonValue> values;
  values.reserve(node_->size());
  for (const JsonTree& element : *node_) {
    values.emplace_back(element, JoinPath(path_, values.size()));
  }
  return values;
}

StatusOr<JsonObject> JsonObject::Open(const JsonValue& value,
                                      const std::vector<std::string_view>* keys) {
  if (!value.node().is_object()) return value.Expected("an object");
  JsonObject object(value);
  if (keys == nullptr) return object;
  for (const auto& [key, item] : value.node().items()) {
    if (std::find(keys->begin(), keys->end(), key) != keys->end()) continue;
    const std::string meant = Closest(key, *keys);
    return JsonValue(item, JoinPath(value.path(), key))
        .Error(meant.empty() ? "unknown key"
                             : Format("unknown key; did you mean {}?", Quoted(meant)));
  }
  return object;
}

std::optional<JsonValue> JsonObject::Find(std::string_view key) const {
  const auto it = value_.node().find(key);
  if (it == value_.node().end()) return std::nullopt;
  return JsonValue(*it, JoinPath(value_.path(), key));
}

StatusOr<JsonValue> JsonObject::Require(std::string_view key) const {
  auto found = Find(key);
  if (!found) return value_.Error(Format("expected the key {}, which is missing", Quoted(key)));
  return *std::move(found);
}

std::vector<std::pair<std::string, JsonValue>> JsonObject::Items() const {
  std::vector<std::pair<std::string, JsonValue>> items;
  for (const auto& [key, item] : value_.node().items()) {
    items.emplace_back(key, JsonValue(item, JoinPath(value_.path(), key)));
  }
  return items;
}

}  // namespace unetd
