// `unetctl health`: is the server serving? What a container's health check runs.
#pragma once

#include <string>

#include "client/unetctl/channel.h"
#include "client/unetctl/failure.h"

namespace unetd::unetctl {

struct HealthOptions {
  std::string service;  // its full name; empty: the whole server
  double wait_s = 0;    // how long it may take until it serves, a server that is not there yet too
};

// Asks by the gRPC health protocol, and prints SERVING. Any failure has exit status 1, the one that
// health checks know. Without connection.timeout_s a call may take a few seconds: a probe never
// hangs.
Outcome CheckHealth(const Connection& connection, const HealthOptions& options);

}  // namespace unetd::unetctl
