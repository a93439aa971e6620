// Nearest resize, as torch's `nearest` mode computes it.
#pragma once

#include <algorithm>
#include <cstdint>

namespace unetd::cpu {

// The source index (< in) of index `i` of an axis resized from `in` to `out`.
inline uint32_t NearestSource(uint32_t i, uint32_t in, uint32_t out) {
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  return std::min(static_cast<uint32_t>(static_cast<float>(i) * scale), in - 1);
}

}  // namespace unetd::cpu
