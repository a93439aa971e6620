#include <algorithm>
#include <array>
#include <charconv>

#include "server/base/cpu.h"
#include "server/settings/readers.h"

namespace unetd {
namespace {

constexpr char kLetters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
constexpr char kIpv6[] = "0123456789abcdefABCDEF:.";

// "host:port", "[ipv6]:port"; the port is a number from 0 (any free one) to 65535.
bool IsAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos || colon == 0) return false;
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || host.find_first_not_of(bracketed ? kIpv6 : kLetters) != host.npos) {
    return false;
  }
  if (port.empty() || port.size() > 5 || (port[0] == '0' && port.size() > 1)) return false;
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  return error == std::errc() && end == port.data() + port.size() && number <= 65535;
}

StatusOr<std::string> ReadAddress(const JsonValue& value) {
  ASSIGN_OR_RETURN(std::string text, value.Text());
  if (IsAddress(text)) return text;
  return value.Expected("host:port with a port from 0 to 65535");
}

Status ReadLimits(const JsonValue& value, LimitSettings& limits) {
  static const std::vector<std::string_view> kKeys = {"message_mib", "queue", "memory_mib",
                                                      "drain_s"};
  ASSIGN_OR_RETURN(const JsonObject object, JsonObject::Open(value, &kKeys));
  if (const auto item = object.Find("message_mib")) {
    // gRPC counts a message's bytes in a signed 32-bit number.
    ASSIGN_OR_RETURN(limits.message_mib, item->Integer(1, 2047));
  }
  if (const auto item = object.Find("queue")) {
    ASSIGN_OR_RETURN(limits.queue, item->Integer(1, 1'000'000));
  }
  if (const auto item = object.Find("memory_mib")) {
    ASSIGN_OR_RETURN(limits.memory_mib, item->Integer(1, int64_t{1} << 30));
  }
  if (const auto item = object.Find("drain_s")) {
    ASSIGN_OR_RETURN(limits.drain_s, item->Number(0, 86400));
  }
  return OkStatus();
}

}  // namespace

int64_t DefaultMemoryMib() {
  const uint64_t mib = MachineMemoryBytes() / 4 * 3 >> 20;
  return std::max<int64_t>(1, static_cast<int64_t>(mib));
}

StatusOr<ServerSettings> ReadServer(const JsonValue& value) {
  static const std::vector<std::string_view> kKeys = {"address", "http_address", "log_format",
                                                      "log_level", "limits"};
  ASSIGN_OR_RETURN(const JsonObject object, JsonObject::Open(value, &kKeys));
  ServerSettings server;
  if (const auto item = object.Find("address")) {
    ASSIGN_OR_RETURN(server.address, ReadAddress(*item));
  }
  if (const auto item = object.Find("http_address")) {
    ASSIGN_OR_RETURN(server.http_address, ReadAddress(*item));
  }
  if (server.address == server.http_address && !server.address.ends_with(":0")) {
    return JsonValue(value.node(), JoinPath(value.path(), "http_address"))
        .Error("expected another address than server.address, got the same");
  }
  if (const auto item = object.Find("log_format")) {
    ASSIGN_OR_RETURN(const size_t choice, item->Choice({"text", "json"}));
    server.log_format = choice == 0 ? LogFormat::kText : LogFormat::kJson;
  }
  if (const auto item = object.Find("log_level")) {
    ASSIGN_OR_RETURN(const size_t choice, item->Choice({"debug", "info", "warning", "error"}));
    constexpr std::array kLevels = {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning,
                                    LogLevel::kError};
    server.log_level = kLevels[choice];
  }
  if (const auto item = object.Find("limits")) {
    RETURN_IF_ERROR(ReadLimits(*item, server.limits));
  }
  return server;
}

}  // namespace unetd
