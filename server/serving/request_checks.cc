#include "server/serving/request_checks.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "server/attention/row_checks.h"
#include "server/base/text.h"
#include "server/tensor/convert.h"

namespace unetd {
namespace {

const NamedTensor* FindTensor(const std::vector<NamedTensor>& tensors, std::string_view name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const NamedTensor& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

Status CheckTimesteps(const TensorView& view) {
  ASSIGN_OR_RETURN(const Tensor values, ConvertedTo(view, DType::kFloat32));
  for (uint64_t i = 0; i < values.elements(); ++i) {
    const float value = values.as<float>()[i];
    if (!std::isfinite(value)) {
      return InvalidArgument(
          Format("{}[{}]: expected a finite number, got {}", wire::kTimestep, i, value));
    }
  }
  return OkStatus();
}

Status CheckOutputs(const ServedModel& model, const std::vector<std::string>& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] != wire::kOutput) {
      return InvalidArgument(Format("unexpected inference output {} for model {}: it has '{}'",
                                    Quoted(outputs[i]), Quoted(model.name()), wire::kOutput));
    }
    if (i > 0) {
      return InvalidArgument(
          Format("inference output '{}' for model {} is asked for more than once", wire::kOutput,
                 Quoted(model.name())));
    }
  }
  return OkStatus();
}

}  // namespace

Status CheckVersion(std::string_view model, std::string_view version) {
  if (version.empty() || version == kOnlyVersion) return OkStatus();
  const bool digits =
      version.size() <= 64 &&
      std::all_of(version.begin(), version.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
      version.find_first_not_of('0') != std::string_view::npos;
  if (!digits) {
    return InvalidArgument(
        Format("failed to get model version from specified version string {}: version should be an "
               "integral value > 0",
               Quoted(version)));
  }
  // "01" is 1 as well.
  uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(version.data(), version.data() + version.size(), number);
  if (error == std::errc() && number == 1) return OkStatus();
  return NotFound(
      Format("Request for unknown model: {} version {} is not found", Quoted(model), version));
}

Status CheckGroup(const Snapshot& snapshot, const UNetShape& shape, uint32_t rows) {
  return CheckRowGroup(snapshot.bindings, rows, shape.attention_mask != 0, shape.text_mask);
}

Status CheckRows(const ServedModel& model, int64_t rows) {
  if (rows <= model.max_batch()) return OkStatus();
  return InvalidArgument(Format("inference request batch-size must be <= {} for {}, got {}",
                                model.max_batch(), Quoted(model.name()), rows));
}

Status CheckLabels(const ServedModel& model, const std::vector<NamedTensor>& tensors) {
  for (const InputDecl& input : model.unet().inputs()) {
    const NamedTensor* tensor = input.entries ? FindTensor(tensors, input.name) : nullptr;
    if (tensor == nullptr) continue;
    ASSIGN_OR_RETURN(const Tensor values, ConvertedTo(tensor->view, DType::kFloat64));
    for (uint64_t i = 0; i < values.elements(); ++i) {
      const double value = values.as<double>()[i];
      if (!(value >= 0 && value < input.entries)) {
        return InvalidArgument(
            Format("{}[{}]: {} is outside [0, {})", input.name, i, value, input.entries));
      }
      if (value != std::floor(value)) {
        return InvalidArgument(Format("{}[{}]: {} is not a whole number", input.name, i, value));
      }
    }
  }
  return OkStatus();
}

StatusOr<CheckedInfer> CheckInfer(const ServedModel& model, const InferRequest& request) {
  std::vector<NamedShape> sent;
  sent.reserve(request.inputs.size());
  for (const NamedTensor& tensor : request.inputs) {
    sent.push_back({tensor.name, tensor.view.dtype, tensor.view.shape});
  }
  CheckedInfer checked;
  ASSIGN_OR_RETURN(checked.shape, model.unet().Resolve(model.name(), sent));
  const TensorView& sample = FindTensor(request.inputs, wire::kSample)->view;
  RETURN_IF_ERROR(CheckRows(model, sample.shape[0]));
  RETURN_IF_ERROR(CheckOutputs(model, request.outputs));
  RETURN_IF_ERROR(CheckTimesteps(FindTensor(request.inputs, wire::kTimestep)->view));
  RETURN_IF_ERROR(CheckLabels(model, request.inputs));
  checked.rows = static_cast<uint32_t>(sample.shape[0]);
  checked.dtype = sample.dtype;
  return checked;
}

}  // namespace unetd
