// What an operator costs by its descriptor alone, whatever kernel serves it: the work and the bytes
// that a profile measures its time against.
#pragma once

#include <cstdint>

#include "backends/api/unetd_backend.h"

namespace unetd {

struct OperatorCost {
  // Of conv2d, linear and attention, two for a multiplication and its addition, as their formulas
  // have them: Winograd's way needs fewer. 0 of the others, which are a matter of bytes.
  uint64_t row_flops = 0;
  uint64_t row_bytes = 0;     // operands, each once
  uint64_t weight_bytes = 0;  // as stored, each once, whatever the rows

  uint64_t Flops(uint64_t rows) const { return rows * row_flops; }
  uint64_t Bytes(uint64_t rows) const { return rows * row_bytes + weight_bytes; }
};

OperatorCost CostOf(const unetd_op_desc& desc);

}  // namespace unetd
