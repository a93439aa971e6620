#include "server/base/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace unetd {
namespace {

struct Vector {
  size_t length;
  uint64_t unseeded;
  uint64_t seeded;
};

// Computed by the reference library (libxxhash 0.8.1) over byte i = 131 i + 7, seeds 0 and
// 0x9E3779B97F4A7C15.
constexpr Vector kVectors[] = {
    {0, 0xEF46DB3751D8E999, 0xC4349FC93C010000},   {1, 0xA96C7F0CE858BBB7, 0x585882422A6165E7},
    {3, 0xBED43740EE6332BB, 0x45FA1406538FA168},   {4, 0xFA212AE44B3BB23D, 0xA65107F22943365A},
    {7, 0x2744460DD675D2C0, 0xC9B637E2C4599DE2},   {8, 0x994B676B71CE94DD, 0xCE592D5F53E192EC},
    {15, 0x09E6451ED2FF8B1D, 0x47A857D1F90C35E1},  {31, 0x6711D55E306B5D8F, 0x24C4E99AB0404B5E},
    {32, 0x07F7B8E3BC5D6E25, 0x046E99BBDA1A814B},  {33, 0x09F85EEB4E1CBE9F, 0xD7FE2BFEE6E4CDED},
    {63, 0xB7C9968C066CB6A5, 0xBD457F9EA47180C8},  {64, 0x50D4159A0411632E, 0xA768F350A8E4FCF6},
    {100, 0x9DDADA11D3DC2D8F, 0x35546BD9A4779AE4},
};

TEST(StableHash, IsXxh64) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes += static_cast<char>(i * 131 + 7);
  for (const Vector& vector : kVectors) {
    const std::string_view part = std::string_view(bytes).substr(0, vector.length);
    EXPECT_EQ(StableHash(part), vector.unseeded) << vector.length;
    EXPECT_EQ(StableHash(part, 0x9E3779B97F4A7C15), vector.seeded) << vector.length;
  }
  EXPECT_EQ(StableHash("abc"), 0x44BC2CF5AD770999u);
}

TEST(StableHash, ReadsAnyAlignment) {
  const std::string bytes(71, 'q');
  for (size_t shift = 1; shift < 8; ++shift) {
    const std::string moved = std::string(shift, '-') + bytes;
    EXPECT_EQ(StableHash(std::string_view(moved).substr(shift)), StableHash(bytes));
  }
}

}  // namespace
}  // namespace unetd
