#include "server/serving/request_log.h"

#include "server/base/log.h"

namespace unetd {
namespace {

double Milliseconds(uint64_t ns) { return static_cast<double>(ns / 1000) / 1000; }

std::string Short(std::string_view text) {
  std::string_view cut = text.substr(0, kQuotedCharacters);
  while (cut.size() < text.size() && !cut.empty() && !IsUtf8(cut) && IsUtf8(text)) {
    cut.remove_suffix(1);
  }
  return std::string(cut) + (cut.size() < text.size() ? "..." : "");
}

}  // namespace

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kOk:
      return "OK";
    case Code::kCancelled:
      return "CANCELLED";
    case Code::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case Code::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case Code::kNotFound:
      return "NOT_FOUND";
    case Code::kResourceExhausted:
      return "RESOURCE_EXHAUSTED";
    case Code::kFailedPrecondition:
      return "FAILED_PRECONDITION";
    case Code::kUnimplemented:
      return "UNIMPLEMENTED";
    case Code::kInternal:
      return "INTERNAL";
    case Code::kUnavailable:
      return "UNAVAILABLE";
  }
  return "UNKNOWN";
}

void LogRequest(const RequestLine& line, const Status& status, const JobTimes& times) {
  const LogLevel level = status.code() == Code::kInternal ? LogLevel::kError : LogLevel::kInfo;
  if (!LogEnabled(level)) return;
  std::vector<LogField> fields;
  if (!line.id.empty()) fields.emplace_back("id", Short(line.id));
  fields.emplace_back("model", Short(line.model));
  if (!line.variant.empty()) fields.emplace_back("variant", Short(line.variant));
  if (!line.shape.empty()) fields.emplace_back("shape", line.shape);
  if (line.steps > 0) fields.emplace_back("steps", line.steps);
  fields.emplace_back("status", CodeName(status.code()));
  fields.emplace_back("queue_ms", Milliseconds(times.queue_ns));
  fields.emplace_back("run_ms", Milliseconds(times.run_ns));
  fields.emplace_back("total_ms", Milliseconds(times.total_ns));
  if (!status.ok()) fields.emplace_back("error", status.message());
  LogFields(level, line.kind, fields);
}

}  // namespace unetd
