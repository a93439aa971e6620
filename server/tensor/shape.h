// Shapes: sizes of dimensions, outermost first, and their checked products.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/base/status.h"
#include "server/tensor/dtype.h"

namespace unetd {

using Shape = std::vector<int64_t>;

// The product of the sizes (1 for rank 0). INVALID_ARGUMENT for a negative size, or if the sizes
// that are not 0 multiply to more than INT64_MAX.
StatusOr<uint64_t> CheckedElements(const Shape& shape);

// Elements times the dtype's size, as checked.
StatusOr<uint64_t> CheckedBytes(const Shape& shape, DType dtype);

// "[1,4,64,64]"; at most 16 sizes are shown, then "...".
std::string ShapeText(const Shape& shape);

}  // namespace unetd
