// Inference through the facade, on the reference backend.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "server/tensor/convert.h"
#include "tests/serving/server_fixture.h"

namespace unetd {
namespace {

class ServerInfer : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = Loaded(TinySettings()).release(); }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  std::string ErrorOf(InferRequest request, Code code = Code::kInvalidArgument) {
    const auto result = Infer(*server_, std::move(request));
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(result.status().code(), code) << result.status().message();
    return result.status().message();
  }
  static Server* server_;
};
Server* ServerInfer::server_ = nullptr;

std::vector<float> Floats(const OutputTensor& tensor) {
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

TEST_F(ServerInfer, IsDiffusers) {
  auto file = SafetensorsFile::Open(Golden("unet/class_labels/io.safetensors"));
  ASSERT_TRUE(file.ok());
  for (const std::string variant : {"plain", "sliced"}) {
    InferRequest request;
    request.model = "labels";
    request.variant = variant;
    request.id = "7";
    for (const auto& [name, view] : (*file)->tensors()) {
      if (name.starts_with("in.")) request.inputs.push_back({name.substr(3), view});
    }
    const auto result = Infer(*server_, request);
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result->variant, variant);
    EXPECT_EQ(result->id, "7");
    ASSERT_EQ(result->outputs.size(), 1u);
    EXPECT_EQ(result->outputs[0].name, "out_sample");
    const TensorView& want = (*file)->tensors().at("out.out_sample");
    EXPECT_EQ(result->outputs[0].shape, want.shape);
    const std::vector<float> got = Floats(result->outputs[0]);
    ASSERT_EQ(got.size(), want.elements());
    double mean = 0, square = 0;
    for (uint64_t i = 0; i < got.size(); ++i) mean += want.as<float>()[i] / double(got.size());
    for (uint64_t i = 0; i < got.size(); ++i) square += std::pow(want.as<float>()[i] - mean, 2);
    const double std_dev = std::sqrt(square / double(got.size()));
    for (uint64_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], want.as<float>()[i], 2e-4 * std_dev) << variant << " " << i;
    }
  }
}

TEST_F(ServerInfer, ARowIsTheSameAloneAndInABatch) {
  const TinyInfer four(4);
  const auto together = Infer(*server_, four.Request());
  ASSERT_TRUE(together.ok()) << together.status().message();
  const size_t bytes = together->outputs[0].bytes.size() / 4;
  for (int row = 0; row < 4; ++row) {
    TinyInfer one(1);
    std::copy_n(four.sample.values.begin() + row * 256, 256, one.sample.values.begin());
    std::copy_n(four.text.values.begin() + row * 50, 50, one.text.values.begin());
    one.labels = {four.labels[row]};
    const auto alone = Infer(*server_, one.Request());
    ASSERT_TRUE(alone.ok());
    EXPECT_EQ(alone->outputs[0].bytes, together->outputs[0].bytes.substr(row * bytes, bytes));
  }
}

TEST_F(ServerInfer, TimestepsAreOneForAllOrOneARow) {
  const TinyInfer two(2);
  InferRequest request = two.Request();
  const auto shared = Infer(*server_, request);
  const float each[2] = {500, 500}, differ[2] = {500, 3};
  request.inputs[1].view = {DType::kFloat32, {2}, each, 8};
  const auto apart = Infer(*server_, request);
  request.inputs[1].view = {DType::kFloat32, {2}, differ, 8};
  const auto different = Infer(*server_, request);
  ASSERT_TRUE(shared.ok() && apart.ok() && different.ok());
  EXPECT_EQ(shared->outputs[0].bytes, apart->outputs[0].bytes);
  const size_t half = shared->outputs[0].bytes.size() / 2;
  EXPECT_EQ(shared->outputs[0].bytes.substr(0, half), different->outputs[0].bytes.substr(0, half));
  EXPECT_NE(shared->outputs[0].bytes.substr(half), different->outputs[0].bytes.substr(half));
}

TEST_F(ServerInfer, TheOutputHasTheSamplesType) {
  const TinyInfer one;
  const auto full = Infer(*server_, one.Request());
  ASSERT_TRUE(full.ok());
  const std::vector<float> want = Floats(full->outputs[0]);
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    InferRequest request = one.Request();
    const auto half = ConvertedTo(request.inputs[0].view, dtype);
    ASSERT_TRUE(half.ok());
    request.inputs[0].view = half->View();
    const auto result = Infer(*server_, request);
    ASSERT_TRUE(result.ok()) << result.status().message();
    const OutputTensor& output = result->outputs[0];
    EXPECT_EQ(output.dtype, dtype);
    ASSERT_EQ(output.bytes.size(), want.size() * 2);
    std::vector<float> got(want.size());
    ASSERT_TRUE(Convert({dtype, output.shape, output.bytes.data(), output.bytes.size()},
                        DType::kFloat32, got.data())
                    .ok());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 0.1);
  }
}

TEST_F(ServerInfer, AnotherSizeIsBuiltWhenItIsAskedFor) {
  const uint64_t before = server_->Stats().plan_misses;
  for (int i = 0; i < 2; ++i) {
    const auto result = Infer(*server_, TinyInfer(1, 7, 16).Request());
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result->outputs[0].shape, (Shape{1, 4, 16, 16}));
  }
  EXPECT_EQ(server_->Stats().plan_misses, before + 1);
}

