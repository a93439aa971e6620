// inference.GRPCInferenceService: the Open Inference Protocol v2 as tritonclient and KServe speak
// it.
#pragma once

#include "inference/grpc_service.grpc.pb.h"
#include "server/rpc/service_of.h"
#include "server/serving/server.h"

namespace unetd {

// All calls are callbacks that hand over their messages as bytes: see message_codec.h.
using Protocol = inference::GRPCInferenceService;
using ProtocolService = ServiceOf<
    Protocol::Service, Protocol::WithRawCallbackMethod_ModelInfer,
    Protocol::WithRawCallbackMethod_ModelStreamInfer, Protocol::WithRawCallbackMethod_ServerLive,
    Protocol::WithRawCallbackMethod_ServerReady, Protocol::WithRawCallbackMethod_ModelReady,
    Protocol::WithRawCallbackMethod_ServerMetadata, Protocol::WithRawCallbackMethod_ModelMetadata,
    Protocol::WithRawCallbackMethod_ModelConfig, Protocol::WithRawCallbackMethod_ModelStatistics,
    Protocol::WithRawCallbackMethod_RepositoryIndex,
    Protocol::WithRawCallbackMethod_RepositoryModelLoad,
    Protocol::WithRawCallbackMethod_RepositoryModelUnload,
    Protocol::WithRawCallbackMethod_SystemSharedMemoryStatus,
    Protocol::WithRawCallbackMethod_SystemSharedMemoryRegister,
    Protocol::WithRawCallbackMethod_SystemSharedMemoryUnregister,
    Protocol::WithRawCallbackMethod_CudaSharedMemoryStatus,
    Protocol::WithRawCallbackMethod_CudaSharedMemoryRegister,
    Protocol::WithRawCallbackMethod_CudaSharedMemoryUnregister,
    Protocol::WithRawCallbackMethod_TraceSetting,
    Protocol::WithRawCallbackMethod_LogSettings>::Type;

class InferenceService final : public ProtocolService {
 public:
  explicit InferenceService(Server& server) : server_(server) {}

  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  using Bytes = grpc::ByteBuffer;

  Reactor* ServerLive(Context*, const Bytes*, Bytes*) override;
  Reactor* ServerReady(Context*, const Bytes*, Bytes*) override;
  Reactor* ModelReady(Context*, const Bytes*, Bytes*) override;
  Reactor* ServerMetadata(Context*, const Bytes*, Bytes*) override;
  Reactor* ModelMetadata(Context*, const Bytes*, Bytes*) override;
  Reactor* ModelConfig(Context*, const Bytes*, Bytes*) override;
  Reactor* ModelStatistics(Context*, const Bytes*, Bytes*) override;
  Reactor* RepositoryIndex(Context*, const Bytes*, Bytes*) override;
  Reactor* ModelInfer(Context*, const Bytes*, Bytes*) override;
  grpc::ServerBidiReactor<Bytes, Bytes>* ModelStreamInfer(Context*) override;
  // What is not overridden (loading, shared memory, trace and log settings) answers UNIMPLEMENTED.

 private:
  Server& server_;
};

}  // namespace unetd
