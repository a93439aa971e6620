// The reference provider's numbers: values of any stored dtype, activations in fp64.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "backends/api/unetd_backend.h"
#include "server/tensor/convert.h"
#include "server/tensor/half.h"

namespace unetd::reference {

// 0 for a dtype that the reference does not store.
inline uint64_t FloatSize(int32_t dtype) {
  if (dtype == UNETD_DTYPE_F32) return 4;
  return dtype == UNETD_DTYPE_F16 || dtype == UNETD_DTYPE_BF16 ? 2 : 0;
}

inline float LoadFloat(int32_t dtype, const void* base, uint64_t index) {
  const auto* bytes = static_cast<const uint8_t*>(base) + index * FloatSize(dtype);
  if (dtype == UNETD_DTYPE_F32) {
    float value;
    std::memcpy(&value, bytes, sizeof(value));
    return value;
  }
  uint16_t half;
  std::memcpy(&half, bytes, sizeof(half));
  return dtype == UNETD_DTYPE_F16 ? SoftHalfToFloat(half) : BFloat16ToFloat(half);
}

// A bool is whether the value is not 0.
inline void StoreFloat(int32_t dtype, void* base, uint64_t index, double value) {
  if (dtype == UNETD_DTYPE_BOOL) {
    static_cast<uint8_t*>(base)[index] = value != 0;
    return;
  }
  auto* bytes = static_cast<uint8_t*>(base) + index * FloatSize(dtype);
  const auto single = static_cast<float>(value);
  if (dtype == UNETD_DTYPE_F32) {
    std::memcpy(bytes, &single, sizeof(single));
    return;
  }
  const uint16_t half =
      dtype == UNETD_DTYPE_F16 ? SoftFloatToHalf(single) : FloatToBFloat16(single);
  std::memcpy(bytes, &half, sizeof(half));
}

inline float RoundTo(int32_t dtype, float value) {
  if (dtype == UNETD_DTYPE_F16) return SoftHalfToFloat(SoftFloatToHalf(value));
  if (dtype == UNETD_DTYPE_BF16) return BFloat16ToFloat(FloatToBFloat16(value));
  return value;
}

inline double Gelu(double x) { return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0))); }

inline double Activate(uint32_t activation, double x) {
  switch (activation) {
    case UNETD_ACT_SILU:
      return x / (1.0 + std::exp(-x));
    case UNETD_ACT_GELU:
      return Gelu(x);
    case UNETD_ACT_MISH:
      return x * std::tanh(std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))));
    case UNETD_ACT_RELU:
      return x > 0.0 ? x : 0.0;
    default:
      return x;
  }
}

}  // namespace unetd::reference
