// The kernels of attention, each a task's worth: one head of one row, a block of queries.
#pragma once

#include <cstdint>

#include "backends/api/unetd_backend.h"

namespace unetd::cpu {

// What is the same for every row and head. Sizes in elements; `queries_at` and so on are floats
// from the start of the thread's workspace.
struct AttentionShape {
  uint64_t queries, keys;
  uint32_t head_dim;
  uint32_t mask;  // 0 none, 1 one row for every query, 2 a row a query
  int32_t query_dtype, key_dtype, value_dtype, dst_dtype;
  uint64_t query_stride, key_stride, value_stride, dst_stride, mask_stride;
  float scale;

  uint64_t query_block;  // queries a task, a multiple of AttentionKernels::panel
  uint64_t key_block;    // keys between two looks at the softmax
  bool pack_keys, pack_values;

  // As the float32 kernels lay them out; pairs of bfloat16 take no more.
  uint64_t queries_at;          // [query_block / panel][head_dim][panel], scaled
  uint64_t out_at;              // the same shape: sums of p * v
  uint64_t scores_at;           // [key_block][panel]
  uint64_t mask_at;             // [key_block][panel]
  uint64_t max_at, sum_at;      // [query_block]
  uint64_t keys_at, values_at;  // [key_block][head_dim rounded up to 16]
  uint64_t floats;              // of a thread's workspace
};

// One head of one row: addresses of its first channel in the first token. `mask` is the row's, or
// null.
struct AttentionHead {
  const void* query;
  const void* key;
  const void* value;
  void* dst;
  const float* mask;
};

struct AttentionKernels {
  uint32_t panel;  // queries side by side in registers
  // Queries [first, first + count) of one head. `scratch` holds shape.floats, 64-byte aligned.
  void (*sdpa)(const AttentionShape& shape, const AttentionHead& head, uint64_t first,
               uint64_t count, float* scratch);
  // Also leaves the head's scores (before the softmax) in `scores`, queries * keys floats: panels
  // of queries one after the other, each [keys][min(panel, queries left)]. `first` is a multiple of
  // panel.
  void (*math)(const AttentionShape& shape, const AttentionHead& head, uint64_t first,
               uint64_t count, float* scores, float* scratch);
};

namespace avx2 {
extern const AttentionKernels kAttentionKernels;
}
namespace avx512 {
extern const AttentionKernels kAttentionKernels;
}
namespace avx512_bf16 {  // sdpa of bfloat16 alone
extern const AttentionKernels kAttentionKernels;
}

}  // namespace unetd::cpu
