// The operators that op_table.cc lists.
#pragma once

#include "backends/cpu/op_table.h"

namespace unetd::cpu {

extern const OpEntry kConv2dOp;       // conv2d.cc
extern const OpEntry kLinearOp;       // linear.cc
extern const OpEntry kAttentionOp;    // attention.cc
extern const OpEntry kCopyOp;         // copy.cc
extern const OpEntry kElementwiseOp;  // elementwise.cc
extern const OpEntry kGatherRowsOp;   // gather_rows.cc
extern const OpEntry kGroupNormOp;    // group_norm.cc
extern const OpEntry kLayerNormOp;    // layer_norm.cc
extern const OpEntry kLayoutOp;       // layout.cc
extern const OpEntry kLookupOp;       // lookup.cc
extern const OpEntry kResizeOp;       // resize.cc
extern const OpEntry kSinusoidOp;     // sinusoid.cc

}  // namespace unetd::cpu
