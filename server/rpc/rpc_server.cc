#include "server/rpc/rpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <chrono>

#include "server/base/text.h"
#include "server/rpc/message_codec.h"

namespace unetd {
namespace {

constexpr int kMaxConcurrentStreams = 1024;  // of one connection

// What may be on its way in, all connections together: gRPC looks at a message's size when it has
// the whole of it, up to 4 GiB, so the limit of one message alone would not keep memory bounded.
size_t ReadQuota(const LimitSettings& limits) {
  constexpr size_t kMessages = 4;
  constexpr size_t kConnections = 256u << 20;  // buffers and headers of many small calls
  return kConnections + kMessages * static_cast<size_t>(MessageLimit(limits));
}

}  // namespace

StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(Server& server) {
  const ServerSettings& settings = server.settings().server;
  std::unique_ptr<RpcServer> rpc(new RpcServer(server));

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(settings.address, grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(MessageLimit(settings.limits));
  builder.SetMaxSendMessageSize(-1);
  builder.SetResourceQuota(grpc::ResourceQuota("unetd").Resize(ReadQuota(settings.limits)));
  // gRPC would inflate a message whatever comes of it: ParseMessage does it within the limit.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxConcurrentStreams);
  builder.RegisterService(&rpc->inference_);
  builder.RegisterService(&rpc->denoiser_);
  builder.RegisterService(&rpc->admin_);
  rpc->grpc_ = builder.BuildAndStart();
  if (rpc->grpc_ == nullptr) {
    return Unavailable(Format("server.address: cannot listen on {} (is the port in use?)",
                              Quoted(settings.address)));
  }
  const size_t colon = settings.address.rfind(':');
  const bool has_port = port > 1 && colon != std::string::npos;  // a unix socket has none
  rpc->address_ =
      has_port ? Format("{}:{}", settings.address.substr(0, colon), port) : settings.address;
  grpc::HealthCheckServiceInterface* health = rpc->grpc_->GetHealthCheckService();
  for (const char* service :
       {"inference.GRPCInferenceService", "unetd.v1.Denoiser", "unetd.v1.Admin"}) {
    health->SetServingStatus(service, false);
  }
  rpc->SetServing(false);
  ASSIGN_OR_RETURN(rpc->http_, HttpServer::Start(server, settings.http_address));
  return rpc;
}

RpcServer::~RpcServer() { Stop(0); }

void RpcServer::SetServing(bool serving) {
  // "" and every name that was set before. Watch tells each call of it, changed or not: once only.
  grpc_->GetHealthCheckService()->SetServingStatus(serving);
}

void RpcServer::Stop(double seconds) {
  if (grpc_ == nullptr) return;
  grpc_->Shutdown(std::chrono::system_clock::now() +
                  std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000)));
  grpc_->Wait();
  grpc_.reset();
  http_.reset();
}

}  // namespace unetd
