// Attention on the cpu: what its algorithms share. math and sliced are attention_math.*, sdpa is
// attention_sdpa.*.
#pragma once

#include "backends/cpu/attention_kernels.h"
#include "backends/cpu/op_table.h"

namespace unetd::cpu {

// The descriptor as the kernels want it, cut into blocks by a rule of the descriptor and the
// instruction set alone. `pairs`: for the kernels that multiply bfloat16.
AttentionShape ShapeOf(const unetd_op_desc& desc, uint32_t panel, bool pairs);

// One head of one row.
AttentionHead HeadOf(const unetd_op_desc& desc, const unetd_exec& exec, const unetd_args& args,
                     uint32_t row, uint32_t head);

}  // namespace unetd::cpu
