// Status as gRPC carries it.
#pragma once

#include <grpcpp/support/status.h>

#include "server/base/status.h"

namespace unetd {

// The same code and message. RESOURCE_EXHAUSTED carries a google.rpc.RetryInfo in its details: the
// queue or the memory may be free again soon.
grpc::Status ToGrpc(const Status& status);

}  // namespace unetd
