// numpy's files: what is read, what is refused, and that what is written is read again.
#include "client/unetctl/npy.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "client/unetctl/npy_header.h"
#include "tests/weights/temp_folder.h"

namespace unetd::unetctl {
namespace {

// A file of version 1 with this header text and so many bytes of data.
std::string NpyBytes(std::string_view dict, size_t data, char major = 1) {
  std::string bytes("\x93NUMPY", 6);
  bytes +=
      {major, '\0', static_cast<char>(dict.size() & 0xFF), static_cast<char>(dict.size() >> 8)};
  if (major == 2) bytes += {'\0', '\0'};
  return bytes.append(dict).append(data, '\x01');
}

StatusOr<NpyHeader> Parse(std::string_view bytes) {
  return ParseNpyHeader({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                        bytes.size());
}

std::string Refusal(std::string_view bytes) {
  const auto header = Parse(bytes);
  return header.ok() ? "read" : header.status().message();
}

std::string Dict(std::string_view descr, std::string_view shape) {
  return "{'descr': '" + std::string(descr) +
         "', 'fortran_order': False, 'shape': " + std::string(shape) + ", }\n";
}

TEST(NpyHeader, ReadsWhatNumpyWrites) {
  const auto header = Parse(NpyBytes(Dict("<f4", "(2, 3)"), 24));
  ASSERT_TRUE(header.ok()) << header.status().message();
  EXPECT_EQ(header->dtype, DType::kFloat32);
  EXPECT_EQ(header->shape, (Shape{2, 3}));
  const auto scalar = Parse(NpyBytes(Dict("<i8", "()"), 8));
  ASSERT_TRUE(scalar.ok()) << scalar.status().message();
  EXPECT_TRUE(scalar->shape.empty());
  const auto second = Parse(NpyBytes(Dict("<f2", "(3,)"), 6, 2));
  ASSERT_TRUE(second.ok()) << second.status().message();
  EXPECT_EQ(second->dtype, DType::kFloat16);
}

TEST(NpyHeader, KeysMayComeInAnyOrderAndQuotes) {
  const auto header =
      Parse(NpyBytes("{\"shape\":(0,5),\"fortran_order\":False,\"descr\":\"|u1\"}   \n", 0));
  ASSERT_TRUE(header.ok()) << header.status().message();
  EXPECT_EQ(header->dtype, DType::kUInt8);
  EXPECT_EQ(header->shape, (Shape{0, 5}));
}

TEST(NpyHeader, RefusesOtherKinds) {
  EXPECT_NE(Refusal(NpyBytes("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }\n", 4))
                .find("expected C order"),
            std::string::npos);
  EXPECT_NE(Refusal(NpyBytes(Dict(">f4", "(1,)"), 4)).find("big-endian"), std::string::npos);
  for (const char* descr : {"|O", "<c8", "|S4", "<U1", "f4", "", "<f16", "|f4"}) {
    EXPECT_NE(Refusal(NpyBytes(Dict(descr, "(1,)"), 4)).find("npy 'descr'"), std::string::npos)
        << descr;
  }
  EXPECT_EQ(Refusal(NpyBytes(Dict("<f4", "(1,)"), 4, 3)), "npy version 3.0: expected 1.0 or 2.0");
  EXPECT_NE(Refusal("PK\x03\x04").find("not an npy file"), std::string::npos);
}

TEST(NpyHeader, RefusesDamage) {
  const std::string good = NpyBytes(Dict("<f4", "(2,)"), 8);
  ASSERT_TRUE(Parse(good).ok());
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(Parse(good.substr(0, size)).ok()) << size;
  }
  EXPECT_EQ(Refusal(good + "x"), "npy data: float32 [2] needs 8 bytes, the file has 9");
  for (const char* shape : {"(1", "2", "(2)", "(-1,)", "(1,,)", "(1 2)", "[2]", "(1.0,)", "(,)"}) {
    EXPECT_NE(Refusal(NpyBytes(Dict("<f4", shape), 8)), "read") << shape;
  }
  EXPECT_NE(Refusal(NpyBytes(Dict("<f4", "(99999999999999999999,)"), 8)).find("too large"),
            std::string::npos);
  // The product overflows, not the numbers.
  EXPECT_NE(Refusal(NpyBytes(Dict("<f4", "(4611686018427387904, 8)"), 8)), "read");
  for (const char* dict : {"", "{}", "{'descr': '<f4'}", "{'descr': '<f4', 'descr': '<f4'}",
                           "{'x': 1}", "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x"}) {
    EXPECT_NE(Refusal(NpyBytes(dict, 8)), "read") << dict;
  }
}

TEST(NpyHeader, ManyDimensionsAndLongHeadersAreRefused) {
  std::string shape = "(";
  for (int i = 0; i < 40; ++i) shape += "1,";
  EXPECT_NE(Refusal(NpyBytes(Dict("<f4", shape + ")"), 4)).find("more than 32 dimensions"),
            std::string::npos);
  std::string bytes = NpyBytes("", 0, 2);
  bytes[11] = '\x7f';  // the length's highest byte
  EXPECT_NE(Refusal(bytes).find("bytes long"), std::string::npos);
}

TEST(Npy, ReadsAgainWhatItWrote) {
  const test::TempFolder folder;
  const float values[6] = {0, 1, -2, 3.5F, 1e30F, -0.0F};
  const TensorView view = {DType::kFloat32, {1, 2, 3}, values, sizeof(values)};
  ASSERT_TRUE(WriteNpy(folder / "a.npy", view).ok());
  EXPECT_EQ(std::filesystem::file_size(folder / "a.npy"), 128 + sizeof(values));  // as numpy's
  const auto read = ReadNpy(folder / "a.npy");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->shape(), view.shape);
  EXPECT_EQ(std::memcmp(read->data(), values, sizeof(values)), 0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(Npy, EveryDTypeButBFloat16) {
  const test::TempFolder folder;
  const uint64_t value = 1;
  for (const DType dtype : {DType::kFloat16, DType::kFloat32, DType::kFloat64, DType::kBool,
                            DType::kInt8, DType::kInt16, DType::kInt32, DType::kInt64,
                            DType::kUInt8, DType::kUInt16, DType::kUInt32, DType::kUInt64}) {
    ASSERT_TRUE(WriteNpy(folder / "a.npy", {dtype, {}, &value, DTypeSize(dtype)}).ok());
    const auto read = ReadNpy(folder / "a.npy");
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->dtype(), dtype);
  }
  const Status refused = WriteNpy(folder / "b.npy", {DType::kBFloat16, {1}, &value, 2});
  EXPECT_NE(refused.message().find("write .safetensors instead"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "b.npy"));
}

TEST(Npy, NamesTheFile) {
  const test::TempFolder folder;
  EXPECT_EQ(ReadNpy(folder / "none.npy").status().code(), Code::kNotFound);
  EXPECT_NE(ReadNpy(folder.path()).status().message().find(folder.path().string()),
            std::string::npos);  // a folder is no file
  folder.Write("bad.npy", "bad");
  EXPECT_NE(ReadNpy(folder / "bad.npy").status().message().find("bad.npy: not an npy file"),
            std::string::npos);
}

}  // namespace
}  // namespace unetd::unetctl
