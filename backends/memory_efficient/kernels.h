// The kernels: online softmax over tiles of keys for one head and a block of queries. A panel is as
// many queries as lie side by side in registers, held transposed ([head_dim][lanes]), so that a
// score is a dot product a lane and the softmax never crosses lanes.
#pragma once

#include <cstdint>

#include "backends/api/unetd_backend.h"

namespace unetd::memory_efficient {

constexpr uint32_t kMostKeys = 96;    // of a tile; the row length of packed keys
constexpr uint32_t kMostDepth = 256;  // channels of keys and values that are packed at a time

enum class MaskRows : uint32_t { kNone, kShared, kEach };

// What a descriptor fixes for all rows and heads. Sizes in elements; x_at are floats from the start
// of a thread's workspace. Nothing here grows with the keys.
struct Geometry {
  uint64_t queries, keys;
  uint32_t head_dim;
  MaskRows mask;
  int32_t query_dtype, key_dtype, value_dtype, dst_dtype;
  uint64_t query_stride, key_stride, value_stride, dst_stride, mask_stride;
  float scale;

  uint32_t panel;        // queries, a power of two of vectors
  uint64_t query_block;  // a multiple of panel
  uint64_t key_tile;     // keys between two looks at the softmax, < kMostKeys
  uint32_t depth;        // channels packed at a time: head_dim, or kMostDepth if that is less
  bool copy_values;      // else they are read where they lie
  uint64_t queries_at;   // [query_block / panel][head_dim][panel]
  uint64_t states_at;    // [query_block / panel] states
  uint64_t scores_at;    // [kMostKeys][panel]
  uint64_t mask_at;      // [kMostKeys][panel], if each query has its mask
  uint64_t keys_at;      // [depth][kMostKeys]
  uint64_t values_at;    // [kMostKeys][depth rounded up to 16]
  uint64_t floats;

  // A panel's state: weighted values [head_dim][panel], highest score [panel], sum of weights
  // [panel].
  // Always inlined: the linker must not find one in a file of one instruction set.
  __attribute__((always_inline)) uint64_t state_floats() const {
    return (uint64_t{head_dim} + 2) * panel;
  }
  __attribute__((always_inline)) uint64_t panels(uint64_t count) const {
    return (count + panel - 1) / panel;
  }
};

// One head of one row: addresses of its first channel in the first token.
struct Head {
  const void* query;
  const void* key;
  const void* value;
  void* dst;
  const float* mask;  // of the row; null without one
};

struct Span {
  uint64_t first_query, queries;  // first_query is a multiple of the panel
  uint64_t first_key, keys;       // keys >= 1
};

struct Kernels {
  uint32_t lanes;         // of a vector
  uint32_t widest_panel;  // queries
  // States of the span's panels, over its keys alone. `scratch` holds geometry.floats.
  void (*attend)(const Geometry& geometry, const Head& head, const Span& span, float* scratch,
                 float* states);
  // Adds the states of `parts` parts of the keys, `stride` floats apart, up in the first, in order.
  void (*merge)(const Geometry& geometry, uint64_t queries, uint32_t parts, uint64_t stride,
                float* states);
  // Divides by the sums and writes dst. A query whose keys are all at -infinity gives 0.
  void (*finish)(const Geometry& geometry, const Head& head, uint64_t first_query, uint64_t queries,
                 const float* states);
};

namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}

}  // namespace unetd::memory_efficient
