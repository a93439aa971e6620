// Between the Open Inference Protocol's messages and the server's structs. Nothing here knows what
// a model takes: names and shapes are checked behind Server::Infer.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "inference/grpc_service.pb.h"
#include "server/serving/request.h"

namespace unetd {

// Reads a ModelInferRequest of at most `limit` bytes; `request.keepalive` holds what its views
// borrow from. INVALID_ARGUMENT naming tensor or parameter; UNIMPLEMENTED for shared memory;
// RESOURCE_EXHAUSTED if it is too large. On an error `request` holds what was read so far.
Status DecodeInfer(const grpc::ByteBuffer& bytes, int limit, InferRequest& request);

void EncodeInfer(InferResult result, inference::ModelInferResponse& message);

}  // namespace unetd
