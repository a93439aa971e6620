#include "server/tensor/convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace unetd {
namespace {

constexpr DType kAll[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat64,
                          DType::kBool,    DType::kInt8,    DType::kInt16,    DType::kInt32,
                          DType::kInt64,   DType::kUInt8,   DType::kUInt16,   DType::kUInt32,
                          DType::kUInt64};

template <typename T>
TensorView ViewOf(DType dtype, const std::vector<T>& values) {
  return {dtype, {static_cast<int64_t>(values.size())}, values.data(), values.size() * sizeof(T)};
}

template <typename To, typename From>
std::vector<To> Converted(DType from, const std::vector<From>& values, DType to) {
  std::vector<To> out(values.size());
  const Status status = Convert(ViewOf(from, values), to, out.data());
  EXPECT_TRUE(status.ok()) << status.message();
  return out;
}

// 0, 1 and (but for bool) 100 are numbers of every type: they must survive every pair.
TEST(Convert, EveryPairKeepsSmallIntegers) {
  const std::vector<float> numbers = {0, 1, 100};
  for (const DType from : kAll) {
    for (const DType to : kAll) {
      auto first = ConvertedTo(ViewOf(DType::kFloat32, numbers), from);
      ASSERT_TRUE(first.ok());
      auto second = ConvertedTo(first->View(), to);
      ASSERT_TRUE(second.ok()) << TorchName(from) << " to " << TorchName(to);
      EXPECT_EQ(second->dtype(), to);
      auto last = ConvertedTo(second->View(), DType::kFloat32);
      ASSERT_TRUE(last.ok());
      const float third = from == DType::kBool || to == DType::kBool ? 1 : 100;
      EXPECT_EQ(last->as<float>()[0], 0);
      EXPECT_EQ(last->as<float>()[1], 1);
      EXPECT_EQ(last->as<float>()[2], third) << TorchName(from) << " to " << TorchName(to);
    }
  }
}

TEST(Convert, IntegersToFloatsRoundToNearestEven) {
  EXPECT_EQ(Converted<float>(DType::kInt64, std::vector<int64_t>{16777217, 16777219, -16777217},
                             DType::kFloat32),
            (std::vector<float>{16777216, 16777220, -16777216}));
  EXPECT_EQ(
      Converted<uint16_t>(DType::kInt32, std::vector<int32_t>{2049, 2051, 70000}, DType::kFloat16),
      (std::vector<uint16_t>{FloatToHalf(2048), FloatToHalf(2052), 0x7C00}));
  EXPECT_EQ(Converted<uint16_t>(DType::kUInt16, std::vector<uint16_t>{257}, DType::kBFloat16),
            (std::vector<uint16_t>{FloatToBFloat16(256)}));
}

TEST(Convert, FloatsToIntegersTruncate) {
  EXPECT_EQ(Converted<int64_t>(DType::kFloat32, std::vector<float>{1.9F, -1.9F, -0.5F, 999.0F},
                               DType::kInt64),
            (std::vector<int64_t>{1, -1, 0, 999}));
  EXPECT_EQ(Converted<uint8_t>(DType::kFloat64, std::vector<double>{255.9, -0.9}, DType::kUInt8),
            (std::vector<uint8_t>{255, 0}));
  EXPECT_EQ(Converted<int32_t>(DType::kFloat64, std::vector<double>{2147483647.5, -2147483648.5},
                               DType::kInt32),
            (std::vector<int32_t>{INT32_MAX, INT32_MIN}));
}

TEST(Convert, RefusesWhatAnIntegerCannotHold) {
  int64_t out[2];
  for (const float bad : {NAN, INFINITY, -INFINITY, 9.3e18F, -9.3e18F}) {
    const std::vector<float> values = {1, bad};
    const Status status = Convert(ViewOf(DType::kFloat32, values), DType::kInt64, out);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << bad;
    EXPECT_NE(status.message().find("element 1"), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("int64"), std::string::npos) << status.message();
  }
  EXPECT_FALSE(
      Convert(ViewOf(DType::kInt64, std::vector<int64_t>{int64_t{1} << 31}), DType::kInt32, out)
          .ok());
  EXPECT_FALSE(Convert(ViewOf(DType::kInt64, std::vector<int64_t>{-1}), DType::kUInt64, out).ok());
  EXPECT_FALSE(
      Convert(ViewOf(DType::kUInt64, std::vector<uint64_t>{UINT64_MAX}), DType::kInt64, out).ok());
  EXPECT_FALSE(Convert(ViewOf(DType::kInt32, std::vector<int32_t>{300}), DType::kInt8, out).ok());
  EXPECT_FALSE(Convert(ViewOf(DType::kFloat32, std::vector<float>{256}), DType::kUInt8, out).ok());
  EXPECT_FALSE(
      Convert(ViewOf(DType::kFloat64, std::vector<double>{2147483648.0}), DType::kInt32, out).ok());
}

// The largest float below 2^63 fits; 2^63 does not, though INT64_MAX rounds to it.
TEST(Convert, EdgeOf64Bits) {
  const float below = std::nextafter(0x1p63F, 0.0F);
  EXPECT_EQ(Converted<int64_t>(DType::kFloat32, std::vector<float>{below, -0x1p63F}, DType::kInt64),
            (std::vector<int64_t>{static_cast<int64_t>(below), INT64_MIN}));
  int64_t out = 0;
  EXPECT_FALSE(
      Convert(ViewOf(DType::kFloat32, std::vector<float>{0x1p63F}), DType::kInt64, &out).ok());
}

TEST(Convert, BoolIsAnyByteButZero) {
  EXPECT_EQ(Converted<float>(DType::kBool, std::vector<uint8_t>{0, 1, 2, 255}, DType::kFloat32),
            (std::vector<float>{0, 1, 1, 1}));
  EXPECT_EQ(Converted<uint8_t>(DType::kBool, std::vector<uint8_t>{0, 7}, DType::kBool),
            (std::vector<uint8_t>{0, 1}));
  EXPECT_EQ(
      Converted<uint8_t>(DType::kFloat32, std::vector<float>{0, -0.0F, 1e-30F, NAN}, DType::kBool),
      (std::vector<uint8_t>{0, 0, 1, 1}));
}

TEST(Convert, SmallFloatsGoThroughFloat32) {
  const std::vector<uint16_t> halves = {FloatToHalf(1.5F), FloatToHalf(-65504), 0x0001};
  EXPECT_EQ(Converted<uint16_t>(DType::kFloat16, halves, DType::kBFloat16),
            (std::vector<uint16_t>{FloatToBFloat16(1.5F), FloatToBFloat16(-65504),
                                   FloatToBFloat16(0x1p-24F)}));
  EXPECT_EQ(Converted<uint16_t>(DType::kBFloat16, std::vector<uint16_t>{FloatToBFloat16(1e30F)},
                                DType::kFloat16),
            (std::vector<uint16_t>{0x7C00}));
}

TEST(Convert, EmptyAndUnknown) {
  EXPECT_TRUE(Convert({DType::kFloat32, {0}, nullptr, 0}, DType::kInt64, nullptr).ok());
  float value = 1;
  EXPECT_FALSE(Convert({static_cast<DType>(77), {1}, &value, 4}, DType::kFloat32, &value).ok());
  EXPECT_FALSE(ConvertedTo({DType::kFloat32, {2}, &value, 4}, DType::kFloat64).ok());
}

}  // namespace
}  // namespace unetd
