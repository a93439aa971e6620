#include "server/rpc/denoise_codec.h"

#include "server/base/text.h"
#include "server/rpc/message_codec.h"
#include "server/tensor/dtype.h"
#include "server/tensor/shape.h"

namespace unetd {
namespace {

constexpr int kMaxRank = 8;
constexpr int kMaxTensors = 1024;
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

}  // namespace

Status DecodeDenoise(const grpc::ByteBuffer& bytes, int limit, DenoiseRequest& request) {
  const auto held = std::make_shared<v1::DenoiseRequest>();
  const v1::DenoiseRequest& message = *held;
  request.keepalive = held;
  RETURN_IF_ERROR(ParseMessage(bytes, limit, *held));
  request.model = message.model();
  request.variant = message.variant();
  request.id = message.id();
  request.scheduler_json = message.scheduler_json();
  request.num_inference_steps =
      message.num_inference_steps() ? message.num_inference_steps() : kDefaultSteps;
  request.start_step = message.start_step();
  if (message.end_step() != 0) request.end_step = message.end_step();
  if (message.has_latents()) {
    ASSIGN_OR_RETURN(request.latents, DecodeTensor(message.latents(), "latents"));
  }
  if (message.shape_size() > kMaxRank) {
    return InvalidArgument(Format("shape: expected 4 dimensions, got {}", message.shape_size()));
  }
  request.shape.assign(message.shape().begin(), message.shape().end());
  for (int64_t seed : message.seeds()) request.seeds.push_back(static_cast<uint64_t>(seed));
  RETURN_IF_ERROR(DecodeConditions(message.conditions(), "conditions", request.conditions));
  RETURN_IF_ERROR(DecodeConditions(message.negative_conditions(), "negative_conditions",
                                   request.negative_conditions));
  if (message.has_guidance_scale()) request.guidance_scale = message.guidance_scale();
  request.guidance_rescale = message.guidance_rescale();
  request.eta = message.eta();
  request.use_clipped_model_output = message.use_clipped_model_output();
  if (message.has_noise()) {
    ASSIGN_OR_RETURN(request.noise, DecodeTensor(message.noise(), "noise"));
  }
  request.preview_every = message.preview_every();
  return OkStatus();
}

void EncodeTensor(OutputTensor tensor, v1::Tensor& message) {
  message.set_name(tensor.name);
  message.set_datatype(std::string(WireName(tensor.dtype)));
  message.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  message.set_raw(std::move(tensor.bytes));
}

}  // namespace unetd
