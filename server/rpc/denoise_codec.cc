#include "server/rpc/denoise_codec.h"

#include "server/base/text.h"
#include "server/rpc/message_codec.h"
#include "server/tensor/dtype.h"
#include "server/tensor/shape.h"

namespace unetd {
namespace {

constexpr int kMaxRank = 8;
constexpr int kMaxTensors = 1024;
constexpr int kMaxStateTensors = 65;  // as many as any state has, and its header
constexpr int kDefaultSteps = 50;

StatusOr<TensorView> DecodeTensor(const v1::Tensor& message, const std::string& field) {
  const std::optional<DType> dtype = DTypeFromWireName(message.datatype());
  if (!dtype)
    return InvalidArgument(Format("{}: unknown datatype {}", field, Quoted(message.datatype())));
  if (message.shape_size() > kMaxRank) {
    return InvalidArgument(Format("{}: expected at most {} dimensions, got {}", field, kMaxRank,
                                  message.shape_size()));
  }
  TensorView view;
  view.dtype = *dtype;
  view.shape.assign(message.shape().begin(), message.shape().end());
  const StatusOr<uint64_t> bytes = CheckedBytes(view.shape, *dtype);
  if (!bytes.ok()) return bytes.status().WithContext(field + ": ");
  if (message.raw().size() != *bytes) {
    return InvalidArgument(Format("{}: expected {} bytes for {} {}, got {}", field, *bytes,
                                  WireName(*dtype), ShapeText(view.shape), message.raw().size()));
  }
  view.data = message.raw().data();
  view.bytes = message.raw().size();
  return view;
}

Status DecodeConditions(const google::protobuf::RepeatedPtrField<v1::Tensor>& messages,
                        const char* field, std::vector<NamedTensor>& out) {
  if (messages.size() > kMaxTensors) {
    return InvalidArgument(
        Format("{}: expected at most {} tensors, got {}", field, kMaxTensors, messages.size()));
  }
  for (const v1::Tensor& message : messages) {
    ASSIGN_OR_RETURN(TensorView view,
                     DecodeTensor(message, Format("{} {}", field, Quoted(message.name()))));
    out.push_back({message.name(), std::move(view)});
  }
  return OkStatus();
}

Status DecodeOptional(bool present, const v1::Tensor& message, const char* field,
                      std::optional<TensorView>& out) {
  if (!present) return OkStatus();
  ASSIGN_OR_RETURN(out, DecodeTensor(message, field));
  return OkStatus();
}

// What the two messages have in common, by the same names.
template <typename Message>
Status DecodeLoop(const Message& message, LoopRequest& request) {
  request.model = message.model();
  request.variant = message.variant();
  request.id = message.id();
  request.priority = message.priority();
  request.scheduler_json = message.scheduler_json();
  request.num_inference_steps =
      message.num_inference_steps() ? message.num_inference_steps() : kDefaultSteps;
  for (int64_t seed : message.seeds()) request.seeds.push_back(static_cast<uint64_t>(seed));
  RETURN_IF_ERROR(DecodeConditions(message.conditions(), "conditions", request.conditions));
  RETURN_IF_ERROR(DecodeConditions(message.negative_conditions(), "negative_conditions",
                                   request.negative_conditions));
  if (message.has_guidance_scale()) request.guidance_scale = message.guidance_scale();
  request.guidance_rescale = message.guidance_rescale();
  if (message.has_eta()) request.eta = message.eta();
  request.use_clipped_model_output = message.use_clipped_model_output();
#define DECODE(field) \
  RETURN_IF_ERROR(DecodeOptional(message.has_##field(), message.field(), #field, request.field))
  DECODE(noise);
  DECODE(start_noise);
  DECODE(image_latents);
  DECODE(mask);
  DECODE(masked_image_latents);
  DECODE(concat_latents);
  DECODE(negative_concat_latents);
#undef DECODE
  return OkStatus();
}

}  // namespace

Status DecodeDenoise(const grpc::ByteBuffer& bytes, int limit, DenoiseRequest& request) {
  const auto held = std::make_shared<v1::DenoiseRequest>();
  const v1::DenoiseRequest& message = *held;
  request.keepalive = held;
  RETURN_IF_ERROR(ParseMessage(bytes, limit, *held));
  RETURN_IF_ERROR(DecodeLoop(message, request));
  request.start_step = message.start_step();
  if (message.end_step() != 0) request.end_step = message.end_step();
  RETURN_IF_ERROR(
      DecodeOptional(message.has_latents(), message.latents(), "latents", request.latents));
  if (message.shape_size() > kMaxRank) {
    return InvalidArgument(Format("shape: expected 4 dimensions, got {}", message.shape_size()));
  }
  request.shape.assign(message.shape().begin(), message.shape().end());
  request.preview_every = message.preview_every();
  return OkStatus();
}

Status DecodeStep(const grpc::ByteBuffer& bytes, int limit, StepRequest& request) {
  const auto held = std::make_shared<v1::StepRequest>();
  const v1::StepRequest& message = *held;
  request.keepalive = held;
  RETURN_IF_ERROR(ParseMessage(bytes, limit, *held));
  RETURN_IF_ERROR(DecodeLoop(message, request));
  request.step_index = message.step_index();
  if (message.has_timestep()) request.timestep = message.timestep();
  if (!message.has_sample()) return InvalidArgument("sample: expected a tensor, got none");
  ASSIGN_OR_RETURN(request.sample, DecodeTensor(message.sample(), "sample"));
  if (message.state_size() > kMaxStateTensors) {
    return InvalidArgument(Format("state: expected at most {} tensors, got {}", kMaxStateTensors,
                                  message.state_size()));
  }
  for (int i = 0; i < message.state_size(); ++i) {
    ASSIGN_OR_RETURN(TensorView view,
                     DecodeTensor(message.state(i), Format("state: tensor {}", i)));
    request.state.push_back(std::move(view));
  }
  return OkStatus();
}

void EncodeTensor(OutputTensor tensor, v1::Tensor& message) {
  message.set_name(tensor.name);
  message.set_datatype(std::string(WireName(tensor.dtype)));
  message.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  message.set_raw(std::move(tensor.bytes));
}

void EncodeStep(DenoiseResult result, v1::StepResponse& message) {
  EncodeTensor(std::move(result.sample), *message.mutable_prev_sample());
  EncodeTensor(std::move(result.pred_original_sample), *message.mutable_pred_original_sample());
  for (OutputTensor& tensor : result.state) EncodeTensor(std::move(tensor), *message.add_state());
  message.set_variant(result.variant);
  message.set_step_ms(static_cast<double>(result.timings.compute_ns) * 1e-6);
}

}  // namespace unetd
