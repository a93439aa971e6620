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

// Is it a residual of the UNet's blocks with one dimension more, [steps, rows, ...]?
bool ChangesWithSteps(const NamedTensor& tensor);
// The part of such a tensor for one step.
NamedTensor AtStep(const NamedTensor& tensor, int64_t step);

// Casts `tensor` [rows,E,H,W] into channels [channel, channel + E) of the sample's input blocks of
// rows [first, first + rows).
Status StageChannels(RequestBlocks& blocks, const TensorView& tensor, uint32_t channel,
                     uint32_t first);

// `values` are the row-major float32 elements of `shape`.
StatusOr<OutputTensor> MakeOutput(std::string name, DType dtype, Shape shape, const float* values);
// Room for the elements of `shape`, not yet filled.
OutputTensor EmptyOutput(std::string name, DType dtype, Shape shape);

}  // namespace unetd
