// From the config's JSON text to Settings.
#pragma once

#include <filesystem>
#include <string_view>

#include "server/base/status.h"
#include "server/settings/settings.h"

namespace unetd {

// `base_dir`: what relative paths are relative to. Strict: INVALID_ARGUMENT names the JSON path,
// what was expected and what came ("models[0].variants[1].weight: expected a number >= 0, got -1"),
// or line and column where the text is not JSON. Files that the config names are not looked at.
StatusOr<Settings> ParseSettings(std::string_view json_text, const std::filesystem::path& base_dir);

// Reads `file` (at most 16 MiB); relative paths are relative to its folder. Messages begin with the
// file's name.
StatusOr<Settings> LoadSettings(const std::filesystem::path& file);

// What is served with no config: the digits model, whose folder is `digits`, on the default
// backend.
Settings DefaultSettings(const std::filesystem::path& digits);

}  // namespace unetd
