// Transposes between planar and channels-last, a block of tokens' worth.
#pragma once

#include <cstdint>

#include "backends/api/unetd_backend.h"

namespace unetd::cpu {

// A matrix with its columns side by side in memory: `row` elements from one row to the next.
struct Matrix {
  void* data;
  uint64_t row;
  int32_t dtype;
};

struct LayoutKernels {
  // to[j][i] = from[i][j] * scale + shift, for i < rows, j < columns
  void (*transpose)(const Matrix& from, const Matrix& to, uint64_t rows, uint64_t columns,
                    float scale, float shift);
};

namespace avx2 {
extern const LayoutKernels kLayoutKernels;
}
namespace avx512 {
extern const LayoutKernels kLayoutKernels;
}

}  // namespace unetd::cpu
