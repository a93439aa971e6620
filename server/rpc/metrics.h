// The metrics page: Triton's nv_* names where the meaning is Triton's, unetd_* for ours.
#pragma once

#include <string>

#include "server/serving/server.h"

namespace unetd {

// Prometheus' text format. Labels come from the config alone, so their number is bounded.
std::string MetricsText(const Server& server);

}  // namespace unetd
