// Between the Open Inference Protocol's messages and the server's structs. Nothing here knows what
// a model takes: names and shapes are checked behind Server::Infer.
#pragma once

#include <deque>
#include <string>

#include "inference/grpc_service.pb.h"
#include "server/serving/request.h"

namespace unetd {

// A decoded request. Views borrow from the message, and from `owned` where bytes had to be made:
// both must outlive the call.
struct DecodedInfer {
  InferRequest request;
  std::deque<std::string> owned;
};

// INVALID_ARGUMENT naming tensor or parameter; UNIMPLEMENTED for shared memory.
Status DecodeInfer(const inference::ModelInferRequest& message, DecodedInfer& decoded);

void EncodeInfer(InferResult result, inference::ModelInferResponse& message);

}  // namespace unetd
