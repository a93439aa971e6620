// `unetctl predict` and `unetctl step` against a server: what goes over the wire, into files and to
// stdout. And the previews of `unetctl denoise`.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "client/unetctl/denoise.h"
#include "client/unetctl/predict.h"
#include "client/unetctl/previews.h"
#include "client/unetctl/step.h"
#include "client/unetctl/tensor_file.h"
#include "tests/unetctl/fake_server.h"
#include "tests/weights/temp_folder.h"

namespace unetd::unetctl {
namespace {

class CallsTest : public testing::Test {
 protected:
  void SetUp() override {
    const float values[] = {1, 2, 3, 6};
    const v1::Tensor sample = ToWire("x", {DType::kFloat32, {1, 1, 2, 2}, values, sizeof(values)});
    ASSERT_TRUE(WriteTensors(folder_ / "sample.npy", std::span(&sample, 1)).ok());
  }

  template <typename Run>
  nlohmann::json Printed(Run run, Outcome* failure) {
    testing::internal::CaptureStdout();
    *failure = run();
    return nlohmann::json::parse(testing::internal::GetCapturedStdout(), nullptr, false);
  }

  FakeServer server_;
  test::TempFolder folder_;
};

TEST_F(CallsTest, PredictWritesAndTellsTheOutput) {
  PredictOptions options;
  options.inputs.named = {"sample=" + (folder_ / "sample.npy").string()};
  options.timestep = 500;
  options.variant = "sliced";
  options.id = "mine";
  options.priority = 3;
  options.out = folder_ / "new" / "out.npy";
  options.json = true;
  Outcome failure;
  const auto report = Printed([&] { return Predict(server_.Connect(), options); }, &failure);
  ASSERT_FALSE(failure) << failure->text;
  EXPECT_EQ(report["variant"], "sliced");
  EXPECT_EQ(report["id"], "mine");
  EXPECT_EQ(server_.priority, 3U);
  EXPECT_TRUE(report["server"]["queue_ms"].is_null());  // this server keeps no statistics
  EXPECT_EQ(report["outputs"][0]["name"], "out_sample");
  EXPECT_EQ(report["outputs"][0]["mean"], 3);
  const auto out = ReadTensor(folder_ / "new" / "out.npy", {"out_sample"});
  ASSERT_TRUE(out.ok()) << out.status().message();
  EXPECT_EQ(out->shape_size(), 4);
}

TEST_F(CallsTest, PredictNeedsInputs) {
  const Outcome failure = Predict(server_.Connect(), {});
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->exit_status, kExitUsage);
}

TEST_F(CallsTest, StepsHandTheirStateOnInFiles) {
  StepOptions options;
  options.sample = folder_ / "sample.npy";
  options.out = folder_ / "x.safetensors";
  options.out_state = folder_ / "state.safetensors";
  options.json = true;
  Outcome failure;
  auto report = Printed([&] { return Step(server_.Connect(), options); }, &failure);
  ASSERT_FALSE(failure) << failure->text;
  EXPECT_EQ(report["step_ms"], 2);
  ASSERT_EQ(report["outputs"].size(), 2U);
  EXPECT_EQ(report["outputs"][1]["name"], "pred_original_sample");
  ASSERT_EQ(report["state"].size(), 1U);

  options.sample = options.out;  // a step's output is a sample
  options.state = options.out_state;
  options.step_index = 1;
  options.out = folder_ / "x.npy";
  options.out_original = folder_ / "original.npy";
  report = Printed([&] { return Step(server_.Connect(), options); }, &failure);
  ASSERT_FALSE(failure) << failure->text;
  ASSERT_EQ(report["state"].size(), 2U);
  for (int step = 0; step < 2; ++step) {
    EXPECT_EQ(report["state"][step]["name"], "state");
    EXPECT_EQ(report["state"][step]["mean"], step);
  }
  EXPECT_TRUE(ReadTensor(options.out_original, {"x"}).ok());
  const auto state = ReadTensors(options.out_state);
  ASSERT_TRUE(state.ok()) << state.status().message();
  EXPECT_EQ(state->size(), 2U);

  options.state = options.sample;  // a file, but not of a state
  Printed([&] { return Step(server_.Connect(), options); }, &failure);
  ASSERT_TRUE(failure);
  EXPECT_NE(failure->text.find("expected a file that --out-state wrote"), std::string::npos)
      << failure->text;
}

TEST_F(CallsTest, DenoiseWritesPreviews) {
  DenoiseOptions options;
  options.variants = {"sliced"};
  options.rows = 3;  // two requests
  options.loop.steps = 4;
  options.preview_every = 2;
  options.previews = folder_ / "previews";
  options.progress.shown = false;
  options.json = true;
  Outcome failure;
  const auto report = Printed([&] { return Denoise(server_.Connect(), options); }, &failure);
  ASSERT_FALSE(failure) << failure->text;
  ASSERT_EQ(report["previews"].size(), 4U);
  for (const char* name : {"sliced-step0001-row0000.png", "sliced-step0003-row0002.png"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ / "previews" / name)) << name;
  }
  options.previews = "/proc/no";
  Printed([&] { return Denoise(server_.Connect(), options); }, &failure);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->exit_status, kExitLocal);
  EXPECT_NE(failure->text.find("/proc/no"), std::string::npos) << failure->text;
}

TEST_F(CallsTest, DenoiseStartsFromGivenLatents) {
  DenoiseOptions options;
  options.loop.files["latents"] = folder_ / "sample.npy";
  options.loop.steps = 1;
  options.progress.shown = false;
  Outcome failure;
  // This server tells no shape where none was asked for.
  Printed([&] { return Denoise(server_.Connect(), options); }, &failure);
  const auto requests = server_.requests();
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].shape_size(), 0);
  EXPECT_EQ(requests[0].latents().shape_size(), 4);
  EXPECT_EQ(requests[0].seeds_size(), 1);
}

TEST_F(CallsTest, NegativeInputsAreTheSameUnlessSaid) {
  DenoiseOptions options;
  const std::string file = (folder_ / "sample.npy").string();
  options.inputs.named = {"a=" + file, "b=" + file};
  options.inputs.negative = {"b=" + file};
  options.loop.guidance = 2;
  options.loop.steps = 1;
  options.progress.shown = false;
  Outcome failure;
  Printed([&] { return Denoise(server_.Connect(), options); }, &failure);
  ASSERT_FALSE(failure) << failure->text;
  const auto requests = server_.requests();
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].conditions_size(), 2);
  ASSERT_EQ(requests[0].negative_conditions_size(), 2);
  EXPECT_EQ(requests[0].negative_conditions(0).name(), "a");
}

TEST(FileNamePart, HasNoPathInIt) {
  EXPECT_EQ(FileNamePart("lean-1.5"), "lean-1.5");
  EXPECT_EQ(FileNamePart("../a b/ü"), "_._a_b___");
}

}  // namespace
}  // namespace unetd::unetctl
