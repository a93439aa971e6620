// Nearest resize, as torch's interpolate(mode="nearest") picks its source.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace unetd::reference {

// The source index of `index` when `in` pixels become `out`. torch multiplies by a float32 ratio,
// so its rounding is part of the rule; equal and doubled sizes are exact there too.
inline uint64_t NearestSource(int64_t index, uint64_t in, uint64_t out) {
  if (in == out) return static_cast<uint64_t>(index);
  if (out == 2 * in) return static_cast<uint64_t>(index) / 2;
  const float ratio = static_cast<float>(in) / static_cast<float>(out);
  const auto source = static_cast<uint64_t>(std::floor(static_cast<float>(index) * ratio));
  return std::min(source, in - 1);
}

}  // namespace unetd::reference
