// unetd.v1.Admin: what is loaded and what runs each layer.
#pragma once

#include "server/serving/server.h"
#include "unetd/v1/admin.grpc.pb.h"

namespace unetd {

class AdminService final : public v1::Admin::CallbackService {
 public:
  explicit AdminService(Server& server) : server_(server) {}

  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* DescribeModel(grpc::CallbackServerContext* context,
                                          const v1::DescribeModelRequest* request,
                                          v1::DescribeModelResponse* response) override;

  grpc::ServerUnaryReactor* ListProcessors(grpc::CallbackServerContext* context,
                                           const v1::ListProcessorsRequest* request,
                                           v1::ListProcessorsResponse* response) override;

 private:
  Server& server_;
};

}  // namespace unetd
