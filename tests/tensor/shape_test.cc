#include "server/tensor/shape.h"

#include <gtest/gtest.h>

namespace unetd {
namespace {

constexpr int64_t kMost = INT64_MAX;

TEST(CheckedElements, Multiplies) {
  EXPECT_EQ(*CheckedElements({}), 1u);
  EXPECT_EQ(*CheckedElements({1, 4, 64, 64}), 16384u);
  EXPECT_EQ(*CheckedElements({3, 0, 5}), 0u);
  EXPECT_EQ(*CheckedElements({kMost}), static_cast<uint64_t>(kMost));
}

TEST(CheckedElements, RefusesNegativesAndOverflow) {
  EXPECT_EQ(CheckedElements({2, -1}).status().code(), Code::kInvalidArgument);
  EXPECT_NE(CheckedElements({2, -1}).status().message().find("[2,-1]"), std::string::npos);
  EXPECT_FALSE(CheckedElements({-1, -1}).ok());
  EXPECT_FALSE(CheckedElements({INT64_MIN}).ok());
  // These wrap to small numbers in 64 bits.
  EXPECT_FALSE(CheckedElements({int64_t{1} << 32, int64_t{1} << 32}).ok());
  EXPECT_FALSE(CheckedElements({int64_t{1} << 62, 4, 3}).ok());
  EXPECT_FALSE(CheckedElements({kMost, kMost, 0}).ok());
}

TEST(CheckedBytes, RefusesWhatOverflowsInBytesOnly) {
  EXPECT_EQ(*CheckedBytes({2, 3}, DType::kFloat64), 48u);
  EXPECT_EQ(*CheckedBytes({kMost}, DType::kInt8), static_cast<uint64_t>(kMost));
  EXPECT_FALSE(CheckedBytes({kMost / 2}, DType::kFloat32).ok());
  EXPECT_FALSE(CheckedBytes({kMost / 2 + 1}, DType::kInt16).ok());
  EXPECT_TRUE(CheckedBytes({kMost / 2}, DType::kInt16).ok());
}

TEST(ShapeText, ListsSizes) {
  EXPECT_EQ(ShapeText({}), "[]");
  EXPECT_EQ(ShapeText({1, 4, 64, 64}), "[1,4,64,64]");
  EXPECT_EQ(ShapeText({-1}), "[-1]");
  EXPECT_EQ(ShapeText(Shape(4096, 1)), "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,...]");
}

}  // namespace
}  // namespace unetd
