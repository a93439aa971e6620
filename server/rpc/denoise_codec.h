// Between unetd.v1's denoising messages and the server's structs.
#pragma once

#include "server/serving/request.h"
#include "unetd/v1/denoiser.pb.h"

namespace unetd {

// Views borrow from `message`, which must outlive the call. INVALID_ARGUMENT naming the field; then
// `request` holds what was read so far.
Status DecodeDenoise(const v1::DenoiseRequest& message, DenoiseRequest& request);

void EncodeTensor(OutputTensor tensor, v1::Tensor& message);

}  // namespace unetd
