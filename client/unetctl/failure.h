// How a command ends: nothing, or what went wrong and the exit status that says so.
#pragma once

#include <grpcpp/support/status.h>

#include <optional>
#include <string>
#include <string_view>

#include "server/base/status.h"

namespace unetd::unetctl {

enum ExitStatus {
  kExitOk = 0,
  kExitLocal = 1,          // a file, a picture, an answer that makes no sense
  kExitUsage = 2,          // the command line
  kExitServer = 3,         // the server answered with an error
  kExitUnreachable = 4,    // no server there, or it is going away
  kExitInterrupted = 130,  // Ctrl-C, as shells have it
};

struct Failure {
  int exit_status = kExitLocal;
  std::string text;  // one line
};
using Outcome = std::optional<Failure>;  // nothing: all went well

Outcome LocalFailure(const Status& status);
Outcome UsageFailure(std::string text);
// "NOT_FOUND: the server's message"; an OK status is no failure.
Outcome RpcFailure(const grpc::Status& status, std::string_view address);

// "INVALID_ARGUMENT" and so on.
std::string_view CodeName(grpc::StatusCode code);

// A server's text as a terminal may show it: control characters and broken UTF-8 escaped.
std::string Printable(std::string_view text);

}  // namespace unetd::unetctl
