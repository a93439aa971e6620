// What the server's statistics of a model say of the work between two moments.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "client/unetctl/channel.h"
#include "inference/grpc_service.pb.h"

namespace unetd::unetctl {

struct ServerTimes {
  std::optional<double> queue_ms;    // of a request that was the only one; else unknown
  std::optional<double> compute_ms;  // likewise
  std::optional<double> rows_per_forward;
};

// Between its making and each call of Times(). A server that gives no statistics leaves all
// unknown.
class ServerTimesProbe {
 public:
  ServerTimesProbe(const Connection& connection, std::string model);
  ServerTimes Times() const;

 private:
  std::optional<inference::ModelStatistics> Fetch() const;

  const Connection& connection_;
  std::string model_;
  std::optional<inference::ModelStatistics> before_;
};

// The difference of two readings, `before` the earlier.
ServerTimes TimesBetween(const inference::ModelStatistics& before,
                         const inference::ModelStatistics& after);

}  // namespace unetd::unetctl
