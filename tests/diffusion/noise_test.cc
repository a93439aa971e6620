#include "server/diffusion/noise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "server/diffusion/guidance.h"

namespace unetd {
namespace {

using Words = std::array<uint32_t, 4>;

// The known answers that come with Random123.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

std::vector<float> Normal(uint64_t seed, uint32_t stream, size_t count) {
  std::vector<float> values(count);
  FillNormal(seed, stream, values);
  return values;
}

TEST(Noise, IsStandardNormal) {
  const size_t count = 200'000;
  const std::vector<float> values = Normal(7, kLatentStream, count);
  double sum = 0, squares = 0, fourth = 0;
  for (const float v : values) {
    sum += v;
    squares += v * v;
    fourth += static_cast<double>(v) * v * v * v;
  }
  const double n = static_cast<double>(count);
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / n, 3, 5 * std::sqrt(96 / n));
}

// So many that some words lie near their ends, where x + 1 differs from x.
TEST(Noise, TheDocumentedFormulaHoldsForEveryWord) {
  const std::vector<float> values = Normal(5, 3, 400'000);
  for (uint32_t block = 0; block < 100'000; ++block) {
    const Words words = Philox4x32({block, 0, 3, 0}, {5, 0});
    for (int pair = 0; pair < 4; pair += 2) {
      const double radius = std::sqrt(-2 * std::log((words[pair] + 1.0) / 4294967296.0));
      const double angle = 2 * M_PI * words[pair + 1] / 4294967296.0;
      ASSERT_FLOAT_EQ(values[block * 4 + pair], static_cast<float>(radius * std::cos(angle)));
      ASSERT_FLOAT_EQ(values[block * 4 + pair + 1], static_cast<float>(radius * std::sin(angle)));
    }
  }
}

TEST(Noise, APrefixIsTheSameWhateverTheLength) {
  const std::vector<float> longer = Normal(3, 0, 103);
  for (const size_t count : {1u, 2u, 3u, 4u, 5u, 97u}) {
    const std::vector<float> values = Normal(3, 0, count);
    EXPECT_TRUE(std::equal(values.begin(), values.end(), longer.begin())) << count;
  }
}

TEST(Noise, SeedsAndStreamsDiffer) {
  const std::vector<float> a = Normal(1, 0, 64);
  EXPECT_NE(a, Normal(2, 0, 64));
  EXPECT_NE(a, Normal(uint64_t{1} << 32 | 1, 0, 64));
  EXPECT_NE(a, Normal(1, StepStream(0), 64));
  EXPECT_NE(Normal(1, StepStream(0), 64), Normal(1, StepStream(1), 64));
}

// A client may rely on these: another program can make the same noise.
TEST(Noise, FirstValuesOfSeed42AreFixed) {
  const std::vector<float> values = Normal(42, kLatentStream, 4);
  const std::array<uint32_t, 4> words = Philox4x32({0, 0, 0, 0}, {42, 0});
  const double radius = std::sqrt(-2 * std::log((words[0] + 1.0) / 4294967296.0));
  EXPECT_FLOAT_EQ(values[0],
                  static_cast<float>(radius * std::cos(2 * M_PI * words[1] / 4294967296.0)));
  EXPECT_FLOAT_EQ(values[1],
                  static_cast<float>(radius * std::sin(2 * M_PI * words[1] / 4294967296.0)));
}

TEST(Guidance, CombinesAndRescalesAsDiffusers) {
  const std::vector<float> uncond = {0.1f, -0.4f, 0.7f, 1.0f};
  const std::vector<float> cond = {0.3f, 0.2f, -0.5f, 1.5f};
  std::vector<float> out(4);
  Guide(uncond.data(), cond.data(), 4, {.scale = 7.5, .rescale = 0}, out.data());
  const std::vector<float> plain = {1.6f, 4.1f, -8.3f, 4.75f};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(out[i], plain[i], 1e-5);
  // rescale_noise_cfg(cfg, cond, 0.7) of diffusers 0.42.1.
  Guide(uncond.data(), cond.data(), 4, {.scale = 7.5, .rescale = 0.7}, out.data());
  const std::vector<float> rescaled = {0.633781f, 1.624064f, -3.287740f, 1.881538f};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(out[i], rescaled[i], 1e-5);
  EXPECT_FALSE(GuidanceOptions{.scale = 1}.on());
  EXPECT_TRUE(GuidanceOptions{.scale = 1.01}.on());
}

}  // namespace
}  // namespace unetd
