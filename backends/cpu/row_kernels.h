// Kernels over a run of elements of any storage dtype; arithmetic in float32. dst may be a source.
#pragma once

#include <cstdint>

#include "backends/api/unetd_backend.h"

namespace unetd::cpu {

struct ElementRun {
  const void* data = nullptr;  // null: absent
  int32_t dtype = 0;
};

struct RowKernels {
  void (*convert)(const void* source, int32_t source_dtype, uint64_t count, void* dst,
                  int32_t dst_dtype);
  // dst = act(source * scale + shift) * factor + residual; factor's first element serves all if
  // `one_factor`.
  void (*transform)(const unetd_elementwise& op, ElementRun source, ElementRun factor,
                    bool one_factor, ElementRun residual, uint64_t count, void* dst,
                    int32_t dst_dtype);
  // dst = the sum over i of weights[i] * (elements from base + offsets[i] bytes on)
  void (*weighted_sum)(const void* base, const uint64_t* offsets, const float* weights,
                       uint32_t taps, int32_t source_dtype, uint64_t count, void* dst,
                       int32_t dst_dtype);
};

namespace avx2 {
extern const RowKernels kRowKernels;
}
namespace avx512 {
extern const RowKernels kRowKernels;
}

}  // namespace unetd::cpu
