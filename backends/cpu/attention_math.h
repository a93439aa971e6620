// Attention with its whole score matrix in memory: math, all heads at once (heads * Q * K floats),
// and sliced, the same arithmetic with slice_size heads at a time (slice_size * Q * K floats),
// equal to math bit by bit. Rows take turns.
#pragma once

#include <memory>

#include "backends/cpu/op_table.h"

namespace unetd::cpu {

Answer MakeMath(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel);

}  // namespace unetd::cpu
