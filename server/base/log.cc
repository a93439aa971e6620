#include "server/base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cmath>
#include <memory>
#include <mutex>

namespace unetd {
namespace {

struct Sink {
  std::shared_ptr<spdlog::logger> logger;
  std::atomic<LogFormat> format{LogFormat::kText};
  std::atomic<LogLevel> level{LogLevel::kInfo};

  Sink()
      : logger(std::make_shared<spdlog::logger>(
            "unetd", std::make_shared<spdlog::sinks::stderr_sink_mt>())) {
    logger->set_level(spdlog::level::trace);  // LogEnabled decides
    Set(LogFormat::kText);
  }

  void Set(LogFormat new_format) {
    format = new_format;
    const char* pattern = new_format == LogFormat::kJson
                              ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})"
                              : "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
    logger->set_formatter(
        std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc));
  }
};

// Never destroyed: threads may log while the process ends.
Sink& TheSink() {
  static Sink* sink = new Sink;
  return *sink;
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// Without its double quotes: a line of text stays a line.
std::string OneLine(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += Format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return IsUtf8(text) ? out : JsonQuoted(text);
}

std::string ValueText(const FieldValue& field, LogFormat format) {
  return std::visit(
      [&](const auto& value) -> std::string {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string>) {
          const bool plain =
              !value.empty() && value.find_first_not_of(
                                    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789_-.:/+@*,[]") == std::string::npos;
          return format == LogFormat::kText && plain ? value : JsonQuoted(value);
        } else if constexpr (std::is_same_v<T, double>) {
          if (format == LogFormat::kJson && !std::isfinite(value)) return "null";
          return Format("{:.9g}", value);
        } else {
          return Format("{}", value);
        }
      },
      field.value());
}

}  // namespace

void InitLog(LogFormat format, LogLevel level) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  TheSink().level = level;
  TheSink().Set(format);
}

bool LogEnabled(LogLevel level) { return level >= TheSink().level; }

std::string LogPayload(LogFormat format, std::string_view message,
                       const std::vector<LogField>& fields) {
  const bool json = format == LogFormat::kJson;
  std::string out = json ? "\"message\":" + JsonQuoted(message) : OneLine(message);
  for (const auto& [key, value] : fields) {
    out += json ? "," + JsonQuoted(key) + ":" : " " + OneLine(key) + "=";
    out += ValueText(value, format);
  }
  return out;
}

void Log(LogLevel level, std::string_view message) { LogFields(level, message, {}); }

void LogFields(LogLevel level, std::string_view message, const std::vector<LogField>& fields) {
  if (!LogEnabled(level)) return;
  Sink& sink = TheSink();
  // As a string_view argument: braces in it are not a format.
  const std::string payload = LogPayload(sink.format, message, fields);
  sink.logger->log(SpdlogLevel(level), spdlog::string_view_t(payload.data(), payload.size()));
}

}  // namespace unetd
