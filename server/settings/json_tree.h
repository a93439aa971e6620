// Strict JSON: one document, nothing before or after it, every key once, bounded depth.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "server/base/status.h"

namespace unetd {

using JsonTree = nlohmann::ordered_json;  // keys in the order given

inline constexpr size_t kMaxJsonDepth = 32;
inline constexpr size_t kMaxJsonBytes = 16 << 20;

// INVALID_ARGUMENT with line and column, or with the JSON path for a key that is there twice, a
// number that no double holds, or too deep nesting. Byte order marks, comments and invalid UTF-8
// are refused.
StatusOr<JsonTree> ParseJsonTree(std::string_view text);

// "models[0]" and "name" -> "models[0].name"; a key that is no plain word is quoted: "options['a
// b']".
std::string JoinPath(const std::string& path, std::string_view key);
std::string JoinPath(const std::string& path, size_t index);

}  // namespace unetd
