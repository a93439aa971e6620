// Tensors from files and into files, rows of them, and what a tensor holds.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "client/unetctl/loop.h"
#include "client/unetctl/summary.h"
#include "client/unetctl/tensor_file.h"
#include "tests/weights/temp_folder.h"

namespace unetd::unetctl {
namespace {

v1::Tensor Floats(const std::string& name, const Shape& shape, const std::vector<float>& values) {
  return ToWire(name, {DType::kFloat32, shape, values.data(), values.size() * sizeof(float)});
}

std::vector<float> ValuesOf(const v1::Tensor& tensor) {
  const auto* begin = reinterpret_cast<const float*>(tensor.raw().data());
  return {begin, begin + tensor.raw().size() / sizeof(float)};
}

TEST(TensorFile, KeepsTensorsByName) {
  const test::TempFolder folder;
  const std::vector<v1::Tensor> tensors = {Floats("a", {2}, {1, 2}), Floats("b", {1, 1}, {3})};
  ASSERT_TRUE(WriteTensors(folder / "new" / "x.safetensors", tensors).ok());
  const auto read = ReadTensors(folder / "new" / "x.safetensors");
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_EQ(read->size(), 2U);
  EXPECT_EQ((*read)[1].name(), "b");
  EXPECT_EQ(ValuesOf((*read)[0]), (std::vector<float>{1, 2}));
  const auto second = ReadTensor(folder / "new" / "x.safetensors", {"sample", "b"});
  ASSERT_TRUE(second.ok()) << second.status().message();
  EXPECT_EQ(second->name(), "sample");
  EXPECT_EQ(ValuesOf(*second), (std::vector<float>{3}));
  const auto absent = ReadTensor(folder / "new" / "x.safetensors", {"c"});
  EXPECT_NE(absent.status().message().find("no tensor 'c'; it has 'a', 'b'"), std::string::npos)
      << absent.status().message();
}

TEST(TensorFile, OneTensorNeedsNoName) {
  const test::TempFolder folder;
  const v1::Tensor tensor = Floats("whatever", {1, 2}, {1, 2});
  for (const char* name : {"x.npy", "x.safetensors"}) {
    ASSERT_TRUE(WriteTensors(folder / name, std::span(&tensor, 1)).ok());
    const auto read = ReadTensor(folder / name, {"mask"});
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->name(), "mask");
    EXPECT_EQ(read->shape_size(), 2);
    EXPECT_EQ(read->raw(), tensor.raw());
  }
}

TEST(TensorFile, RefusesWhatAFileCannotHold) {
  const test::TempFolder folder;
  const std::vector<v1::Tensor> same = {Floats("a", {1}, {1}), Floats("a", {1}, {2})};
  EXPECT_NE(WriteTensors(folder / "x.safetensors", same).message().find("two tensors"),
            std::string::npos);
  const std::vector<v1::Tensor> two = {Floats("a", {1}, {1}), Floats("b", {1}, {2})};
  EXPECT_NE(WriteTensors(folder / "x.npy", two).message().find("2 tensors"), std::string::npos);
  EXPECT_NE(WriteTensors(folder / "x.txt", two).message().find("ends in"), std::string::npos);
  EXPECT_NE(ReadTensors(folder / "x.npy").status().message().find("NAME=FILE"), std::string::npos);
  v1::Tensor cut = Floats("a", {2}, {1, 2});
  cut.mutable_raw()->pop_back();
  EXPECT_NE(WriteTensors(folder / "x.npy", std::span(&cut, 1)).message().find("8 bytes, got 7"),
            std::string::npos);
  cut.set_datatype("FP31");
  EXPECT_FALSE(FromWire(cut).ok());
}

TEST(Rows, AreCutFromTheFirstDimension) {
  const v1::Tensor tensor = Floats("mask", {3, 2}, {0, 1, 10, 11, 20, 21});
  const auto last = RowsOf(tensor, {1, 2, 3});
  ASSERT_TRUE(last.ok()) << last.status().message();
  EXPECT_EQ(last->shape(0), 2);
  EXPECT_EQ(ValuesOf(*last), (std::vector<float>{10, 11, 20, 21}));
}

TEST(Rows, OfATensorAStepAreCutFromTheSecond) {
  const v1::Tensor tensor = Floats("noise", {2, 3, 1, 1, 1}, {0, 1, 2, 10, 11, 12});
  const auto middle = RowsOf(tensor, {1, 1, 3});
  ASSERT_TRUE(middle.ok()) << middle.status().message();
  EXPECT_EQ(ValuesOf(*middle), (std::vector<float>{1, 11}));
  EXPECT_EQ(middle->shape(0), 2);
  EXPECT_EQ(middle->shape(1), 1);
}

TEST(Rows, OneServesAll) {
  const auto rows = RowsOf(Floats("mask", {1, 2}, {5, 6}), {2, 2, 4});
  ASSERT_TRUE(rows.ok()) << rows.status().message();
  EXPECT_EQ(ValuesOf(*rows), (std::vector<float>{5, 6, 5, 6}));
  const auto wrong = RowsOf(Floats("mask", {2, 1}, {5, 6}), {0, 3, 3});
  EXPECT_NE(
      wrong.status().message().find("'mask': [2,1] has 2 rows in dimension 0: expected 1 or 3"),
      std::string::npos)
      << wrong.status().message();
  EXPECT_FALSE(RowsOf(Floats("mask", {}, {5}), {0, 1, 2}).ok());
}

TEST(Scheduler, IsAFileAFolderJsonOrAClass) {
  const test::TempFolder folder;
  const auto file = folder.Write("scheduler_config.json", R"({"a": 1})");
  EXPECT_EQ(*SchedulerJson(file.string()), R"({"a": 1})");
  EXPECT_EQ(*SchedulerJson(folder.path().string()), R"({"a": 1})");
  EXPECT_EQ(*SchedulerJson(" {\"b\": 2}"), " {\"b\": 2}");
  EXPECT_EQ(*SchedulerJson("DDIMScheduler"), R"({"_class_name":"DDIMScheduler"})");
  EXPECT_EQ(SchedulerJson("no/such.json").status().message(), "cannot read no/such.json");
}

TEST(Loop, FillsTheFieldsThatBothRequestsHave) {
  const test::TempFolder folder;
  const v1::Tensor mask = Floats("m", {2, 1, 1, 1}, {1, 0});
  ASSERT_TRUE(WriteTensors(folder / "mask.npy", std::span(&mask, 1)).ok());
  LoopOptions options;
  options.files["mask"] = folder / "mask.npy";
  options.guidance = 3;
  options.priority = 2;
  auto loop = LoadLoop(options);
  ASSERT_TRUE(loop.ok()) << loop.status().message();
  v1::DenoiseRequest denoise;
  ASSERT_TRUE(FillLoop(*loop, {1, 1, 2}, denoise).ok());
  EXPECT_EQ(denoise.mask().shape(0), 1);
  EXPECT_EQ(ValuesOf(denoise.mask()), (std::vector<float>{0}));
  EXPECT_EQ(denoise.guidance_scale(), 3);
  EXPECT_EQ(denoise.priority(), 2U);
  EXPECT_FALSE(denoise.has_eta());
  loop->eta = 0;
  v1::StepRequest step;
  ASSERT_TRUE(FillLoop(*loop, {0, 2, 2}, step).ok());
  EXPECT_TRUE(step.has_eta());
  EXPECT_EQ(step.mask().shape(0), 2);
  loop->tensors["latents"] = mask;  // which a step does not have
  EXPECT_NE(FillLoop(*loop, {0, 2, 2}, step).message().find("no field 'latents'"),
            std::string::npos);
}

TEST(Summary, IsOfTheFiniteElements) {
  const float nan = std::nanf("");
  const float inf = std::numeric_limits<float>::infinity();
  const auto summary = Summarize(Floats("x", {6}, {1, nan, 3, -inf, inf, 8}));
  ASSERT_TRUE(summary.ok()) << summary.status().message();
  EXPECT_EQ(summary->min, 1);
  EXPECT_EQ(summary->max, 8);
  EXPECT_EQ(summary->mean, 4);
  EXPECT_NEAR(summary->std, std::sqrt((9.0 + 1 + 16) / 3), 1e-12);
  EXPECT_EQ(summary->nan, 1U);
  EXPECT_EQ(summary->infinite, 2U);
  const std::string text = SummaryText(std::span(&*summary, 1));
  EXPECT_NE(text.find("x       FP32      [6]      1     4    8"), std::string::npos) << text;
}

TEST(Summary, WithoutFiniteElementsIsNullInJson) {
  const auto summary = Summarize(Floats("x\xff", {1}, {std::nanf("")}));
  ASSERT_TRUE(summary.ok());
  const auto json = nlohmann::json::parse(JsonLine(SummaryJson(std::span(&*summary, 1))));
  EXPECT_TRUE(json[0]["mean"].is_null());
  EXPECT_EQ(json[0]["nan"], 1);
  EXPECT_EQ(json[0]["shape"], (std::vector<int>{1}));
}

}  // namespace
}  // namespace unetd::unetctl
