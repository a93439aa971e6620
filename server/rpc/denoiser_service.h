// unetd.v1.Denoiser: the denoising loop as a stream, and one step of it as a call.
#pragma once

#include "server/rpc/service_of.h"
#include "server/serving/server.h"
#include "unetd/v1/denoiser.grpc.pb.h"

namespace unetd {

// The messages carry tensors: they come as bytes.
using DenoiserCalls = ServiceOf<v1::Denoiser::Service, v1::Denoiser::WithRawCallbackMethod_Denoise,
                                v1::Denoiser::WithRawCallbackMethod_Step>::Type;

class DenoiserService final : public DenoiserCalls {
 public:
  explicit DenoiserService(Server& server) : server_(server) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Denoise(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* Step(grpc::CallbackServerContext* context,
                                 const grpc::ByteBuffer* request,
                                 grpc::ByteBuffer* response) override;

 private:
  Server& server_;
};

}  // namespace unetd
