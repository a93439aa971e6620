// float16 by integer arithmetic: the bits that F16C computes, for CPUs without it and for single
// values.
#pragma once

#include <bit>
#include <cstdint>

namespace unetd {

inline uint16_t SoftFloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) {  // NaN: quiet, with what fits of its payload
    return static_cast<uint16_t>(sign | 0x7E00 | ((magnitude >> 13) & 0x1FF));
  }
  if (magnitude >= 0x477FF000) return static_cast<uint16_t>(sign | 0x7C00);  // rounds above 65504
  uint32_t rounded;
  if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 puts the bits that stay at the mantissa's end, and rounds by the FPU's
    // own rule.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    rounded = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5F);
  } else {
    const uint32_t odd = (magnitude >> 13) & 1;
    rounded = (magnitude - 0x38000000 + 0xFFF + odd) >> 13;
  }
  return static_cast<uint16_t>(sign | rounded);
}

inline float SoftHalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t magnitude = bits & 0x7FFF;
  if (magnitude > 0x7C00) {  // NaN, made quiet
    return std::bit_cast<float>(sign | 0x7FC00000 | (magnitude << 13));
  }
  if (magnitude == 0x7C00) return std::bit_cast<float>(sign | 0x7F800000);
  if (magnitude < 0x400) {  // subnormal: a whole number of 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000));
}

}  // namespace unetd
