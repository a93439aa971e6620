#include "server/tensor/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "server/tensor/convert.h"

namespace unetd {
namespace {

// float16 by its definition: 10 bits after the leading one, exponents from -14.
double HalfByDefinition(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const double fraction = bits & 1023;
  double value =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  if (exponent == 31) value = fraction == 0 ? INFINITY : NAN;
  return bits & 0x8000 ? -value : value;
}

// The nearest float16, ties to even, by double arithmetic.
double RoundedByDefinition(float value) {
  if (value == 0 || !std::isfinite(value)) return value;
  const int exponent = std::max(std::ilogb(value), -14);
  const double quantum = std::ldexp(1.0, exponent - 10);
  const double rounded = std::nearbyint(static_cast<double>(value) / quantum) * quantum;
  return std::abs(rounded) > 65504 ? std::copysign(INFINITY, rounded) : rounded;
}

TEST(Half, EveryHalfWidensAndComesBack) {
  std::vector<uint16_t> halves(65536), back(65536);
  std::vector<float> floats(65536);
  for (uint32_t i = 0; i < 65536; ++i) halves[i] = static_cast<uint16_t>(i);
  HalfToFloat(halves.data(), floats.data(), floats.size());
  FloatToHalf(floats.data(), back.data(), back.size());
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto half = static_cast<uint16_t>(i);
    const double expected = HalfByDefinition(half);
    // The run takes the CPU's conversion where it has one, the single value never does: same bits.
    ASSERT_EQ(std::bit_cast<uint32_t>(floats[i]), std::bit_cast<uint32_t>(HalfToFloat(half))) << i;
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(floats[i])) << i;
      ASSERT_EQ(back[i], half | 0x200) << i;  // quiet, payload kept
    } else {
      ASSERT_EQ(floats[i], expected) << i;
      ASSERT_EQ(std::signbit(floats[i]), (i & 0x8000) != 0) << i;
      ASSERT_EQ(back[i], half) << i;
    }
  }
}

// Floats from all over the 32 bits, and those around every tie between two halves.
std::vector<float> Samples() {
  std::vector<float> samples;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 12289) {
    samples.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  }
  for (uint32_t half = 0; half < 0x7C00; ++half) {
    const float low = SoftHalfToFloat(static_cast<uint16_t>(half));
    const float high = half == 0x7BFF ? 65536.0F : SoftHalfToFloat(static_cast<uint16_t>(half + 1));
    const float tie = (low + high) / 2;
    for (const float value : {tie, std::nextafter(tie, low), std::nextafter(tie, high)}) {
      samples.push_back(value);
      samples.push_back(-value);
    }
  }
  return samples;
}

TEST(Half, RoundsToNearestEven) {
  const std::vector<float> samples = Samples();
  std::vector<uint16_t> halves(samples.size());
  FloatToHalf(samples.data(), halves.data(), halves.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    ASSERT_EQ(halves[i], FloatToHalf(samples[i])) << samples[i];
    const double expected = RoundedByDefinition(samples[i]);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(HalfByDefinition(halves[i])));
    } else {
      ASSERT_EQ(HalfByDefinition(halves[i]), expected) << samples[i];
    }
  }
}

TEST(BFloat16, RoundsToNearestEven) {
  const std::vector<float> samples = Samples();
  std::vector<uint16_t> rounded(samples.size());
  std::vector<float> back(samples.size());
  FloatToBFloat16(samples.data(), rounded.data(), rounded.size());
  BFloat16ToFloat(rounded.data(), back.data(), back.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    if (std::isnan(samples[i])) {
      ASSERT_TRUE(std::isnan(back[i])) << i;
      continue;
    }
    // Between its neighbours that end in 16 zero bits; at the middle, the even one.
    const uint32_t bits = std::bit_cast<uint32_t>(samples[i]);
    const uint32_t down = bits & 0xFFFF0000;
    const uint32_t rest = bits & 0xFFFF;
    const bool up = rest > 0x8000 || (rest == 0x8000 && (down & 0x10000));
    ASSERT_EQ(std::bit_cast<uint32_t>(back[i]), up ? down + 0x10000 : down) << samples[i];
  }
}

TEST(BFloat16, SignallingNanStaysNan) {
  const float nan = std::bit_cast<float>(0x7F800001u);
  EXPECT_TRUE(std::isnan(BFloat16ToFloat(FloatToBFloat16(nan))));
  EXPECT_EQ(FloatToBFloat16(std::numeric_limits<float>::max()), 0x7F80);  // rounds to infinity
}

}  // namespace
}  // namespace unetd
