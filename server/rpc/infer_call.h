// The reactors of ModelInfer and ModelStreamInfer.
#pragma once

#include <grpcpp/grpcpp.h>

#include "inference/grpc_service.pb.h"
#include "server/serving/server.h"

namespace unetd {

// Both delete themselves when their call is done.
grpc::ServerUnaryReactor* NewInferCall(Server& server, grpc::CallbackServerContext& context,
                                       const inference::ModelInferRequest& request,
                                       inference::ModelInferResponse& response);

// Answers in the order of the requests; at most kMaxInFlight of them are read ahead, so a client
// that does not read its answers costs a bounded amount of memory.
inline constexpr size_t kMaxInFlight = 16;
grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
NewStreamInferCall(Server& server, grpc::CallbackServerContext& context);

}  // namespace unetd
