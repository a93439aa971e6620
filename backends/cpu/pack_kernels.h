// Packing a checkpoint's matrix into panels for the matrix kernel.
#pragma once

#include <cstdint>

namespace unetd::cpu {

// A matrix of `rows` x (channels * taps), row-major with the taps innermost (as [out, in, kernel_h,
// kernel_w] has them). Panel p holds columns (the matrix's rows) side by side for each k = tap *
// channels + channel:
//   plain:  rows [p * columns, (p + 1) * columns)
//   paired: rows [p * half, (p + 1) * half), then the same of the matrix's lower half (a value and
//   its gate)
// Rows beyond the matrix are zeros. In bf16_pairs (AVX-512 only), a column holds k 0 and 1
// side by side, then 2 and 3; after an odd last k comes a zero.
struct PackShape {
  const void* source;    // set, with its dtype, by PackMatrix
  int32_t source_dtype;  // F32, F16 or BF16
  int32_t packed_dtype;
  bool bf16_pairs;
  uint32_t rows;
  uint32_t channels;
  uint32_t taps;
  bool paired;
};

struct PackKernels {
  // Channels [channel_begin, channel_end), of all taps, of one panel; `packed` is the whole
  // matrix's.
  void (*panel)(const PackShape& shape, uint32_t panel, uint32_t channel_begin,
                uint32_t channel_end, void* packed);
};

namespace avx2 {
extern const PackKernels kPackKernels;
}
namespace avx512 {
extern const PackKernels kPackKernels;
}

}  // namespace unetd::cpu
