// The gRPC port with all its services, and the HTTP port beside it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "server/rpc/admin_service.h"
#include "server/rpc/denoiser_service.h"
#include "server/rpc/http_server.h"
#include "server/rpc/inference_service.h"

namespace unetd {

class RpcServer {
 public:
  // Listens on both addresses of the settings; answers at once, NOT_SERVING until SetServing.
  static StatusOr<std::unique_ptr<RpcServer>> Start(Server& server);
  ~RpcServer();

  const std::string& address() const { return address_; }  // with the port that was taken
  const std::string& http_address() const { return http_->address(); }

  // What grpc.health.v1 says, for the server ("") and each service.
  void SetServing(bool serving);
  // Ends the listening; calls that still run have `seconds` to end.
  void Stop(double seconds);

 private:
  explicit RpcServer(Server& server) : inference_(server), denoiser_(server), admin_(server) {}

  InferenceService inference_;
  DenoiserService denoiser_;
  AdminService admin_;
  std::string address_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<grpc::Server> grpc_;
};

}  // namespace unetd
