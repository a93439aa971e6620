// The log: lines on stderr, text or JSON. Any thread may log; before InitLog it is text at level
// info.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "server/base/text.h"

namespace unetd {

enum class LogFormat { kText, kJson };

// The numbers are the backend ABI's.
enum class LogLevel : int32_t { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

void InitLog(LogFormat format, LogLevel level);
bool LogEnabled(LogLevel level);

// One line: `message` as text, line breaks and control characters escaped.
void Log(LogLevel level, std::string_view message);

// A field's value. Numbers and booleans stay such in JSON; what JSON cannot say (NaN, infinity)
// becomes null.
class FieldValue {
 public:
  FieldValue(bool value) : value_(value) {}
  template <std::signed_integral T>
  FieldValue(T value) : value_(static_cast<int64_t>(value)) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) FieldValue(T value) : value_(static_cast<uint64_t>(value)) {}
  FieldValue(double value) : value_(value) {}
  FieldValue(float value) : value_(static_cast<double>(value)) {}
  FieldValue(std::string value) : value_(std::move(value)) {}
  FieldValue(std::string_view value) : value_(std::string(value)) {}
  FieldValue(const char* value) : value_(std::string(value)) {}

  const std::variant<bool, int64_t, uint64_t, double, std::string>& value() const { return value_; }

 private:
  std::variant<bool, int64_t, uint64_t, double, std::string> value_;
};
using LogField = std::pair<std::string, FieldValue>;

// One line with fields: `message key=value other="two words"`, or {"message":...,"key":value,...}
// in JSON.
void LogFields(LogLevel level, std::string_view message, const std::vector<LogField>& fields);

// What Log and LogFields write after the time and the level: the whole line but for these two, for
// tests.
std::string LogPayload(LogFormat format, std::string_view message,
                       const std::vector<LogField>& fields);

}  // namespace unetd

#define UNETD_LOG(level, ...)                                                          \
  do {                                                                                 \
    if (::unetd::LogEnabled(level)) ::unetd::Log(level, ::unetd::Format(__VA_ARGS__)); \
  } while (false)
#define UNETD_LOG_DEBUG(...) UNETD_LOG(::unetd::LogLevel::kDebug, __VA_ARGS__)
#define UNETD_LOG_INFO(...) UNETD_LOG(::unetd::LogLevel::kInfo, __VA_ARGS__)
#define UNETD_LOG_WARNING(...) UNETD_LOG(::unetd::LogLevel::kWarning, __VA_ARGS__)
#define UNETD_LOG_ERROR(...) UNETD_LOG(::unetd::LogLevel::kError, __VA_ARGS__)
