#include "server/rpc/infer_codec.h"

#include <deque>
#include <limits>

#include "server/base/text.h"
#include "server/rpc/message_codec.h"
#include "server/tensor/dtype.h"
#include "server/tensor/shape.h"

namespace unetd {
namespace {

using Message = inference::ModelInferRequest;
using Parameter = inference::InferParameter;
using Parameters = google::protobuf::Map<std::string, Parameter>;

constexpr int kMaxParameters = 64;
constexpr int kMaxInputs = 1024;
constexpr int kMaxRank = 8;

// What the views of a request borrow from.
struct Held {
  Message message;
  std::deque<std::string> owned;  // where bytes had to be made
};

Status WrongType(const std::string& name, const char* expected) {
  return InvalidArgument(Format("request parameter {}: expected {}", Quoted(name), expected));
}

bool IsInteger(const Parameter& value) {
  return value.parameter_choice_case() == Parameter::kInt64Param ||
         value.parameter_choice_case() == Parameter::kUint64Param;
}

Status DecodeTimeout(const std::string& name, const Parameter& value, InferRequest& request) {
  if (!IsInteger(value)) return WrongType(name, "an integer, microseconds");
  const bool is_signed = value.parameter_choice_case() == Parameter::kInt64Param;
  const uint64_t micros =
      is_signed ? static_cast<uint64_t>(value.int64_param()) : value.uint64_param();
  if (is_signed && value.int64_param() < 0) return WrongType(name, "microseconds >= 0");
  // Triton's meaning: 0 is no timeout. More than a year is none either.
  constexpr uint64_t kYear = 365ull * 24 * 3600 * 1'000'000;
  if (micros != 0 && micros < kYear) request.queue_timeout = std::chrono::microseconds(micros);
  return OkStatus();
}

// Triton's meaning: 0 is the default, 1 the highest.
Status DecodePriority(const std::string& name, const Parameter& value, InferRequest& request) {
  const bool is_signed = value.parameter_choice_case() == Parameter::kInt64Param;
  if (!IsInteger(value) || (is_signed && value.int64_param() < 0)) {
    return WrongType(name, "an integer >= 0");
  }
  request.priority = is_signed ? static_cast<uint64_t>(value.int64_param()) : value.uint64_param();
  return OkStatus();
}

// The parameters of tritonclient's calls are accepted, if their types are right; those without
// meaning here are ignored, as Triton ignores them for a model without sequences.
Status DecodeParameters(const Parameters& parameters, InferRequest& request) {
  if (parameters.size() > kMaxParameters) {
    return InvalidArgument(Format("expected at most {} request parameters, got {}", kMaxParameters,
                                  parameters.size()));
  }
  for (const auto& [name, value] : parameters) {
    const auto type = value.parameter_choice_case();
    if (name == "variant") {
      if (type != Parameter::kStringParam) return WrongType(name, "a string");
      request.variant = value.string_param();
    } else if (name == "timeout") {
      RETURN_IF_ERROR(DecodeTimeout(name, value, request));
    } else if (name == "sequence_id") {
      if (!IsInteger(value) && type != Parameter::kStringParam) {
        return WrongType(name, "an integer or a string");
      }
    } else if (name == "priority") {
      RETURN_IF_ERROR(DecodePriority(name, value, request));
    } else if (name == "sequence_start" || name == "sequence_end" ||
               name == "triton_enable_empty_final_response") {
      if (type != Parameter::kBoolParam) return WrongType(name, "a bool");
    } else {
      return InvalidArgument(
          Format("unknown request parameter {}; known: variant, timeout, priority, "
                 "sequence_id, sequence_start, sequence_end",
                 Quoted(name)));
    }
  }
  return OkStatus();
}

Status RefuseTensorParameters(const Parameters& parameters, const std::string& tensor) {
  for (const auto& [name, value] : parameters) {
    if (name.starts_with("shared_memory_")) {
      return Unimplemented(
          Format("tensor {}: shared memory is not offered; send the bytes in the message",
                 Quoted(tensor)));
    }
    return InvalidArgument(Format("tensor {}: unknown parameter {}", Quoted(tensor), Quoted(name)));
  }
  return OkStatus();
}

// The typed field that `dtype` travels in, as bytes. Empty data with *named false: another field is
// set, or none.
template <typename Field>
std::string_view Borrow(const Field& field) {
  return {reinterpret_cast<const char*>(field.data()), field.size() * sizeof(*field.data())};
}

// int_contents and uint_contents hold narrower types too: checked, one by one.
template <typename To, typename Field>
StatusOr<std::string> Narrow(const Field& field, const std::string& tensor) {
  std::string bytes(field.size() * sizeof(To), '\0');
  To* out = reinterpret_cast<To*>(bytes.data());
  for (int i = 0; i < field.size(); ++i) {
    if (field[i] < std::numeric_limits<To>::min() || field[i] > std::numeric_limits<To>::max()) {
      return InvalidArgument(Format("inference input {}: element {} is {}, outside its data-type",
                                    Quoted(tensor), i, field[i]));
    }
    out[i] = static_cast<To>(field[i]);
  }
  return bytes;
}

StatusOr<std::string_view> TypedBytes(const Message::InferInputTensor& input, DType dtype,
                                      std::deque<std::string>& owned) {
  const inference::InferTensorContents& c = input.contents();
  const int fields = (c.bool_contents_size() > 0) + (c.int_contents_size() > 0) +
                     (c.int64_contents_size() > 0) + (c.uint_contents_size() > 0) +
                     (c.uint64_contents_size() > 0) + (c.fp32_contents_size() > 0) +
                     (c.fp64_contents_size() > 0) + (c.bytes_contents_size() > 0);
  const auto own = [&](StatusOr<std::string> bytes) -> StatusOr<std::string_view> {
    if (!bytes.ok()) return bytes.status();
    return std::string_view(owned.emplace_back(*std::move(bytes)));
  };
  std::string_view bytes;
  switch (dtype) {
    case DType::kBool:
      bytes = Borrow(c.bool_contents());
      break;
    case DType::kInt32:
      bytes = Borrow(c.int_contents());
      break;
    case DType::kInt64:
      bytes = Borrow(c.int64_contents());
      break;
    case DType::kUInt32:
      bytes = Borrow(c.uint_contents());
      break;
    case DType::kUInt64:
      bytes = Borrow(c.uint64_contents());
      break;
    case DType::kFloat32:
      bytes = Borrow(c.fp32_contents());
      break;
    case DType::kFloat64:
      bytes = Borrow(c.fp64_contents());
      break;
    case DType::kInt8: {
      ASSIGN_OR_RETURN(bytes, own(Narrow<int8_t>(c.int_contents(), input.name())));
      break;
    }
    case DType::kInt16: {
      ASSIGN_OR_RETURN(bytes, own(Narrow<int16_t>(c.int_contents(), input.name())));
      break;
    }
    case DType::kUInt8: {
      ASSIGN_OR_RETURN(bytes, own(Narrow<uint8_t>(c.uint_contents(), input.name())));
      break;
    }
    case DType::kUInt16: {
      ASSIGN_OR_RETURN(bytes, own(Narrow<uint16_t>(c.uint_contents(), input.name())));
      break;
    }
    case DType::kFloat16:
    case DType::kBFloat16:
      return InvalidArgument(Format("inference input {}: {} travels in raw_input_contents only",
                                    Quoted(input.name()), WireName(dtype)));
  }
  if (fields > 1 || (fields == 1 && bytes.empty())) {
    return InvalidArgument(
        Format("inference input {}: contents hold another type than its data-type {}",
               Quoted(input.name()), WireName(dtype)));
  }
  return bytes;
}

Status DecodeInput(Held& held, int index, bool raw, InferRequest& request) {
  const Message& message = held.message;
  const Message::InferInputTensor& input = message.inputs(index);
  if (raw && input.has_contents()) {
    return InvalidArgument(
        Format("inference input {}: expected contents or raw_input_contents, got both",
               Quoted(input.name())));
  }
  const std::optional<DType> dtype = DTypeFromWireName(input.datatype());
  if (!dtype) {
    return InvalidArgument(Format("inference input {}: unknown data-type {}", Quoted(input.name()),
                                  Quoted(input.datatype())));
  }
  if (input.shape_size() > kMaxRank) {
    return InvalidArgument(Format("inference input {}: expected at most {} dimensions, got {}",
                                  Quoted(input.name()), kMaxRank, input.shape_size()));
  }
  NamedTensor tensor;
  tensor.name = input.name();
  tensor.view.dtype = *dtype;
  tensor.view.shape.assign(input.shape().begin(), input.shape().end());
  StatusOr<uint64_t> expected = CheckedBytes(tensor.view.shape, *dtype);
  if (!expected.ok()) {
    return expected.status().WithContext(Format("inference input {}: ", Quoted(input.name())));
  }
  std::string_view bytes;
  if (raw) {
    bytes = message.raw_input_contents(index);
  } else {
    ASSIGN_OR_RETURN(bytes, TypedBytes(input, *dtype, held.owned));
  }
  if (bytes.size() != *expected) {
    return InvalidArgument(
        Format("input byte size mismatch for input {} for model {}. Expected {}, got {}",
               Quoted(input.name()), Quoted(message.model_name()), *expected, bytes.size()));
  }
  tensor.view.data = bytes.data();
  tensor.view.bytes = bytes.size();
  request.inputs.push_back(std::move(tensor));
  return OkStatus();
}

}  // namespace

Status DecodeInfer(const grpc::ByteBuffer& bytes, int limit, InferRequest& request) {
  const auto held = std::make_shared<Held>();
  const Message& message = held->message;
  request.keepalive = held;
  RETURN_IF_ERROR(ParseMessage(bytes, limit, held->message));
  request.model = message.model_name();
  request.version = message.model_version();
  request.id = message.id();
  RETURN_IF_ERROR(DecodeParameters(message.parameters(), request));
  if (message.inputs_size() > kMaxInputs) {
    return InvalidArgument(
        Format("expected at most {} inputs, got {}", kMaxInputs, message.inputs_size()));
  }
  // First: shared memory has no entry in raw_input_contents.
  for (const auto& input : message.inputs()) {
    RETURN_IF_ERROR(RefuseTensorParameters(input.parameters(), input.name()));
  }
  const bool raw = message.raw_input_contents_size() > 0;
  if (raw && message.raw_input_contents_size() != message.inputs_size()) {
    return InvalidArgument(Format("expected {} entries of raw_input_contents, one an input, got {}",
                                  message.inputs_size(), message.raw_input_contents_size()));
  }
  for (int i = 0; i < message.inputs_size(); ++i)
    RETURN_IF_ERROR(DecodeInput(*held, i, raw, request));
  for (const auto& output : message.outputs()) {
    RETURN_IF_ERROR(RefuseTensorParameters(output.parameters(), output.name()));
    request.outputs.push_back(output.name());
    if (request.outputs.size() > kMaxInputs) return InvalidArgument("too many requested outputs");
  }
  return OkStatus();
}

void EncodeInfer(InferResult result, inference::ModelInferResponse& message) {
  message.set_model_name(result.model);
  message.set_model_version(kOnlyVersion);
  message.set_id(result.id);
  (*message.mutable_parameters())["variant"].set_string_param(result.variant);
  for (OutputTensor& tensor : result.outputs) {
    auto& output = *message.add_outputs();
    output.set_name(tensor.name);
    output.set_datatype(std::string(WireName(tensor.dtype)));
    output.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
    message.add_raw_output_contents(std::move(tensor.bytes));
  }
}

}  // namespace unetd
