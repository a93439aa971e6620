#include "server/rpc/admin_service.h"

#include <algorithm>

#include "server/attention/processor_text.h"
#include "server/base/text.h"
#include "server/rpc/profile_call.h"
#include "server/rpc/unary_call.h"

namespace unetd {
namespace {

int32_t Channels(const std::vector<TensorInfo>& tensors) {
  return tensors.empty() || tensors[0].shape.size() < 2 ? 0
                                                        : static_cast<int32_t>(tensors[0].shape[1]);
}

void FillModel(const ModelInfo& info, bool ready, v1::Model& out) {
  out.set_name(info.name);
  out.set_version(info.version);
  out.set_ready(ready);
  out.set_class_name(info.unet_class);
  out.set_dtype(info.dtype);
  out.set_conv(info.conv);
  out.set_backend(info.backend);
  out.set_scheduler(info.scheduler);
  out.set_max_batch(static_cast<int32_t>(info.max_batch));
  out.set_in_channels(Channels(info.inputs));
  out.set_out_channels(Channels(info.outputs));
  out.set_parameters(info.parameters);
  for (const auto& [height, width] : info.shapes) {
    v1::ImageSize& size = *out.add_shapes();
    size.set_height(static_cast<int32_t>(height));
    size.set_width(static_cast<int32_t>(width));
  }
  for (const VariantInfo& variant : info.variants) {
    v1::Variant& entry = *out.add_variants();
    entry.set_name(variant.name);
    entry.set_weight(variant.weight);
    entry.set_share(variant.share);
    entry.set_fingerprint(variant.fingerprint);
  }
}

void FillLayer(const LayerInfo& info, const std::string& variant, v1::Layer& out) {
  out.set_name(info.name);
  out.set_kind(info.kind);
  out.set_heads(static_cast<int32_t>(info.heads));
  out.set_head_dim(static_cast<int32_t>(info.head_dim));
  out.set_query_dim(static_cast<int32_t>(info.query_dim));
  out.set_cross_dim(static_cast<int32_t>(info.cross_dim));
  for (const std::string& name : info.legal) out.add_legal_processors(name);
  for (const BoundLayer& bound : info.bound) {
    if (!variant.empty() && bound.variant != variant) continue;
    v1::Binding& binding = *out.add_bindings();
    binding.set_variant(bound.variant);
    binding.set_processor(bound.processor);
    binding.set_algorithm(bound.algorithm);
    binding.set_backend(bound.backend);
    binding.set_rule(bound.rule);
    binding.set_options(bound.options);
    binding.set_kernel(bound.kernel);
    binding.set_fallback(bound.fell_back);
    for (const std::string& refusal : bound.refusals) binding.add_refusals(refusal);
  }
}

void FillPlan(const PlanInfo& info, v1::Plan& out) {
  out.set_variant(info.variant);
  out.set_shape(info.shape);
  out.set_operators(info.operators);
  out.set_arena_row_bytes(info.arena_row_bytes);
  out.set_block_row_bytes(info.block_row_bytes);
  out.set_packed_bytes(info.packed_bytes);
  out.set_copied_row_bytes(info.copied_row_bytes);
  out.mutable_convolutions()->insert(info.convolutions.begin(), info.convolutions.end());
  for (const std::string& lowering : info.lowerings) out.add_lowerings(lowering);
}

void FillProcessor(const ProcessorRow& row, v1::Processor& out) {
  out.set_name(std::string(row.name));
  out.set_summary(std::string(row.summary));
  out.set_projection(std::string(ProjectionName(row.projection)));
  out.set_algorithm(std::string(AlgorithmName(row.algorithm)));
  out.set_memory(std::string(AlgorithmMemory(row.algorithm)));
  out.set_takes_weights(row.TakesWeights());
  out.set_example(ExampleRule(row));
  for (const std::string_view text : QuirkTexts(row)) out.add_notes(std::string(text));
  for (const OptionSpec& spec : row.options) {
    v1::ProcessorOption& option = *out.add_options();
    option.set_name(std::string(spec.name));
    option.set_type(OptionTypeText(spec));
    option.set_required(spec.required);
    option.set_fallback(std::string(spec.fallback));
    option.set_meaning(std::string(spec.meaning));
  }
}

Status AnswerDescribeModel(const Server& server, const v1::DescribeModelRequest& request,
                           v1::DescribeModelResponse& response) {
  ASSIGN_OR_RETURN(const ModelDescription model, server.DescribeModel(request.model()));
  const std::string& variant = request.variant();
  const auto& variants = model.info.variants;
  if (!variant.empty() && std::none_of(variants.begin(), variants.end(),
                                       [&](const VariantInfo& v) { return v.name == variant; })) {
    std::string known;
    for (const VariantInfo& v : variants) known += (known.empty() ? "" : ", ") + v.name;
    return NotFound(Format("model {} has no variant {}; it has: {}", Quoted(model.info.name),
                           Quoted(variant), known));
  }
  FillModel(model.info, server.ready(), *response.mutable_model());
  for (const LayerInfo& layer : model.layers) FillLayer(layer, variant, *response.add_layers());
  for (const PlanInfo& plan : model.plans) {
    if (variant.empty() || plan.variant == variant) FillPlan(plan, *response.add_plans());
  }
  for (const std::string& tensor : model.unused_tensors) response.add_unused_tensors(tensor);
  response.set_config_json(model.config_json);
  return OkStatus();
}

Status AnswerListModels(const Server& server, const v1::ListModelsRequest&,
                        v1::ListModelsResponse& response) {
  const bool ready = server.ready();
  for (const ModelInfo& model : server.ListModels())
    FillModel(model, ready, *response.add_models());
  return OkStatus();
}

Status AnswerListProcessors(const Server&, const v1::ListProcessorsRequest&,
                            v1::ListProcessorsResponse& response) {
  for (const ProcessorRow& row : Processors()) FillProcessor(row, *response.add_processors());
  return OkStatus();
}

}  // namespace

AdminService::Reactor* AdminService::ListModels(Context* context, const Bytes* request,
                                                Bytes* response) {
  return AnswerUnary(server_, context, request, response, AnswerListModels);
}

AdminService::Reactor* AdminService::DescribeModel(Context* context, const Bytes* request,
                                                   Bytes* response) {
  return AnswerUnary(server_, context, request, response, AnswerDescribeModel);
}

AdminService::Reactor* AdminService::ListProcessors(Context* context, const Bytes* request,
                                                    Bytes* response) {
  return AnswerUnary(server_, context, request, response, AnswerListProcessors);
}

AdminService::Reactor* AdminService::Profile(Context* context, const Bytes* request,
                                             Bytes* response) {
  return NewProfileCall(server_, *context, *request, *response);
}

}  // namespace unetd
