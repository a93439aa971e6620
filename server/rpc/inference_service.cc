#include "server/rpc/inference_service.h"

#include "server/base/text.h"
#include "server/rpc/infer_call.h"
#include "server/rpc/unary_call.h"
#include "server/serving/turns.h"
#include "server/tensor/dtype.h"

namespace unetd {
namespace {

inference::DataType ConfigType(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return inference::TYPE_FP32;
    case DType::kFloat16:
      return inference::TYPE_FP16;
    case DType::kBFloat16:
      return inference::TYPE_BF16;
    case DType::kFloat64:
      return inference::TYPE_FP64;
    case DType::kBool:
      return inference::TYPE_BOOL;
    case DType::kInt8:
      return inference::TYPE_INT8;
    case DType::kInt16:
      return inference::TYPE_INT16;
    case DType::kInt32:
      return inference::TYPE_INT32;
    case DType::kInt64:
      return inference::TYPE_INT64;
    case DType::kUInt8:
      return inference::TYPE_UINT8;
    case DType::kUInt16:
      return inference::TYPE_UINT16;
    case DType::kUInt32:
      return inference::TYPE_UINT32;
    case DType::kUInt64:
      return inference::TYPE_UINT64;
  }
  return inference::TYPE_INVALID;
}

// Triton's config gives dims without the batch.
template <typename Tensor>
void FillConfigTensor(const TensorInfo& info, Tensor& tensor) {
  tensor.set_name(info.name);
  tensor.set_data_type(ConfigType(info.dtype));
  for (size_t i = 1; i < info.shape.size(); ++i) tensor.add_dims(info.shape[i]);
}

void FillMetadata(const TensorInfo& info,
                  inference::ModelMetadataResponse::TensorMetadata& tensor) {
  tensor.set_name(info.name);
  tensor.set_datatype(std::string(WireName(info.dtype)));
  tensor.mutable_shape()->Add(info.shape.begin(), info.shape.end());
}

inference::StatisticDuration* Add(inference::StatisticDuration* out, const DurationStat& in) {
  out->set_count(out->count() + in.count);
  out->set_ns(out->ns() + in.ns);
  return out;
}

// Triton has no variants: a model's statistics are its variants' together.
void AddVariant(const VariantStats& in, inference::ModelStatistics& out) {
  out.set_last_inference(std::max<uint64_t>(out.last_inference(), in.last_inference_ms));
  out.set_inference_count(out.inference_count() + in.inference_count);
  out.set_execution_count(out.execution_count() + in.execution_count);
  inference::InferStatistics& stats = *out.mutable_inference_stats();
  Add(stats.mutable_success(), in.success);
  Add(stats.mutable_fail(), in.fail);
  Add(stats.mutable_queue(), in.queue);
  Add(stats.mutable_compute_input(), in.compute_input);
  Add(stats.mutable_compute_infer(), in.compute_infer);
  Add(stats.mutable_compute_output(), in.compute_output);
  stats.mutable_cache_hit();
  stats.mutable_cache_miss();
  for (const auto& [rows, batch] : in.batches) {
    inference::InferBatchStatistics* row = nullptr;
    for (auto& present : *out.mutable_batch_stats()) {
      if (present.batch_size() == rows) row = &present;
    }
    if (row == nullptr) {
      row = out.add_batch_stats();
      row->set_batch_size(rows);
    }
    Add(row->mutable_compute_input(), batch.compute_input);
    Add(row->mutable_compute_infer(), batch.compute_infer);
    Add(row->mutable_compute_output(), batch.compute_output);
  }
}

Status AnswerServerLive(const Server& server, const inference::ServerLiveRequest&,
                        inference::ServerLiveResponse& response) {
  response.set_live(server.live());
  return OkStatus();
}

Status AnswerServerReady(const Server& server, const inference::ServerReadyRequest&,
                         inference::ServerReadyResponse& response) {
  response.set_ready(server.ready());
  return OkStatus();
}

Status AnswerModelReady(const Server& server, const inference::ModelReadyRequest& request,
                        inference::ModelReadyResponse& response) {
  const Status status = server.CheckModel(request.name(), request.version());
  response.set_ready(status.ok());
  // A model that is there but does not serve now is an answer, not an error.
  return status.code() == Code::kUnavailable ? OkStatus() : status;
}

Status AnswerServerMetadata(const Server&, const inference::ServerMetadataRequest&,
                            inference::ServerMetadataResponse& response) {
  response.set_name("unetd");
  response.set_version(UNETD_VERSION);
  for (const char* extension : {"model_configuration", "statistics", "parameters"}) {
    response.add_extensions(extension);
  }
  return OkStatus();
}

Status AnswerModelMetadata(const Server& server, const inference::ModelMetadataRequest& request,
                           inference::ModelMetadataResponse& response) {
  const StatusOr<ModelInfo> model = server.Model(request.name(), request.version());
  if (!model.ok()) return model.status();
  response.set_name(model->name);
  response.add_versions(model->version);
  response.set_platform(kPlatform);
  for (const TensorInfo& input : model->inputs) FillMetadata(input, *response.add_inputs());
  for (const TensorInfo& output : model->outputs) FillMetadata(output, *response.add_outputs());
  return OkStatus();
}

Status AnswerModelConfig(const Server& server, const inference::ModelConfigRequest& request,
                         inference::ModelConfigResponse& response) {
  const StatusOr<ModelInfo> model = server.Model(request.name(), request.version());
  if (!model.ok()) return model.status();
  inference::ModelConfig& config = *response.mutable_config();
  config.set_name(model->name);
  config.set_platform(kPlatform);
  config.set_backend(model->backend);
  config.set_max_batch_size(static_cast<int32_t>(model->max_batch));
  config.mutable_version_policy()->mutable_latest()->set_num_versions(1);
  config.mutable_model_transaction_policy()->set_decoupled(false);
  // What the protocol has no field for, by the config's keys.
  (*config.mutable_parameters())["dtype"].set_string_value(model->dtype);
  (*config.mutable_parameters())["conv"].set_string_value(model->conv);
  if (model->forward_rows > 1) {
    inference::ModelDynamicBatching& batching = *config.mutable_dynamic_batching();
    batching.add_preferred_batch_size(static_cast<int32_t>(model->forward_rows));
    batching.set_max_queue_delay_microseconds(model->max_queue_delay_microseconds);
    batching.set_priority_levels(Turn::kLowestPriority);
    batching.set_default_priority_level(Turn::kDefaultPriority);
  }
  for (const TensorInfo& input : model->inputs) {
    inference::ModelInput& tensor = *config.add_input();
    FillConfigTensor(input, tensor);
    tensor.set_optional(input.optional);
  }
  for (const TensorInfo& output : model->outputs) FillConfigTensor(output, *config.add_output());
  return OkStatus();
}

Status AnswerModelStatistics(const Server& server, const inference::ModelStatisticsRequest& request,
                             inference::ModelStatisticsResponse& response) {
  if (!request.name().empty()) {
    const StatusOr<ModelInfo> model = server.Model(request.name(), request.version());
    if (!model.ok()) return model.status();
  }
  const ServerStats stats = server.Stats();
  for (const ModelInfo& model : server.ListModels()) {
    if (!request.name().empty() && model.name != request.name()) continue;
    inference::ModelStatistics& out = *response.add_model_stats();
    out.set_name(model.name);
    out.set_version(model.version);
    for (const VariantStats& variant : stats.variants) {
      if (variant.model == model.name) AddVariant(variant, out);
    }
  }
  return OkStatus();
}

Status AnswerRepositoryIndex(const Server& server, const inference::RepositoryIndexRequest& request,
                             inference::RepositoryIndexResponse& response) {
  for (const ModelSettings& model : server.settings().models) {
    const Status status = server.CheckModel(model.name, "");
    if (request.ready() && !status.ok()) continue;
    auto& index = *response.add_models();
    index.set_name(model.name);
    index.set_version(kOnlyVersion);
    index.set_state(status.ok() ? "READY" : server.ready() ? "UNAVAILABLE" : "LOADING");
    index.set_reason(status.message());
  }
  return OkStatus();
}

}  // namespace

