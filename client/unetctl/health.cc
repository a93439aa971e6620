#include "client/unetctl/health.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "grpc/health/v1/health.grpc.pb.h"
#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

namespace health = grpc::health::v1;
using Clock = std::chrono::steady_clock;

constexpr double kCallSeconds = 5;
constexpr int kRetryMs = 100;

// A connection of its own for each try: one that failed would be tried again only after a pause.
std::unique_ptr<health::Health::Stub> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return health::Health::NewStub(
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
}

Outcome CheckOnce(const Connection& connection, const std::string& service) {
  grpc::ClientContext context;
  const double seconds = connection.timeout_s > 0 ? connection.timeout_s : kCallSeconds;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6)));
  health::HealthCheckRequest request;
  request.set_service(service);
  health::HealthCheckResponse response;
  const grpc::Status status = Connect(connection.address)->Check(&context, request, &response);
  if (Outcome failure = RpcFailure(status, connection.address)) {
    failure->exit_status = kExitLocal;
    return failure;
  }
  if (response.status() == health::HealthCheckResponse::SERVING) return std::nullopt;
  const std::string& name = health::HealthCheckResponse::ServingStatus_Name(response.status());
  return Failure{kExitLocal, name.empty() ? "UNKNOWN" : name};
}

}  // namespace

Outcome CheckHealth(const Connection& connection, const HealthOptions& options) {
  const auto end = Clock::now() + std::chrono::duration<double>(options.wait_s);
  Outcome failure = CheckOnce(connection, options.service);
  while (failure && Clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(kRetryMs));
    failure = CheckOnce(connection, options.service);
  }
  if (!failure) {
    std::puts("SERVING");
    return std::nullopt;
  }
  if (options.wait_s > 0) failure->text += Format(", after {:g} s", options.wait_s);
  return failure;
}

}  // namespace unetd::unetctl
