// The kernels of group_norm and layer_norm, each a block of tokens' worth.
#pragma once

#include <cstdint>

#include "backends/api/unetd_backend.h"

namespace unetd::cpu {

// Tokens [0, count) of the concatenated segments; `data` is the first one's first channel.
struct NormSegment {
  const void* data;
  uint64_t stride;
  uint32_t channels;
  int32_t dtype;
};
struct NormBlock {
  NormSegment segments[UNETD_MAX_SEGMENTS];
  uint32_t segment_count;
  uint32_t channels;  // of all segments
  uint64_t tokens;
};

// What one block of tokens says about one group.
struct GroupMoments {
  double mean;
  double squares;  // sum of (x - mean)^2
};

struct NormKernels {
  // moments[g] of each group. `room` holds RoundUp(channels, 16) * 6 floats.
  void (*moments)(const NormBlock& block, uint32_t groups, float* room, GroupMoments* moments);
  // dst = act((x - mean[c]) * scale[c] + shift[c]). `room` as above.
  void (*apply)(const NormBlock& block, const float* mean, const float* scale, const float* shift,
                uint32_t activation, float* room, void* dst, int32_t dst_dtype,
                uint64_t dst_stride);
  // Over the channels of each token of the one segment; gamma and beta may be null. `room` as
  // above.
  void (*layer_norm)(const NormBlock& block, const float* gamma, const float* beta, float eps,
                     float* room, void* dst, int32_t dst_dtype, uint64_t dst_stride);
};

namespace avx2 {
extern const NormKernels kNormKernels;
}
namespace avx512 {
extern const NormKernels kNormKernels;
}

}  // namespace unetd::cpu
