#include "client/unetctl/bench_calls.h"

#include <memory>
#include <utility>

#include "client/unetctl/predict.h"
#include "client/unetctl/synthetic.h"
#include "inference/grpc_service.grpc.pb.h"
#include "unetd/v1/denoiser.grpc.pb.h"

namespace unetd::unetctl {
namespace {

// A client of its own: with a shared connection all would share one flow of bytes.
std::shared_ptr<grpc::Channel> OwnChannel(const std::string& address) {
  Connection connection;
  connection.address = address;
  connection.own_socket = true;
  connection.Open();
  return connection.channel;
}

Outcome FetchConfig(const Connection& connection, const std::string& model,
                    inference::ModelConfig* config) {
  grpc::ClientContext context;
  connection.Prepare(context);
  inference::ModelConfigRequest request;
  request.set_name(model);
  inference::ModelConfigResponse response;
  const auto stub = inference::GRPCInferenceService::NewStub(connection.channel);
  const grpc::Status status = stub->ModelConfig(&context, request, &response);
  if (!status.ok()) return RpcFailure(status, connection.address);
  *config = std::move(*response.mutable_config());
  return std::nullopt;
}

CallMaker InferCalls(const std::string& address, inference::ModelInferRequest request) {
  auto shared = std::make_shared<const inference::ModelInferRequest>(std::move(request));
  return [address, shared]() -> Call {
    using Stub = inference::GRPCInferenceService::Stub;
    auto stub = std::make_shared<Stub>(OwnChannel(address));
    return [stub, shared](grpc::ClientContext& context) {
      inference::ModelInferResponse response;
      return stub->ModelInfer(&context, *shared, &response);
    };
  };
}

CallMaker StepCalls(const std::string& address, v1::StepRequest request) {
  auto shared = std::make_shared<const v1::StepRequest>(std::move(request));
  return [address, shared]() -> Call {
    auto stub = std::make_shared<v1::Denoiser::Stub>(OwnChannel(address));
    return [stub, shared](grpc::ClientContext& context) {
      v1::StepResponse response;
      return stub->Step(&context, *shared, &response);
    };
  };
}

CallMaker DenoiseCalls(const std::string& address, v1::DenoiseRequest request,
                       std::shared_ptr<std::atomic<int64_t>> steps) {
  auto shared = std::make_shared<const v1::DenoiseRequest>(std::move(request));
  return [address, shared, steps]() -> Call {
    auto stub = std::make_shared<v1::Denoiser::Stub>(OwnChannel(address));
    return [stub, shared, steps](grpc::ClientContext& context) {
      const auto stream = stub->Denoise(&context, *shared);
      v1::DenoiseResponse response;
      while (stream->Read(&response)) {
        if (response.progress().total() > 0) *steps = response.progress().total();
      }
      return stream->Finish();
    };
  };
}

// What Step and Denoise share.
template <typename Request>
StatusOr<Request> LoopRequest(const BenchOptions& options, const BenchTarget& target,
                              const TensorMap& conditions, const TensorMap& negative) {
  ASSIGN_OR_RETURN(const Loop loop, LoadLoop(options.loop));
  Request request;
  request.set_model(target.model);
  request.set_variant(options.variant);
  RETURN_IF_ERROR(FillLoop(loop, {0, options.rows, options.rows}, request));
  for (const auto& [name, tensor] : conditions) *request.add_conditions() = tensor;
  if (loop.guided()) {
    for (const auto& [name, tensor] : negative) *request.add_negative_conditions() = tensor;
  }
  for (int64_t row = 0; row < options.rows; ++row) request.add_seeds(row);
  return request;
}

StatusOr<CallMaker> MakeCalls(const std::string& address, const BenchOptions& options,
                              const BenchTarget& target, TensorMap inputs,
                              std::shared_ptr<std::atomic<int64_t>> steps) {
  if (options.kind == "infer") {
    return InferCalls(
        address, MakeInferRequest(target.model, options.variant, options.loop.priority, inputs));
  }
  v1::Tensor sample = std::move(inputs["sample"]);
  inputs.erase("sample");
  inputs.erase("timestep");
  TensorMap negative;
  RETURN_IF_ERROR(LoadNamed(options.inputs.negative, &negative));
  TensorMap same = inputs;
  negative.merge(same);
  if (options.kind == "step") {
    ASSIGN_OR_RETURN(auto request, LoopRequest<v1::StepRequest>(options, target, inputs, negative));
    *request.mutable_sample() = std::move(sample);
    return StepCalls(address, std::move(request));
  }
  ASSIGN_OR_RETURN(auto request,
                   LoopRequest<v1::DenoiseRequest>(options, target, inputs, negative));
  request.add_shape(options.rows);
  for (const int64_t size : target.row_shape) request.add_shape(size);
  return DenoiseCalls(address, std::move(request), std::move(steps));
}

}  // namespace

Outcome MakeBenchCalls(const Connection& connection, const BenchOptions& options,
                       const BenchTarget& target, BenchCalls* calls) {
  inference::ModelConfig config;
  if (Outcome failure = FetchConfig(connection, target.model, &config)) return failure;
  if (options.kind != "infer") {  // latents, whatever else the UNet is shown beside them
    for (auto& input : *config.mutable_input()) {
      if (input.name() == "sample" && input.dims_size() > 0) input.set_dims(0, target.row_shape[0]);
    }
  }
  const SyntheticSizes sizes = {options.rows, target.row_shape[1], target.row_shape[2],
                                options.tokens};
  auto made = SyntheticInputs(config, sizes);
  if (!made.ok()) return LocalFailure(made.status());
  auto inputs = LoadInputs(options.inputs);
  if (!inputs.ok()) return LocalFailure(inputs.status());
  inputs->merge(*made);  // what is given stands over what is made up
  auto maker = MakeCalls(connection.address, options, target, *std::move(inputs), calls->steps);
  if (!maker.ok()) return LocalFailure(maker.status());
  calls->maker = *std::move(maker);
  return std::nullopt;
}

}  // namespace unetd::unetctl
