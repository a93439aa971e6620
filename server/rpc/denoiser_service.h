// unetd.v1.Denoiser: the denoising loop as a stream.
#pragma once

#include "server/serving/server.h"
#include "unetd/v1/denoiser.grpc.pb.h"

namespace unetd {

class DenoiserService final : public v1::Denoiser::CallbackService {
 public:
  explicit DenoiserService(Server& server) : server_(server) {}

  grpc::ServerWriteReactor<v1::DenoiseResponse>* Denoise(
      grpc::CallbackServerContext* context, const v1::DenoiseRequest* request) override;
  // Step answers UNIMPLEMENTED.

 private:
  Server& server_;
};

}  // namespace unetd