InferenceService::Reactor* InferenceService::ServerLive(Context* context, const Bytes* request,
                                                        Bytes* response) {
  return AnswerUnary(server_, context, request, response, AnswerServerLive);
}

InferenceService::Reactor* InferenceService::ServerReady(Context* context, const Bytes* request,
                                                         Bytes* response) {
  return AnswerUnary(server_, context, request, response, AnswerServerReady);
}

InferenceService::Reactor* InferenceService::ModelReady(Context* context, const Bytes* request,
                                                        Bytes* response) {
  return AnswerUnary(server_, context, request, response, AnswerModelReady);
}

InferenceService::Reactor* InferenceService::ServerMetadata(Context* context, const Bytes* request,
                                                            Bytes* response) {
  return AnswerUnary(server_, context, request, response, AnswerServerMetadata);
}

InferenceService::Reactor* InferenceService::ModelMetadata(Context* context, const Bytes* request,
                                                           Bytes* response) {
  return AnswerUnary(server_, context, request, response, AnswerModelMetadata);
}

InferenceService::Reactor* InferenceService::ModelConfig(Context* context, const Bytes* request,
                                                         Bytes* response) {
  return AnswerUnary(server_, context, request, response, AnswerModelConfig);
}

InferenceService::Reactor* InferenceService::ModelStatistics(Context* context, const Bytes* request,
                                                             Bytes* response) {
  return AnswerUnary(server_, context, request, response, AnswerModelStatistics);
}

InferenceService::Reactor* InferenceService::RepositoryIndex(Context* context, const Bytes* request,
                                                             Bytes* response) {
  return AnswerUnary(server_, context, request, response, AnswerRepositoryIndex);
}

InferenceService::Reactor* InferenceService::ModelInfer(Context* context, const Bytes* request,
                                                        Bytes* response) {
  // Ours alone, and no longer needed once it is read.
  return NewInferCall(server_, *context, const_cast<Bytes&>(*request), *response);
}

grpc::ServerBidiReactor<InferenceService::Bytes, InferenceService::Bytes>*
InferenceService::ModelStreamInfer(Context* context) {
  return NewStreamInferCall(server_, *context);
}

}  // namespace unetd
