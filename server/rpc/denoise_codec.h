// Between unetd.v1's denoising messages and the server's structs.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "server/serving/request.h"
#include "unetd/v1/denoiser.pb.h"

namespace unetd {

// Reads a v1.DenoiseRequest of at most `limit` bytes; `request.keepalive` holds what its views
// borrow from. INVALID_ARGUMENT naming the field; RESOURCE_EXHAUSTED if it is too large. On an
// error `request` holds what was read so far.
Status DecodeDenoise(const grpc::ByteBuffer& bytes, int limit, DenoiseRequest& request);
// The same of a v1.StepRequest.
Status DecodeStep(const grpc::ByteBuffer& bytes, int limit, StepRequest& request);

void EncodeTensor(OutputTensor tensor, v1::Tensor& message);
void EncodeStep(DenoiseResult result, v1::StepResponse& message);

}  // namespace unetd
