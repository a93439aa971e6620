// inference.GRPCInferenceService: the Open Inference Protocol v2 as tritonclient and KServe speak
// it.
#pragma once

#include "inference/grpc_service.grpc.pb.h"
#include "server/rpc/service_of.h"
#include "server/serving/server.h"

namespace unetd {

// All calls are callbacks; the two that carry tensors hand over their messages as bytes.
using Protocol = inference::GRPCInferenceService;
using ProtocolService = ServiceOf<
    Protocol::Service, Protocol::WithRawCallbackMethod_ModelInfer,
    Protocol::WithRawCallbackMethod_ModelStreamInfer, Protocol::WithCallbackMethod_ServerLive,
    Protocol::WithCallbackMethod_ServerReady, Protocol::WithCallbackMethod_ModelReady,
    Protocol::WithCallbackMethod_ServerMetadata, Protocol::WithCallbackMethod_ModelMetadata,
    Protocol::WithCallbackMethod_ModelConfig, Protocol::WithCallbackMethod_ModelStatistics,
    Protocol::WithCallbackMethod_RepositoryIndex, Protocol::WithCallbackMethod_RepositoryModelLoad,
    Protocol::WithCallbackMethod_RepositoryModelUnload,
    Protocol::WithCallbackMethod_SystemSharedMemoryStatus,
    Protocol::WithCallbackMethod_SystemSharedMemoryRegister,
    Protocol::WithCallbackMethod_SystemSharedMemoryUnregister,
    Protocol::WithCallbackMethod_CudaSharedMemoryStatus,
    Protocol::WithCallbackMethod_CudaSharedMemoryRegister,
    Protocol::WithCallbackMethod_CudaSharedMemoryUnregister,
    Protocol::WithCallbackMethod_TraceSetting, Protocol::WithCallbackMethod_LogSettings>::Type;

class InferenceService final : public ProtocolService {
 public:
  explicit InferenceService(Server& server) : server_(server) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* ServerLive(Context*, const inference::ServerLiveRequest*,
                      inference::ServerLiveResponse*) override;
  Reactor* ServerReady(Context*, const inference::ServerReadyRequest*,
                       inference::ServerReadyResponse*) override;
  Reactor* ModelReady(Context*, const inference::ModelReadyRequest*,
                      inference::ModelReadyResponse*) override;
  Reactor* ServerMetadata(Context*, const inference::ServerMetadataRequest*,
                          inference::ServerMetadataResponse*) override;
  Reactor* ModelMetadata(Context*, const inference::ModelMetadataRequest*,
                         inference::ModelMetadataResponse*) override;
  Reactor* ModelConfig(Context*, const inference::ModelConfigRequest*,
                       inference::ModelConfigResponse*) override;
  Reactor* ModelStatistics(Context*, const inference::ModelStatisticsRequest*,
                           inference::ModelStatisticsResponse*) override;
  Reactor* RepositoryIndex(Context*, const inference::RepositoryIndexRequest*,
                           inference::RepositoryIndexResponse*) override;
  Reactor* ModelInfer(Context*, const grpc::ByteBuffer*, grpc::ByteBuffer*) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ModelStreamInfer(Context*) override;
  // What is not overridden (loading, shared memory, trace and log settings) answers UNIMPLEMENTED.

 private:
  Server& server_;
};

}  // namespace unetd
