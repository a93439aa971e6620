#include "server/weights/writer.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "server/base/cpu.h"
#include "server/weights/safetensors.h"
#include "tests/weights/temp_folder.h"

namespace unetd {
namespace {

using test::TempFolder;

std::string BytesOf(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(WriteSafetensors, ComesBack) {
  const TempFolder folder;
  const std::vector<float> floats = {1, 2, 3};
  const std::vector<uint8_t> bytes = {7};
  const std::vector<int64_t> longs = {-1};
  const std::map<std::string, TensorView> tensors = {
      {"a.byte", {DType::kUInt8, {1, 1}, bytes.data(), 1}},
      {"b.empty", {DType::kFloat16, {0}, nullptr, 0}},
      {"floats", {DType::kFloat32, {3}, floats.data(), 12}},
      {"long", {DType::kInt64, {}, longs.data(), 8}},
  };
  const auto path = folder / "x.safetensors";
  const Status status = WriteSafetensors(path, tensors, {{"format", "pt"}, {"k\"", "v\n"}});
  ASSERT_TRUE(status.ok()) << status.message();
  auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ((*file)->metadata().at("k\""), "v\n");
  ASSERT_EQ((*file)->tensors().size(), tensors.size());
  for (const auto& [name, view] : tensors) {
    const TensorView& read = (*file)->tensors().at(name);
    EXPECT_EQ(read.dtype, view.dtype) << name;
    EXPECT_EQ(read.shape, view.shape) << name;
    ASSERT_EQ(read.bytes, view.bytes) << name;
    EXPECT_TRUE(std::equal(read.as<uint8_t>(), read.as<uint8_t>() + read.bytes, view.as<uint8_t>()))
        << name;
    EXPECT_EQ((*file)->OffsetOf(name) % DTypeSize(view.dtype), 0u) << name;
  }
}

TEST(WriteSafetensors, SameTensorsGiveTheSameBytes) {
  const TempFolder folder;
  const auto one = folder.WriteFloats("one", {{"x", 1}, {"y", 2}});
  const auto two = folder.WriteFloats("two", {{"y", 2}, {"x", 1}});
  EXPECT_EQ(BytesOf(one), BytesOf(two));
}

TEST(WriteSafetensors, RefusesAndLeavesNothingBehind) {
  const TempFolder folder;
  const float value = 1;
  const TensorView good{DType::kFloat32, {1}, &value, 4};
  const auto path = folder / "x.safetensors";
  EXPECT_FALSE(WriteSafetensors(path, {{"a", {DType::kFloat32, {2}, &value, 4}}}).ok());
  EXPECT_FALSE(WriteSafetensors(path, {{"a", {DType::kFloat32, {-1}, &value, 4}}}).ok());
  EXPECT_FALSE(WriteSafetensors(path, {{"__metadata__", good}}).ok());
  EXPECT_FALSE(WriteSafetensors(path, {{"\xff", good}}).ok());
  EXPECT_FALSE(WriteSafetensors(folder / "no" / "such" / "folder", {{"a", good}}).ok());
  std::filesystem::create_directory(folder / "taken");
  EXPECT_FALSE(WriteSafetensors(folder / "taken", {{"a", good}}).ok());
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    left.push_back(entry.path().filename());
  }
  EXPECT_EQ(left, std::vector<std::string>{"taken"});
}

TEST(SafetensorsFile, DropPagesGivesMemoryBack) {
  const TempFolder folder;
  constexpr int64_t kCount = 8 << 20;
  const std::vector<float> values(kCount, 1.0F);
  const auto path = folder / "big.safetensors";
  ASSERT_TRUE(
      WriteSafetensors(path, {{"w", {DType::kFloat32, {kCount}, values.data(), kCount * 4}}}).ok());
  auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok());
  const TensorView& view = (*file)->tensors().at("w");
  const auto read = [&view] {
    double sum = 0;
    for (int64_t i = 0; i < kCount; i += 256) sum += view.as<float>()[i];
    return sum;
  };
  const uint64_t before = ResidentBytes();
  const double sum = read();
  const uint64_t mapped = ResidentBytes();
  (*file)->DropPages(view);
  const uint64_t dropped = ResidentBytes();
  EXPECT_GE(mapped, before + kCount * 4 / 2);
  EXPECT_LE(dropped, mapped - kCount * 4 / 2);
  EXPECT_EQ(read(), sum);
}

}  // namespace
}  // namespace unetd
