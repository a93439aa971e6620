#include "server/serving/stage_inputs.h"

#include <utility>

#include "server/base/text.h"
#include "server/tensor/convert.h"
#include "server/unet/stage_row.h"
#include "server/unet/unet_inputs.h"

namespace unetd {

Status StageInputs(RequestBlocks& blocks, const std::vector<NamedTensor>& tensors, uint32_t first,
                   uint32_t rows) {
  for (const NamedTensor& tensor : tensors) {
    const PlanInput* input = blocks.plan().FindInput(tensor.name);
    if (tensor.name == wire::kTimestep || input == nullptr) continue;
    TensorView row = tensor.view;
    row.shape.erase(row.shape.begin());
    row.bytes /= rows;
    if (row.elements() * DTypeSize(input->dtype) > input->bytes) {
      return Internal(
          Format("input '{}': a row has {} elements, but the plan has room for {} bytes",
                 tensor.name, row.elements(), input->bytes));
    }
    const auto* data = static_cast<const uint8_t*>(tensor.view.data);
    for (uint32_t i = 0; i < rows; ++i) {
      row.data = data + i * row.bytes;
      if (Status status = StageRow(tensor.name, row, input->dtype, blocks.Input(*input, first + i));
          !status.ok()) {
        return status.WithContext(Format("input '{}', row {}: ", tensor.name, i));
      }
    }
  }
  return OkStatus();
}

bool ChangesWithSteps(const NamedTensor& tensor) {
  constexpr size_t kRank = 4;  // of a residual
  const std::string& name = tensor.name;
  return tensor.view.shape.size() == kRank + 1 &&
         (name == wire::kMidResidual || name.starts_with(wire::kDownResidual) ||
          name.starts_with(wire::kAdapterResidual));
}

NamedTensor AtStep(const NamedTensor& tensor, int64_t step) {
  NamedTensor part = tensor;
  part.view.bytes /= static_cast<uint64_t>(tensor.view.shape.front());
  part.view.shape.erase(part.view.shape.begin());
  part.view.data = tensor.view.as<uint8_t>() + static_cast<uint64_t>(step) * part.view.bytes;
  return part;
}

Status StageChannels(RequestBlocks& blocks, const TensorView& tensor, uint32_t channel,
                     uint32_t first) {
  const PlanInput& sample = *blocks.plan().FindInput(wire::kSample);
  const auto rows = static_cast<uint32_t>(tensor.shape.front());
  TensorView row = tensor;
  row.shape.erase(row.shape.begin());
  row.bytes /= rows;
  const uint64_t pixels = static_cast<uint64_t>(row.shape[1] * row.shape[2]);
  const uint64_t offset = channel * pixels * DTypeSize(sample.dtype);
  if (offset + row.elements() * DTypeSize(sample.dtype) > sample.bytes) {
    return Internal(Format("channels {} to {} of the sample are beyond the plan's {} bytes",
                           channel, channel + row.shape[0], sample.bytes));
  }
  for (uint32_t i = 0; i < rows; ++i) {
    row.data = tensor.as<uint8_t>() + i * row.bytes;
    RETURN_IF_ERROR(Convert(row, sample.dtype, blocks.Input(sample, first + i) + offset));
  }
  return OkStatus();
}

OutputTensor EmptyOutput(std::string name, DType dtype, Shape shape) {
  OutputTensor output;
  output.name = std::move(name);
  output.dtype = dtype;
  uint64_t elements = 1;
  for (const int64_t size : shape) elements *= static_cast<uint64_t>(size);
  output.bytes.resize(elements * DTypeSize(dtype));
  output.shape = std::move(shape);
  return output;
}

StatusOr<OutputTensor> MakeOutput(std::string name, DType dtype, Shape shape, const float* values) {
  OutputTensor output = EmptyOutput(std::move(name), dtype, std::move(shape));
  TensorView view;
  view.shape = output.shape;
  view.data = values;
  view.bytes = output.bytes.size() / DTypeSize(dtype) * sizeof(float);
  RETURN_IF_ERROR(Convert(view, dtype, output.bytes.data()));
  return output;
}

}  // namespace unetd
