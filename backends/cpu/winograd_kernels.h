// 3x3 stride-1 convolution by Winograd's F(size, 3), size 2 or 4: an image is cut into tiles of
// size x size outputs, each of which sees (size + 2)^2 inputs. Transformed inputs and weights are
// multiplied component by component, as (size + 2)^2 independent matrix products, and the sums are
// transformed back: 16 products for 4 outputs, or 36 for 16, where the direct sum takes 9 for each.
//
// A block of tiles (of any rows of the batch) passes through three steps, each cut into tasks;
// between steps its values lie in the run's workspace. A tile's numbers do not depend on the block
// that it is in.
#pragma once

#include <cstdint>

#include "backends/cpu/gemm_kernels.h"

namespace unetd::cpu {

struct WinogradPlan {
  // Segments, parts, epilogue and k blocks (k is a channel here). Its maps give the source index of
  // a padded coordinate: of tile row y, line i: y_map[y * size + i]; negative in the padding.
  GemmPlan gemm;
  uint32_t size;        // 2 or 4
  uint32_t components;  // (size + 2)^2
  uint32_t out_h;       // gemm.out_w is the width
  uint32_t tiles_x;     // of one row of the batch
  uint32_t tiles;
  uint32_t block_tiles;  // capacity of a block
};

// A block of `tiles` tiles from `first` (counted over all rows of the batch), and its two buffers.
struct WinogradBlock {
  uint64_t first;
  uint32_t tiles;
  float* inputs;  // [component][k block][tile][k], as rows of the matrix kernel
  float* sums;    // [component][panel][tile][column]
};

struct WinogradKernels {
  uint64_t (*input_floats)(const WinogradPlan& plan);  // of one block
  uint64_t (*sum_floats)(const WinogradPlan& plan);
  void (*transform_input)(const WinogradPlan& plan, const unetd_exec& exec, const unetd_args& args,
                          const WinogradBlock& block, uint32_t tile);
  void (*multiply)(const WinogradPlan& plan, const unetd_args& args, const WinogradBlock& block,
                   uint32_t component, uint32_t panel_begin, uint32_t panel_end);
  void (*transform_output)(const WinogradPlan& plan, const unetd_exec& exec, const unetd_args& args,
                           const WinogradBlock& block, uint32_t tile);
  // Packs channels [begin, end), multiples of a vector, of one panel: [out, channels, 3, 3] to
  // [component][panel][channel][column]. Weights are rounded to `stored_dtype`; their transform is
  // computed in double and rounded once.
  void (*pack)(uint32_t size, const void* source, int32_t source_dtype, int32_t stored_dtype,
               uint32_t out, uint32_t channels, uint32_t panel, uint32_t begin, uint32_t end,
               float* packed);
};

namespace avx2 {
extern const WinogradKernels kWinogradKernels;
}
namespace avx512 {
extern const WinogradKernels kWinogradKernels;
}

}  // namespace unetd::cpu
