#include "client/unetctl/failure.h"

#include <array>

#include "server/base/text.h"

namespace unetd::unetctl {

Outcome LocalFailure(const Status& status) {
  if (status.ok()) return std::nullopt;
  return Failure{kExitLocal, status.message()};
}

Outcome UsageFailure(std::string text) { return Failure{kExitUsage, std::move(text)}; }

Outcome RpcFailure(const grpc::Status& status, std::string_view address) {
  if (status.ok()) return std::nullopt;
  std::string text(CodeName(status.error_code()));
  if (!status.error_message().empty()) text += ": " + Printable(status.error_message());
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return Failure{kExitServer, text};
  return Failure{kExitUnreachable, Format("no answer from {}: {}", Printable(address), text)};
}

std::string_view CodeName(grpc::StatusCode code) {
  static constexpr std::array<std::string_view, 17> kNames = {"OK",
                                                              "CANCELLED",
                                                              "UNKNOWN",
                                                              "INVALID_ARGUMENT",
                                                              "DEADLINE_EXCEEDED",
                                                              "NOT_FOUND",
                                                              "ALREADY_EXISTS",
                                                              "PERMISSION_DENIED",
                                                              "RESOURCE_EXHAUSTED",
                                                              "FAILED_PRECONDITION",
                                                              "ABORTED",
                                                              "OUT_OF_RANGE",
                                                              "UNIMPLEMENTED",
                                                              "INTERNAL",
                                                              "UNAVAILABLE",
                                                              "DATA_LOSS",
                                                              "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < kNames.size() ? kNames[index] : "UNKNOWN";
}

std::string Printable(std::string_view text) {
  const bool utf8 = IsUtf8(text);
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    const bool c1 = byte == 0xC2 && next >= 0x80 && next < 0xA0;  // U+0080..U+009F
    if (byte < 0x20 || byte == 0x7F || (byte >= 0x80 && !utf8)) {
      out += Format("\\x{:02x}", byte);
    } else if (c1) {
      out += Format("\\x{:02x}", next);
      ++i;
    } else {
      out += static_cast<char>(byte);
    }
  }
  return out;
}

}  // namespace unetd::unetctl
