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
