// The one matrix kernel of this backend: convolution and linear alike are
//   c[m, n] = sum over taps t, over channels k: A[m, t, k] * B[t, k, n]
// where m counts the tokens of all rows of the batch, and A's rows are found through an index map
// (stride, padding and nearest resize live in it) in one to four channel segments. B is packed in
// panels of `columns` columns, k-major.
//
// Sums: float32, k in order within a k block, block sums added in order; k blocks depend on K and
// on how products are taken (one by one, or in pairs of bfloat16) alone. No element's sum depends
// on the tile, the task or the batch that it is computed in.
#pragma once

#include <cstdint>

#include "backends/api/unetd_backend.h"

namespace unetd::cpu {

struct GemmSegment {
  uint32_t arg;  // UNETD_ARG_SRC0...
  uint32_t channels;
  int32_t dtype;
  uint64_t token_bytes;
};

// One weight: its columns stand side by side with the other parts' in dst.
struct GemmPart {
  uint32_t weight;  // index in unetd_args.weights
  int32_t bias;     // index in unetd_args.weights, -1 without
  uint32_t columns;
  uint32_t panels;
  uint32_t dst_channel;  // where its first column goes
};

struct GemmPlan {
  uint64_t tokens;  // of dst, a row
  // The source token of (output y, x; tap y, x) is y_map[y * kernel_h + tap y] * in_w + x_map[x *
  // kernel_w + tap x]; padding where either is negative. Without maps a token reads the token of
  // its own number.
  const int32_t* y_map;
  const int32_t* x_map;
  uint32_t in_w, out_w;
  uint32_t kernel_h, kernel_w;

  uint32_t channels;  // of all segments
  uint32_t k;         // kernel_h * kernel_w * channels
  uint32_t k_block;
  uint32_t segments;
  GemmSegment segment[UNETD_MAX_SEGMENTS];

  uint32_t parts;
  GemmPart part[UNETD_MAX_WEIGHTS / 2];
  uint32_t panels;  // of all parts
  int32_t weight_dtype;

  // dst = (act(sum + bias + row_bias) + residual) * out_scale
  uint32_t activation;
  float out_scale;
  int32_t dst_dtype;
  uint64_t dst_token_bytes;
  bool has_residual;
  int32_t residual_dtype;
  uint64_t residual_token_bytes;
  bool has_row_bias;
  int32_t row_bias_dtype;
};

// Tokens [m_begin, m_end) of all rows times panels [panel_begin, panel_end).
struct GemmTask {
  uint64_t m_begin, m_end;
  uint32_t panel_begin, panel_end;
};

// Blocking, as the workspace and the cutting into tasks need it.
constexpr uint32_t kGemmMaxRows = 128;     // tokens a task
constexpr uint32_t kGemmMaxSteps = 512;    // of k, a block
constexpr uint32_t kGemmMaxColumns = 384;  // columns a task

struct GemmKernels {
  uint32_t columns;  // a panel
  uint32_t rows;     // a register tile
  uint32_t step;     // values of k multiplied at once: 1, or 2 of a pair
  uint64_t (*workspace_bytes)(const GemmPlan& plan);
  void (*run)(const GemmPlan& plan, const unetd_exec& exec, const unetd_args& args,
              const GemmTask& task, uint8_t* workspace);
};

namespace avx2 {
extern const GemmKernels kGemmKernels;
}
namespace avx512 {
extern const GemmKernels kGemmKernels;
}
namespace avx512_bf16 {  // for MultipliesPairs (gemm.h) alone
extern const GemmKernels kGemmKernels;
}

}  // namespace unetd::cpu
