// How one row of an input comes into the block of a request.
#pragma once

#include <cstdint>
#include <string_view>

#include "server/base/status.h"
#include "server/tensor/tensor.h"

namespace unetd {

// Of one of GLIGEN's boxes: 8 frequencies of each of its 4 numbers.
inline constexpr uint32_t kBoxNumbers = 4;
inline constexpr uint32_t kBoxFeatures = 64;

// Writes `row`, a row of the input `name` of a UNet, to `dst` as elements of `dtype`: cast, and of
// wire::kBoxes the features that position_net reads, kBoxFeatures for each box. `dst` is what the
// plan has for a row of that input. Errors are Convert's.
Status StageRow(std::string_view name, const TensorView& row, DType dtype, void* dst);

}  // namespace unetd
