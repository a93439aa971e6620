// The text of `unetd --check`.
#pragma once

#include <string>

#include "server/serving/server.h"

namespace unetd {

// Of a loaded server: every model, variant and layer with its processor, what bound it (the rule's
// JSON path or "default"), backend, algorithm and refusals, and what it costs in bytes.
std::string CheckText(const Server& server);

}  // namespace unetd
