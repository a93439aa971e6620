#include "server/tensor/dtype.h"

#include <gtest/gtest.h>

namespace unetd {
namespace {

TEST(DType, EveryNameLeadsBack) {
  for (int32_t i = UNETD_DTYPE_F32; i <= UNETD_DTYPE_U64; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(DTypeFromTorchName(TorchName(dtype)), dtype);
    EXPECT_EQ(DTypeFromWireName(WireName(dtype)), dtype);
    EXPECT_EQ(DTypeFromSafetensorsName(SafetensorsName(dtype)), dtype);
  }
}

TEST(DType, SizesAndNames) {
  EXPECT_EQ(DTypeSize(DType::kBFloat16), 2u);
  EXPECT_EQ(DTypeSize(DType::kBool), 1u);
  EXPECT_EQ(DTypeSize(DType::kUInt64), 8u);
  EXPECT_EQ(TorchName(DType::kBFloat16), "bfloat16");
  EXPECT_EQ(WireName(DType::kFloat16), "FP16");
  EXPECT_EQ(WireName(DType::kUInt8), "UINT8");
  EXPECT_EQ(SafetensorsName(DType::kInt64), "I64");
  EXPECT_EQ(SafetensorsName(DType::kBFloat16), "BF16");
  EXPECT_TRUE(IsFloat(DType::kFloat64));
  EXPECT_FALSE(IsFloat(DType::kBool));
}

TEST(DType, StrangeNamesAndNumbers) {
  EXPECT_FALSE(DTypeFromSafetensorsName("F8_E4M3"));
  EXPECT_FALSE(DTypeFromWireName("BYTES"));
  EXPECT_FALSE(DTypeFromTorchName(""));
  EXPECT_FALSE(DTypeFromTorchName("FLOAT32"));
  EXPECT_GT(DTypeSize(static_cast<DType>(0)), 0u);  // reads no memory beyond the table
  EXPECT_GT(DTypeSize(static_cast<DType>(-7)), 0u);
  EXPECT_GT(DTypeSize(static_cast<DType>(99)), 0u);
}

}  // namespace
}  // namespace unetd
