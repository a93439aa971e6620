// Kernels over a run of elements of any storage dtype; arithmetic in float32. dst may be a source.
#pragma once

#include <cstdint>

#include "backends/api/unetd_backend.h"

namespace unetd::cpu {

struct RowKernels {
  void (*convert)(const void* source, int32_t source_dtype, uint64_t count, void* dst,
                  int32_t dst_dtype);
  // dst = act(source * scale + shift) + residual (if not null)
  void (*transform)(const unetd_elementwise& op, const void* source, int32_t source_dtype,
                    const void* residual, int32_t residual_dtype, uint64_t count, void* dst,
                    int32_t dst_dtype);
  // dst = (a + b + c + d) / 4
  void (*average)(const void* const sources[4], int32_t source_dtype, uint64_t count, void* dst,
                  int32_t dst_dtype);
};

namespace avx2 {
extern const RowKernels kRowKernels;
}
namespace avx512 {
extern const RowKernels kRowKernels;
}

}  // namespace unetd::cpu
