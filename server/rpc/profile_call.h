// Admin.Profile: waits in the queue, so it is a call of its own.
#pragma once

#include <grpcpp/grpcpp.h>

#include "server/serving/server.h"

namespace unetd {

// Deletes itself when the call is done. `response` lives until then.
grpc::ServerUnaryReactor* NewProfileCall(Server& server, grpc::CallbackServerContext& context,
                                         const grpc::ByteBuffer& request,
                                         grpc::ByteBuffer& response);

}  // namespace unetd
