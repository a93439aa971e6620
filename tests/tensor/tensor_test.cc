#include "server/tensor/tensor.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

// AddressSanitizer would end the process where malloc answers null; the tests below ask for that.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

namespace unetd {
namespace {

TEST(Tensor, IsAlignedAndZeroed) {
  for (const int64_t size : {0, 1, 15, 16, 17, 1000}) {
    auto tensor = Tensor::Allocate(DType::kFloat32, {size});
    ASSERT_TRUE(tensor.ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor->data()) % 64, 0u);
    EXPECT_EQ(tensor->bytes(), static_cast<uint64_t>(size) * 4);
    EXPECT_EQ(tensor->elements(), static_cast<uint64_t>(size));
    for (int64_t i = 0; i < size; ++i) EXPECT_EQ(tensor->as<float>()[i], 0.0F);
  }
}

TEST(Tensor, ViewOutlivesAMove) {
  auto made = Tensor::Allocate(DType::kInt32, {2, 2});
  ASSERT_TRUE(made.ok());
  made->as<int32_t>()[3] = 7;
  const Tensor moved = *std::move(made);
  EXPECT_EQ(moved.View().as<int32_t>()[3], 7);
  EXPECT_EQ(moved.View().shape, (Shape{2, 2}));
  EXPECT_EQ(moved.View().data, moved.data());
}

TEST(Tensor, RefusesWhatCannotBe) {
  EXPECT_EQ(Tensor::Allocate(DType::kFloat32, {-1}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Tensor::Allocate(DType::kFloat32, {INT64_MAX / 8}).status().code(),
            Code::kResourceExhausted);
  EXPECT_EQ(Tensor::Allocate(DType::kInt8, {INT64_MAX}).status().code(), Code::kResourceExhausted);
}

TEST(Tensor, CopyOfReadsAnyAlignment) {
  std::vector<uint8_t> bytes = {9, 1, 0, 0, 0, 2, 0, 0, 0};
  auto copy = Tensor::CopyOf({DType::kInt32, {2}, bytes.data() + 1, 8});
  ASSERT_TRUE(copy.ok());
  EXPECT_EQ(copy->as<int32_t>()[0], 1);
  EXPECT_EQ(copy->as<int32_t>()[1], 2);
  EXPECT_FALSE(Tensor::CopyOf({DType::kInt32, {2}, bytes.data() + 1, 7}).ok());
}

}  // namespace
}  // namespace unetd
