#include "server/tensor/tensor.h"

#include <cstring>
#include <utility>

#include "server/base/text.h"

namespace unetd {
namespace {

constexpr uint64_t kAlignment = 64;

}  // namespace

StatusOr<Tensor> Tensor::Allocate(DType dtype, Shape shape) {
  ASSIGN_OR_RETURN(const uint64_t bytes, CheckedBytes(shape, dtype));
  Tensor tensor;
  // At least one unit, so that an empty tensor has an address too. CheckedBytes leaves room to
  // round up.
  const uint64_t room = (bytes / kAlignment + 1) * kAlignment;
  tensor.memory_.reset(std::aligned_alloc(kAlignment, room));
  if (!tensor.memory_) {
    return ResourceExhausted(Format("no memory for a tensor {} of {} ({})", ShapeText(shape),
                                    TorchName(dtype), HumanBytes(bytes)));
  }
  std::memset(tensor.memory_.get(), 0, room);
  tensor.view_ = {dtype, std::move(shape), tensor.memory_.get(), bytes};
  return tensor;
}

StatusOr<Tensor> Tensor::CopyOf(const TensorView& source) {
  ASSIGN_OR_RETURN(Tensor tensor, Allocate(source.dtype, source.shape));
  if (tensor.bytes() != source.bytes) {
    return InvalidArgument(Format("a tensor {} of {} has {} bytes, got {}", ShapeText(source.shape),
                                  TorchName(source.dtype), tensor.bytes(), source.bytes));
  }
  if (source.bytes > 0) std::memcpy(tensor.data(), source.data, source.bytes);
  return tensor;
}

}  // namespace unetd
