// What group_norm and layer_norm share.
#pragma once

#include "backends/cpu/norm_kernels.h"
#include "backends/cpu/op_table.h"

namespace unetd::cpu {

// Tokens [first, last) of the segments of one row.
NormBlock BlockOf(const unetd_op_desc& desc, const unetd_exec& exec, const unetd_args& args,
                  uint32_t row, uint64_t first, uint64_t last);

// Gamma and beta are there if the descriptor says so.
Answer CheckAffine(uint32_t affine, const unetd_args& args);

// Floats of a thread's workspace that the norm kernels want.
inline uint64_t NormRoom(uint64_t channels) { return RoundUp(channels, 16) * 6; }

}  // namespace unetd::cpu
