#include "server/weights/safetensors.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "tests/weights/temp_folder.h"

namespace unetd {
namespace {

using test::SafetensorsBytes;
using test::TempFolder;

StatusOr<SafetensorsHeader> Parse(const std::string& bytes) {
  return ParseSafetensorsHeader({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                                bytes.size());
}

// Written by the Python package safetensors 0.8.0: five tensors, one of them empty, and metadata.
std::string PythonFile() {
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I64","shape":[3],"data_offsets":[0,24]},)"
      R"("a.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[24,32]},)"
      R"("e":{"dtype":"F32","shape":[0,4],"data_offsets":[32,32]},)"
      R"("h":{"dtype":"F16","shape":[1],"data_offsets":[32,34]},)"
      R"("c":{"dtype":"BOOL","shape":[],"data_offsets":[34,35]}}   )";
  const std::string data(
      "\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\x00\x00\xc0\x3f\x00\x00\x00\xc0\x00\x38"
      "\x01",
      35);
  return SafetensorsBytes(json, data);
}

TEST(SafetensorsFile, ReadsAPythonFile) {
  const TempFolder folder;
  auto file = SafetensorsFile::Open(folder.Write("a.safetensors", PythonFile()));
  ASSERT_TRUE(file.ok()) << file.status().message();
  const auto& tensors = (*file)->tensors();
  ASSERT_EQ(tensors.size(), 5u);
  const TensorView& weight = tensors.at("a.weight");
  EXPECT_EQ(weight.dtype, DType::kFloat32);
  EXPECT_EQ(weight.shape, (Shape{1, 2}));
  EXPECT_EQ(weight.as<float>()[0], 1.5F);
  EXPECT_EQ(weight.as<float>()[1], -2.0F);
  EXPECT_EQ(tensors.at("b").as<int64_t>()[2], 3);
  EXPECT_EQ(tensors.at("c").shape, Shape{});
  EXPECT_EQ(tensors.at("c").as<uint8_t>()[0], 1);
  EXPECT_EQ(tensors.at("h").as<uint16_t>()[0], 0x3800);
  EXPECT_EQ(tensors.at("e").bytes, 0u);
  EXPECT_EQ((*file)->metadata().at("format"), "pt");
  EXPECT_EQ((*file)->OffsetOf("a.weight"), 8u + 320 + 24);
  EXPECT_EQ((*file)->OffsetOf("nobody"), 0u);
}

TEST(SafetensorsFile, CutAnywhereIsRefused) {
  const std::string whole = PythonFile();
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto header = Parse(whole.substr(0, length));
    ASSERT_FALSE(header.ok()) << length;
    ASSERT_EQ(header.status().code(), Code::kInvalidArgument);
  }
  EXPECT_TRUE(Parse(whole).ok());
  EXPECT_FALSE(Parse(whole + "x").ok());
}

TEST(SafetensorsFile, ErrorsNameTheFileAndTheTensor) {
  const TempFolder folder;
  const auto path = folder.Write(
      "bad.safetensors",
      SafetensorsBytes(R"({"down.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})",
                       "abcd"));
  const auto file = SafetensorsFile::Open(path);
  ASSERT_FALSE(file.ok());
  const std::string& message = file.status().message();
  EXPECT_TRUE(message.starts_with(path.string())) << message;
  EXPECT_NE(message.find("'down.weight'"), std::string::npos) << message;
  EXPECT_NE(message.find("8 bytes"), std::string::npos) << message;
}

struct Damage {
  std::string json;
  size_t data_bytes;
  std::string reason;  // part of the message

  friend void PrintTo(const Damage& damage, std::ostream* out) {
    *out << damage.json.substr(0, 100) << " -> " << damage.reason;
  }
};

class Damaged : public testing::TestWithParam<Damage> {};

TEST_P(Damaged, IsRefused) {
  const auto& [json, data_bytes, reason] = GetParam();
  const auto header = Parse(SafetensorsBytes(json, std::string(data_bytes, 'd')));
  ASSERT_FALSE(header.ok()) << json;
  EXPECT_EQ(header.status().code(), Code::kInvalidArgument);
  EXPECT_NE(header.status().message().find(reason), std::string::npos) << json << "\n"
                                                                       << header.status().message();
}