TEST_F(ServerInfer, ModelsVersionsAndVariants) {
  const TinyInfer one;
  InferRequest request = one.Request();
  request.version = "1";
  EXPECT_TRUE(Infer(*server_, request).ok());
  for (const std::string bad : {"3abc", "-1", "0", "1.0", " 1", "000"}) {
    request.version = bad;
    EXPECT_NE(ErrorOf(request).find("version should be an integral value > 0"), std::string::npos);
  }
  for (const std::string unknown : {"2", "99999999999999999999"}) {
    request.version = unknown;
    EXPECT_EQ(ErrorOf(request, Code::kNotFound),
              "Request for unknown model: 'labels' version " + unknown + " is not found");
  }
  request.version = "";
  request.variant = "lean";
  EXPECT_EQ(ErrorOf(request, Code::kNotFound),
            "model 'labels' has no variant 'lean'; it has: plain, sliced");
  request.model = std::string("../x\0y", 6);
  EXPECT_EQ(ErrorOf(request, Code::kNotFound),
            "Request for unknown model: '../x\\x00y' is not found");
}

TEST_F(ServerInfer, BadRequestsAreNamed) {
  const TinyInfer one;
  InferRequest request = one.Request();
  request.inputs.pop_back();
  EXPECT_NE(ErrorOf(request).find("missing required input(s) ['class_labels']"), std::string::npos);

  const int64_t twelve = 12, minus = -1;
  const double broken = 1.5, nan = std::numeric_limits<double>::quiet_NaN();
  request = one.Request();
  request.inputs[3].view.data = &minus;
  EXPECT_NE(ErrorOf(request).find("class_labels[0]: -1 is outside [0, "), std::string::npos);
  request.inputs[3].view.data = &twelve;
  EXPECT_NE(ErrorOf(request).find("class_labels[0]: 12 is outside [0, "), std::string::npos);
  request.inputs[3].view = {DType::kFloat64, {1}, &broken, 8};
  EXPECT_EQ(ErrorOf(request), "class_labels[0]: 1.5 is not a whole number");
  request.inputs[3].view.data = &nan;
  EXPECT_NE(ErrorOf(request).find("class_labels[0]: nan is outside"), std::string::npos);

  request = one.Request();
  request.inputs[1].view = {DType::kFloat64, {1}, &nan, 8};
  EXPECT_EQ(ErrorOf(request), "timestep[0]: expected a finite number, got nan");

  request = TinyInfer(5).Request();
  EXPECT_EQ(ErrorOf(request), "inference request batch-size must be <= 4 for 'labels', got 5");

  request = one.Request();
  request.outputs = {"out_sample"};
  EXPECT_TRUE(Infer(*server_, request).ok());
  request.outputs = {"out_sample", "out_sample"};
  EXPECT_NE(ErrorOf(request).find("more than once"), std::string::npos);
  request.outputs = {"noise"};
  EXPECT_EQ(ErrorOf(request),
            "unexpected inference output 'noise' for model 'labels': it has 'out_sample'");
}

TEST_F(ServerInfer, ADeadlineInThePastIsAnswered) {
  const TinyInfer one;
  InferRequest request = one.Request();
  request.deadline = Clock::now() - std::chrono::milliseconds(1);
  ErrorOf(request, Code::kDeadlineExceeded);
}

TEST_F(ServerInfer, IdsDecideTheVariant) {
  const TinyInfer one;
  std::map<std::string, int> seen;
  for (int i = 0; i < 40; ++i) {
    InferRequest request = one.Request();
    request.variant.clear();
    request.id = "id-" + std::to_string(i);
    const auto first = Infer(*server_, request);
    const auto second = Infer(*server_, request);
    ASSERT_TRUE(first.ok() && second.ok());
    EXPECT_EQ(first->variant, second->variant);
    ++seen[first->variant];
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST_F(ServerInfer, MemoryIsGivenBackAndCounted) {
  const auto row = [&](const std::string& variant) {
    for (const VariantStats& stats : server_->Stats().variants) {
      if (stats.model == "labels" && stats.variant == variant) return stats;
    }
    return VariantStats();
  };
  const VariantStats before = row("plain");
  const TinyInfer three(3);
  Answer<InferResult> answer;
  uint64_t held_when_answered = 1;
  server_->Infer(three.Request(), [&](StatusOr<InferResult> result) {
    held_when_answered = server_->Stats().domains[0].requests_bytes;
    answer.Set(std::move(result));
  });
  ASSERT_TRUE(answer.Wait().ok());
  EXPECT_EQ(held_when_answered, 0u);
  InferRequest bad = three.Request();
  bad.outputs = {"x"};
  ErrorOf(bad);
  const VariantStats after = row("plain");
  EXPECT_EQ(after.success.count, before.success.count + 1);
  EXPECT_EQ(after.fail.count, before.fail.count + 1);
  EXPECT_EQ(after.inference_count, before.inference_count + 3);
  EXPECT_EQ(after.execution_count, before.execution_count + 1);
  EXPECT_GT(after.compute_infer.ns, before.compute_infer.ns);
  EXPECT_GE(after.batches.at(3).compute_infer.count, 1u);
  const ServerStats stats = server_->Stats();
  ASSERT_EQ(stats.domains.size(), 1u);
  EXPECT_EQ(stats.domains[0].requests_bytes, 0u);
  EXPECT_EQ(stats.domains[0].queued + stats.domains[0].running, 0u);
  EXPECT_GT(stats.domains[0].weights_bytes, 0u);
}

}  // namespace
}  // namespace unetd
