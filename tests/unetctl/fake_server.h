// A server for unetctl's tests: one model of [1,2,2] pictures, answers by rule.
#pragma once

#include <grpcpp/server.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client/unetctl/channel.h"
#include "inference/grpc_service.grpc.pb.h"
#include "unetd/v1/admin.grpc.pb.h"
#include "unetd/v1/denoiser.grpc.pb.h"

namespace unetd::unetctl {

// A pixel of the row with seed s is s / 10, plus 1/4 in every variant but "baseline". The variant
// "silent" ends without a result, "short" sends one byte too few, any other unknown name is
// NOT_FOUND. A preview's pixels are all 0. An inference gives its sample back.
class FakeServer : public v1::Admin::Service,
                   public v1::Denoiser::Service,
                   public inference::GRPCInferenceService::Service {
 public:
  FakeServer();
  ~FakeServer() override;

  Connection Connect() const;
  std::vector<v1::DenoiseRequest> requests() const;

  grpc::Status ListModels(grpc::ServerContext* context, const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override;
  grpc::Status DescribeModel(grpc::ServerContext* context, const v1::DescribeModelRequest* request,
                             v1::DescribeModelResponse* response) override;
  grpc::Status Denoise(grpc::ServerContext* context, const v1::DenoiseRequest* request,
                       grpc::ServerWriter<v1::DenoiseResponse>* writer) override;

  // prev_sample is the sample; the state is the one that came and the step's index.
  grpc::Status Step(grpc::ServerContext* context, const v1::StepRequest* request,
                    v1::StepResponse* response) override;
  grpc::Status ModelConfig(grpc::ServerContext* context,
                           const inference::ModelConfigRequest* request,
                           inference::ModelConfigResponse* response) override;
  grpc::Status ModelInfer(grpc::ServerContext* context, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override;

  std::atomic<int> inferences = 0;
  std::atomic<uint64_t> priority = 0;  // of the last inference
  std::atomic<int> fail_every = 0;     // so many inferences: one fails; 0: none
  std::atomic<bool> slow = false;      // inferences wait until they are cancelled
  int models = 1;                      // that ListModels tells; the first is "digits"

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  mutable std::mutex mutex_;
  std::vector<v1::DenoiseRequest> requests_;
};

}  // namespace unetd::unetctl