// A header with one tensor "t".
std::string One(const std::string& inside) { return "{\"t\":{" + inside + "}}"; }
const char kGood[] = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";

INSTANTIATE_TEST_SUITE_P(
    Json, Damaged,
    testing::Values(
        Damage{"", 0, "begin with '{'"}, Damage{" {}", 0, "begin with '{'"},
        Damage{"\xEF\xBB\xBF{}", 0, "begin with '{'"}, Damage{"[]", 0, "begin with '{'"},
        Damage{"{", 0, "not JSON"}, Damage{"{} x", 0, "not JSON"}, Damage{"{}{}", 0, "not JSON"},
        Damage{"{// hi\n}", 0, "not JSON"}, Damage{"{\"\xff\":1}", 0, "not JSON"},
        Damage{"{\"t\":1}", 0, "expected an object"}, Damage{"{\"t\":[]}", 0, "expected an object"},
        Damage{"{\"t\":null}", 0, "expected an object"},
        Damage{"{\"t\":" + std::string(100000, '{'), 0, "not JSON"},
        Damage{"{\"t\":" + std::string(100000, '['), 0, "expected an object"},
        Damage{"{\"a\":{" + std::string(kGood) + "},\"a\":{" + kGood + "}}", 4, "twice"},
        Damage{R"({"__metadata__":{},"__metadata__":{}})", 0, "twice"},
        Damage{R"({"__metadata__":{"a":"1","a":"2"}})", 0, "twice"},
        Damage{R"({"__metadata__":{"a":1}})", 0, "expected text"},
        Damage{R"({"__metadata__":{"a":{}}})", 0, "expected text"},
        Damage{R"({"__metadata__":{"a":["x"]}})", 0, "expected text"}));

INSTANTIATE_TEST_SUITE_P(
    Tensor, Damaged,
    testing::Values(
        Damage{One(""), 0, "dtype is missing"},
        Damage{One(R"("dtype":"F32","shape":[1])"), 4, "data_offsets"},
        Damage{One(R"("dtype":"F32","data_offsets":[0,4])"), 4, "shape is missing"},
        Damage{One(R"("dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4])"), 4, "twice"},
        Damage{One(R"("dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4])"), 4, "twice"},
        Damage{One(std::string(kGood) + ",\"extra\":1"), 4, "unknown key 'extra'"},
        Damage{One(std::string(kGood) + R"(,"more":{}})"), 4, "unknown key 'more'"},
        Damage{One(R"("dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4])"), 4, "'F8_E4M3'"},
        Damage{One(R"("dtype":1,"shape":[1],"data_offsets":[0,4])"), 4, "expected text"},
        Damage{One(R"("dtype":"F32","shape":4,"data_offsets":[0,4])"), 4, "expected a list"},
        Damage{One(R"("dtype":"F32","shape":"1","data_offsets":[0,4])"), 4, "expected a list"},
        Damage{One(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])"), 4, ">= 0"},
        Damage{One(R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])"), 4, ">= 0"},
        Damage{One(R"("dtype":"F32","shape":[[1]],"data_offsets":[0,4])"), 4, "a list"},
        Damage{One(R"("dtype":"F32","shape":[1e400],"data_offsets":[0,4])"), 4, "not JSON"},
        Damage{One(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4])"), 4,
               "too large"},
        Damage{One(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],)"
                   R"("data_offsets":[0,4])"),
               4, "more than 16"}));

INSTANTIATE_TEST_SUITE_P(
    Offsets, Damaged,
    testing::Values(
        Damage{One(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])"), 4, "not within"},
        Damage{One(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])"), 4, "not within"},
        Damage{One(R"("dtype":"F32","shape":[1],"data_offsets":[0])"), 4, "two data_offsets"},
        Damage{One(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,4])"), 4, "more than 2"},
        Damage{One(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), 4, "8 bytes"},
        Damage{One(R"("dtype":"F32","shape":[1],"data_offsets":[0,5])"), 5, "4 bytes"},
        // 2^62 * 4 elements wrap to 0 in 64 bits.
        Damage{One(R"("dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,0])"), 0,
               "more than"},
        Damage{One(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])"), 0,
               "more than"},
        Damage{
            One(R"("dtype":"U8","shape":[4],"data_offsets":[9223372036854775804,9223372036854775808])"),
            4, "too large"},
        Damage{One(kGood), 8, "the file has 8 bytes"},  // left over
        Damage{One(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), 8, "hole"},
        Damage{R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
               R"("b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})",
               7, "tensor 'b': overlaps"},
        Damage{R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
               R"("b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
               4, "overlaps"},
        Damage{R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
               R"("b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})",
               5, "tensor 'b': there is a hole"}));

