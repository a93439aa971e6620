// What the config file says, as plain structs. What it leaves unsaid has the defaults below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "server/base/log.h"
#include "server/tensor/dtype.h"

namespace unetd {

// The backend of a model that names none. The only place in server/ that names one.
inline constexpr char kDefaultBackend[] = "cpu";

struct LimitSettings {
  int64_t message_mib = 256;  // largest message of a client
  int64_t queue = 64;         // requests that may wait
  // For weights, arenas and requests; unsaid: three quarters of the machine's.
  int64_t memory_mib = 0;
  double drain_s = 30;  // seconds that running work may take after SIGTERM
};

struct ServerSettings {
  std::string address = "127.0.0.1:8001";       // gRPC; port 0: any free one
  std::string http_address = "127.0.0.1:8002";  // metrics and health
  LogFormat log_format = LogFormat::kText;
  LogLevel log_level = LogLevel::kInfo;
  LimitSettings limits;
};

struct BackendSettings {
  std::string name;
  std::filesystem::path library;  // absolute; empty: <name>.so in the plugin folder
  // In the order given. A string's text, or the JSON text of any other value; no NUL in either.
  std::vector<std::pair<std::string, std::string>> options;
  std::string json_path;  // "backends[0]"
};

// A processor's option as JSON has it: null, true, 1, 0.5 or "text".
using OptionValue = std::variant<std::nullptr_t, bool, int64_t, double, std::string>;
std::string OptionText(const OptionValue& value);  // as JSON

struct ProcessorRule {
  std::string layers;             // pattern for GlobMatch
  std::string processor;          // not checked here
  std::string backend;            // empty: the first that offers the algorithm
  std::string fallback;           // empty: none; or "sdpa"
  std::filesystem::path weights;  // absolute; empty: none
  // All other keys, in the order given, not checked here: the processor table knows which a
  // processor takes.
  std::vector<std::pair<std::string, OptionValue>> options;
  std::string json_path;  // "models[0].variants[1].processors[0]"

  const OptionValue* FindOption(std::string_view name) const;  // null if unsaid
};

struct VariantSettings {
  std::string name = "default";
  double weight = 1;  // >= 0; those of a model have a positive sum
  std::vector<ProcessorRule> processors;
  std::string json_path;  // "models[0].variants[1]"
};

// How 3x3 convolutions are computed: Winograd's way where it pays, nowhere, or wherever it can be.
enum class ConvAlgorithm : uint32_t { kAuto = 0, kDirect = 1, kWinograd = 2 };
const char* ConvName(ConvAlgorithm algorithm);  // as the config has it

// How requests share forwards of the UNet.
struct BatchingSettings {
  int64_t max_batch = 0;  // rows of a shared forward; 1: never share; 0, unsaid: the model's
  int64_t max_queue_delay_microseconds = 0;  // the longest a request waits for company
};

struct ModelSettings {
  std::string name;
  std::filesystem::path path;       // absolute: a diffusers folder
  std::filesystem::path scheduler;  // absolute: file or folder; empty: look beside `path`
  std::string backend = kDefaultBackend;
  DType dtype = DType::kFloat32;  // or kFloat16, kBFloat16
  ConvAlgorithm conv = ConvAlgorithm::kAuto;
  int64_t max_batch = 8;  // rows of one request
  BatchingSettings dynamic_batching;
  // Height and width of samples; empty: the model's sample_size.
  std::vector<std::pair<int64_t, int64_t>> shapes;
  std::vector<VariantSettings> variants;  // at least one
  std::string json_path;                  // "models[0]"

  // Rows of a forward that requests share, together.
  int64_t forward_rows() const {
    return dynamic_batching.max_batch != 0 ? dynamic_batching.max_batch : max_batch;
  }
};

struct Settings {
  ServerSettings server;
  std::vector<BackendSettings> backends;  // empty: every backend of the plugin folder that opens
  std::vector<ModelSettings> models;      // at least one
};

}  // namespace unetd
