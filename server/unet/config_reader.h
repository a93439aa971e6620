// Typed reading of config.json: checks types and ranges, keeps the first error, knows which keys
// were read.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/status.h"
#include "server/plan/plan_builder.h"

namespace unetd {

struct Range {
  int64_t least = 1;
  int64_t most = 1 << 16;
};

// After an error every call answers its fallback, or the least legal value.
class ConfigReader {
 public:
  using Json = nlohmann::json;

  // `object` must outlive the reader.
  ConfigReader(const Json& object, std::string origin)
      : object_(object), origin_(std::move(origin)) {}

  const Status& status() const { return status_; }
  // "<origin>: <key>: <what>"
  void Fail(std::string_view key, std::string_view what);

  // Null if absent; JSON's null is a value. The key counts as read from now on.
  const Json* Find(std::string_view key);
  bool IsNull(std::string_view key);  // absent or null

  bool Bool(std::string_view key, bool fallback);  // null: fallback
  uint32_t Count(std::string_view key, uint32_t fallback, Range range);
  uint32_t CountOrNone(std::string_view key, Range range);  // 0 for null, 0 or absent
  double Number(std::string_view key, double fallback);     // finite
  std::string Text(std::string_view key, const std::string& fallback);
  std::string TextOrNone(std::string_view key);  // "" for null or absent
  Activation Act(std::string_view key, std::string_view fallback);
  Activation ActOrNone(std::string_view key);

  // One entry a level, from a list of that length or from one value for all.
  std::vector<uint32_t> Counts(std::string_view key, uint32_t fallback, size_t levels, Range range,
                               bool null_is_0 = false);
  std::vector<bool> Bools(std::string_view key, bool fallback, size_t levels);
  std::vector<std::string> Names(std::string_view key, std::vector<std::string> fallback);

  uint32_t CountOf(const std::string& where, const Json& value, Range range);

  // Keys that nobody read, but for those that begin with '_'; at most 16.
  std::vector<std::string> Unknown() const;

 private:
  const Json& object_;
  std::string origin_;
  Status status_;
  std::set<std::string, std::less<>> read_;
};

// A value as a message may show it; lists and objects by what they are.
std::string ShownJson(const nlohmann::json& value);

}  // namespace unetd
