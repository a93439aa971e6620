// Readers of the config's parts, shared by the files of this room.
#pragma once

#include <filesystem>
#include <set>
#include <string>

#include "server/base/status.h"
#include "server/settings/json_value.h"
#include "server/settings/settings.h"

namespace unetd {

// What a reader needs beside its value: what paths are relative to, and which backends the config
// lists (empty: it lists none, so any name may do).
struct ReaderContext {
  std::filesystem::path base_dir;  // absolute
  std::set<std::string> backends;
};

// Names of models, variants and backends: 1 to 64 letters, digits, '.', '_' or '-', the first a
// letter or digit. They stand in URLs, metrics and file names.
StatusOr<std::string> ReadName(const JsonValue& value);
StatusOr<std::filesystem::path> ReadPath(const JsonValue& value, const ReaderContext& context);
StatusOr<std::string> ReadBackendName(const JsonValue& value, const ReaderContext& context);

StatusOr<ServerSettings> ReadServer(const JsonValue& value);
StatusOr<ModelSettings> ReadModel(const JsonValue& value, const ReaderContext& context);
StatusOr<ProcessorRule> ReadRule(const JsonValue& value, const ReaderContext& context);

int64_t DefaultMemoryMib();  // three quarters of the machine's

}  // namespace unetd
