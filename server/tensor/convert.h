// Between element types. Same bits on every machine, with or without the CPU's own conversions.
#pragma once

#include <bit>
#include <cstdint>

#include "server/base/status.h"
#include "server/tensor/dtype.h"
#include "server/tensor/tensor.h"

namespace unetd {

// Round to nearest even; too large becomes infinity, subnormal results are kept, a NaN stays a
// (quiet) NaN.
uint16_t FloatToHalf(float value);
float HalfToFloat(uint16_t bits);

inline float BFloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
inline uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40;
  return static_cast<uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? quiet : rounded);
}

// Runs of `count` elements; the pointers are aligned to their elements and do not overlap.
void HalfToFloat(const uint16_t* src, float* dst, uint64_t count);
void FloatToHalf(const float* src, uint16_t* dst, uint64_t count);
void BFloat16ToFloat(const uint16_t* src, float* dst, uint64_t count);
void FloatToBFloat16(const float* src, uint16_t* dst, uint64_t count);

// Every dtype to every dtype; `dst` has room for src.elements() elements of `dst_dtype`, aligned to
// its size, and does not overlap src.
// - To float16 and bfloat16 through float32, as torch does; integers to floats round to nearest
//   even.
// - Floats to integers truncate towards zero, as torch does. A value that the integer type cannot
//   hold (NaN, infinity, out of range) is INVALID_ARGUMENT, naming the element; then what dst holds
//   is unspecified.
// - To bool: is it not zero (NaN is true). A bool that is any byte but 0 counts as 1.
Status Convert(const TensorView& src, DType dst_dtype, void* dst);

// The same into a new tensor of the same shape.
StatusOr<Tensor> ConvertedTo(const TensorView& src, DType dst_dtype);

}  // namespace unetd