TEST(SafetensorsHeader, LengthThatLiesIsRefused) {
  EXPECT_FALSE(Parse(std::string(8, '\xff')).ok());
  EXPECT_FALSE(Parse(std::string("\x10\0\0\0\0\0\0\0{}", 10)).ok());
  // 100 MB and a byte, with a file that claims to be large enough.
  std::string bytes("\x01\xe1\xf5\x05\0\0\0\0{}", 10);
  const auto header = ParseSafetensorsHeader(
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, uint64_t{1} << 40);
  ASSERT_FALSE(header.ok());
  EXPECT_NE(header.status().message().find("more than 100000000"), std::string::npos);
}

TEST(SafetensorsHeader, AnyOrderOfTensorsIsLegal) {
  const auto header =
      Parse(SafetensorsBytes(R"({"a":{"data_offsets":[2,4],"shape":[2],"dtype":"U8"},)"
                             R"("z":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
                             "zzaa"));
  ASSERT_TRUE(header.ok()) << header.status().message();
  EXPECT_EQ(header->tensors.at("a").begin, 2u);
  EXPECT_TRUE(Parse(SafetensorsBytes("{}", "")).ok());
}

TEST(SafetensorsHeader, NamesAreEscapedInMessages) {
  const auto header = Parse(SafetensorsBytes(R"({"a\u001b[31m\n":{"dtype":"F99"}})", ""));
  ASSERT_FALSE(header.ok());
  EXPECT_NE(header.status().message().find("'a\\x1b[31m\\n'"), std::string::npos)
      << header.status().message();
}

TEST(SafetensorsFile, UnalignedTensorsCanBeReadAsTheirType) {
  const TempFolder folder;
  const float values[2] = {0.25F, -8};
  std::string data = "u";
  data.append(reinterpret_cast<const char*>(values), sizeof values);
  auto file = SafetensorsFile::Open(
      folder.Write("odd.safetensors",
                   SafetensorsBytes(R"({"u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                    R"("f":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})",
                                    data)));
  ASSERT_TRUE(file.ok()) << file.status().message();
  const TensorView& view = (*file)->tensors().at("f");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data) % sizeof(float), 0u);
  EXPECT_EQ(view.as<float>()[0], 0.25F);
  EXPECT_EQ(view.as<float>()[1], -8.0F);
  (*file)->DropPages(view);
  EXPECT_EQ(view.as<float>()[1], -8.0F);
}

TEST(SafetensorsFile, RefusesWhatIsNoRegularFile) {
  const TempFolder folder;
  EXPECT_EQ(SafetensorsFile::Open(folder / "absent").status().code(), Code::kNotFound);
  EXPECT_FALSE(SafetensorsFile::Open(folder.path()).ok());
  EXPECT_FALSE(SafetensorsFile::Open("/dev/zero").ok());
  EXPECT_FALSE(SafetensorsFile::Open(folder.Write("empty", "")).ok());
}

TEST(SafetensorsFile, SeesThatItWasWrittenTo) {
  const TempFolder folder;
  const auto path = folder.Write("a.safetensors", PythonFile());
  auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE((*file)->CheckUnchanged().ok());
  std::filesystem::resize_file(path, 100);
  const Status status = (*file)->CheckUnchanged();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find(path.string()), std::string::npos) << status.message();
}

TEST(SafetensorsFile, KeepsTheOldFileWhenItIsReplaced) {
  const TempFolder folder;
  const auto path = folder.WriteFloats("a.safetensors", {{"w", 1.0F}});
  auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok());
  folder.WriteFloats("a.safetensors", {{"w", 2.0F}});
  EXPECT_TRUE((*file)->CheckUnchanged().ok());
  (*file)->DropPages((*file)->tensors().at("w"));
  EXPECT_EQ((*file)->tensors().at("w").as<float>()[0], 1.0F);
  auto second = SafetensorsFile::Open(path);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ((*second)->tensors().at("w").as<float>()[0], 2.0F);
}

}  // namespace
}  // namespace unetd
