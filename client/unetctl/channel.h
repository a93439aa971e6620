// The connection to a server.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>
#include <vector>

#include "client/unetctl/failure.h"
#include "unetd/v1/admin.pb.h"

namespace unetd::unetctl {

inline constexpr char kDefaultAddress[] = "127.0.0.1:8001";

struct Connection {
  std::string address = kDefaultAddress;
  double timeout_s = 0;     // of each call; 0: as long as it takes
  bool own_socket = false;  // share it with no other connection of this process
  std::shared_ptr<grpc::Channel> channel;

  // Connects lazily: an address with no server shows at the first call.
  void Open();
  void Prepare(grpc::ClientContext& context) const;  // its deadline
};

// The server's models, in its config's order.
Outcome FetchModels(const Connection& connection, std::vector<v1::Model>* models);

// The model of that name, or the server's only one if `name` is empty.
Outcome FetchModel(const Connection& connection, const std::string& name, v1::Model* model);

}  // namespace unetd::unetctl
