// unetd.v1.Admin: what is loaded and what runs each layer.
#pragma once

#include "server/rpc/service_of.h"
#include "server/serving/server.h"
#include "unetd/v1/admin.grpc.pb.h"

namespace unetd {

using AdminCalls = ServiceOf<v1::Admin::Service, v1::Admin::WithRawCallbackMethod_ListModels,
                             v1::Admin::WithRawCallbackMethod_DescribeModel,
                             v1::Admin::WithRawCallbackMethod_ListProcessors,
                             v1::Admin::WithRawCallbackMethod_Profile>::Type;

class AdminService final : public AdminCalls {
 public:
  explicit AdminService(Server& server) : server_(server) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  using Bytes = grpc::ByteBuffer;

  Reactor* ListModels(Context*, const Bytes*, Bytes*) override;
  Reactor* DescribeModel(Context*, const Bytes*, Bytes*) override;
  Reactor* ListProcessors(Context*, const Bytes*, Bytes*) override;
  Reactor* Profile(Context*, const Bytes*, Bytes*) override;

 private:
  Server& server_;
};

}  // namespace unetd
