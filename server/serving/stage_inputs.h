// Between a request's tensors and a plan's blocks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/plan/request_blocks.h"
#include "server/serving/request.h"

namespace unetd {

// Casts `tensors`, each of `rows` rows, into the input blocks of rows [first, first + rows). Skips
// the timestep and what the plan does not read.
Status StageInputs(RequestBlocks& blocks, const std::vector<NamedTensor>& tensors, uint32_t first,
                   uint32_t rows);

// `values` are the row-major float32 elements of `shape`.
StatusOr<OutputTensor> MakeOutput(std::string name, DType dtype, Shape shape, const float* values);
// Room for the elements of `shape`, not yet filled.
OutputTensor EmptyOutput(std::string name, DType dtype, Shape shape);

}  // namespace unetd
