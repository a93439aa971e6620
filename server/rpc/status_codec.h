// Status as gRPC carries it.
#pragma once

#include <grpcpp/support/status.h>

#include "server/base/status.h"

namespace unetd {

// The same code and message. Where a retry helps (a full queue, memory that other requests hold),
// the details carry a google.rpc.RetryInfo.
grpc::Status ToGrpc(const Status& status);

}  // namespace unetd
