#include "client/unetctl/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>

#include "server/base/text.h"
#include "unetd/v1/admin.grpc.pb.h"

namespace unetd::unetctl {

void Connection::Open() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // pictures may be large; the server has its own limit
  arguments.SetMaxSendMessageSize(-1);
  if (own_socket) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

void Connection::Prepare(grpc::ClientContext& context) const {
  if (timeout_s > 0) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::microseconds(static_cast<int64_t>(timeout_s * 1e6)));
  }
}

Outcome FetchModels(const Connection& connection, std::vector<v1::Model>* models) {
  grpc::ClientContext context;
  connection.Prepare(context);
  v1::ListModelsResponse response;
  const auto stub = v1::Admin::NewStub(connection.channel);
  const grpc::Status status = stub->ListModels(&context, v1::ListModelsRequest(), &response);
  if (!status.ok()) return RpcFailure(status, connection.address);
  models->assign(response.models().begin(), response.models().end());
  return std::nullopt;
}

Outcome FetchModel(const Connection& connection, const std::string& name, v1::Model* model) {
  std::vector<v1::Model> models;
  if (Outcome failure = FetchModels(connection, &models)) return failure;
  std::string names;
  for (const v1::Model& candidate : models) {
    if (candidate.name() == name || (name.empty() && models.size() == 1)) {
      *model = candidate;
      return std::nullopt;
    }
    names += (names.empty() ? "" : ", ") + Printable(candidate.name());
  }
  if (name.empty()) {
    return UsageFailure(Format("the server has {} models ({}): choose one", models.size(), names));
  }
  return Failure{kExitServer, Format("the server has no model {}; it has: {}", Quoted(name),
                                     names.empty() ? "none" : names)};
}

}  // namespace unetd::unetctl
