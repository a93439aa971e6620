// What operators over rows of tokens share: the segments of src, and small checks.
#pragma once

#include <string>

#include "backends/cpu/op_table.h"

namespace unetd::cpu {

// src0..src3 as one concatenated value.
struct Segments {
  uint32_t count = 0;
  uint64_t channels = 0;  // of all
};
constexpr uint32_t kSegmentBits =
    Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_SRC1) | Bit(UNETD_ARG_SRC2) | Bit(UNETD_ARG_SRC3);
// After CheckArgs. Refuses a gap between segments, and segments whose tokens or storage dtypes do
// not fit.
Answer CheckSegments(const unetd_op_desc& desc, Segments* segments);

// dst (or a residual) has these tokens and channels, and a storage dtype. `op` begins the message.
Answer CheckLike(const char* op, const unetd_op_desc& desc, uint32_t arg, uint64_t tokens,
                 uint64_t channels);

// Activation is one of UNETD_ACT_* without GEGLU.
Answer CheckActivation(const char* op, uint32_t activation);

// For operators that only move data: compute_dtype and sum_dtype are F32 or unsaid.
Answer CheckMovement(const unetd_op_desc& desc);

}  // namespace unetd::cpu
