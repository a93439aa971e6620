#include "server/tensor/shape.h"

#include <limits>

#include "server/base/text.h"

namespace unetd {

StatusOr<uint64_t> CheckedElements(const Shape& shape) {
  int64_t product = 1;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) {
      return InvalidArgument(
          Format("shape {}: expected sizes >= 0, got {}", ShapeText(shape), size));
    }
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(product, size, &product)) {
      return InvalidArgument(Format("shape {}: more than {} elements", ShapeText(shape),
                                    std::numeric_limits<int64_t>::max()));
    }
  }
  return empty ? 0 : static_cast<uint64_t>(product);
}

StatusOr<uint64_t> CheckedBytes(const Shape& shape, DType dtype) {
  ASSIGN_OR_RETURN(const uint64_t elements, CheckedElements(shape));
  int64_t bytes = 0;
  if (__builtin_mul_overflow(elements, DTypeSize(dtype), &bytes)) {
    return InvalidArgument(Format("shape {} of {}: more than {} bytes", ShapeText(shape),
                                  TorchName(dtype), std::numeric_limits<int64_t>::max()));
  }
  return static_cast<uint64_t>(bytes);
}

std::string ShapeText(const Shape& shape) {
  constexpr size_t kShown = 16;
  std::string text = "[";
  for (size_t i = 0; i < shape.size() && i < kShown; ++i) {
    if (i > 0) text += ",";
    text += std::to_string(shape[i]);
  }
  if (shape.size() > kShown) text += ",...";
  return text + "]";
}

}  // namespace unetd
