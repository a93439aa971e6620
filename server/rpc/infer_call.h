// The reactors of ModelInfer and ModelStreamInfer.
#pragma once

#include <grpcpp/grpcpp.h>

#include "server/serving/server.h"

namespace unetd {

// Both delete themselves when their call is done. `request` is emptied as soon as it is read.
grpc::ServerUnaryReactor* NewInferCall(Server& server, grpc::CallbackServerContext& context,
                                       grpc::ByteBuffer& request, grpc::ByteBuffer& response);

// Answers in the order of the requests; at most kMaxInFlight of them are read ahead, so a client
// that does not read its answers costs a bounded amount of memory.
inline constexpr size_t kMaxInFlight = 16;
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* NewStreamInferCall(
    Server& server, grpc::CallbackServerContext& context);

}  // namespace unetd
