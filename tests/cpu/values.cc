#include "tests/cpu/values.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace unetd::test {
namespace {

uint16_t HalfBits(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return 0x7e00;
  const double size = std::fabs(value);
  if (size >= 65520) return sign | 0x7c00;
  if (size == 0) return sign;
  int exponent = std::max(std::ilogb(size), -14);
  double units = std::nearbyint(std::ldexp(size, 10 - exponent));
  if (units >= 2048) {
    units = 1024;
    ++exponent;
  }
  const int biased = units < 1024 ? 0 : exponent + 15;
  return static_cast<uint16_t>(sign | (biased << 10) | (static_cast<int>(units) & 0x3ff));
}
double HalfValue(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 0x3ff;
  double value = exponent == 31  ? (fraction != 0 ? NAN : INFINITY)
                 : exponent == 0 ? std::ldexp(fraction, -24)
                                 : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -value : value;
}
uint16_t BrainBits(double value) {
  if (std::isnan(value)) return 0x7fc0;
  const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  if (std::isinf(value)) return static_cast<uint16_t>(bits >> 16);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace

uint32_t Bytes(int32_t dtype) {
  switch (dtype) {
    case UNETD_DTYPE_F32:
    case UNETD_DTYPE_I32:
      return 4;
    case UNETD_DTYPE_F16:
    case UNETD_DTYPE_BF16:
      return 2;
    default:
      return 8;
  }
}

void Put(uint8_t* p, int32_t dtype, double value) {
  if (dtype == UNETD_DTYPE_F32) {
    const float x = static_cast<float>(value);
    std::memcpy(p, &x, 4);
  } else if (dtype == UNETD_DTYPE_I32) {
    const int32_t x = static_cast<int32_t>(value);
    std::memcpy(p, &x, 4);
  } else {
    const uint16_t x = dtype == UNETD_DTYPE_F16 ? HalfBits(value) : BrainBits(value);
    std::memcpy(p, &x, 2);
  }
}
double Get(const uint8_t* p, int32_t dtype) {
  if (dtype == UNETD_DTYPE_F32) {
    float x;
    std::memcpy(&x, p, 4);
    return x;
  }
  if (dtype == UNETD_DTYPE_I32) {
    int32_t x;
    std::memcpy(&x, p, 4);
    return x;
  }
  uint16_t x;
  std::memcpy(&x, p, 2);
  return dtype == UNETD_DTYPE_F16
             ? HalfValue(x)
             : static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(x) << 16));
}

double Rounded(double value, int32_t dtype) {
  uint8_t bytes[8];
  Put(bytes, dtype, value);
  return Get(bytes, dtype);
}

std::vector<double> Noise(uint64_t count, uint64_t seed, int32_t dtype, double scale,
                          double offset) {
  std::vector<double> values(count);
  uint64_t state = seed * 0x9E3779B97F4A7C15u + 0x123456789u;
  for (double& value : values) {
    state += 0x9E3779B97F4A7C15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    value = Rounded((static_cast<double>(z >> 11) * 0x1p-52 - 1.0) * scale + offset, dtype);
  }
  return values;
}

unetd_view View(uint64_t tokens, uint32_t channels, int32_t dtype, uint64_t stride) {
  return {tokens, stride == 0 ? channels : stride, channels, dtype};
}

unetd_op_desc Desc(uint32_t kind) {
  unetd_op_desc desc{};
  desc.struct_size = sizeof(desc);
  desc.kind = kind;
  desc.weight_dtype = UNETD_DTYPE_F32;
  desc.compute_dtype = UNETD_DTYPE_F32;
  desc.sum_dtype = UNETD_DTYPE_F32;
  return desc;
}

double Epsilon(int32_t dtype) {
  return dtype == UNETD_DTYPE_F16 ? 0x1p-11 : dtype == UNETD_DTYPE_BF16 ? 0x1p-8 : 0x1p-24;
}

}  // namespace unetd::test
