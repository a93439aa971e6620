// The model option `conv`: what it costs, what it decides, and that a model served at several sizes
// packs each weight once.
#include <gmock/gmock.h>

#include <cstring>

#include "server/serving/check.h"
#include "tests/serving/server_fixture.h"

namespace unetd {
namespace {

using testing::HasSubstr;
using Shapes = std::vector<std::pair<int64_t, int64_t>>;

// The digits, whose inner levels have 64 channels: at 64x64 two of them go by F(4, 3), at 16x16
// one by F(2, 3).
std::unique_ptr<Server> Serve(ConvAlgorithm conv, Shapes shapes,
                              const std::vector<std::string>& variants = {"default"}) {
  Settings settings = TinySettings();
  settings.backends[0].name = "cpu";
  ModelSettings digits;
  digits.name = "digits";
  digits.path = Digits() / "unet";
  digits.json_path = "models[0]";
  digits.conv = conv;
  digits.shapes = std::move(shapes);
  for (const std::string& name : variants) {
    VariantSettings variant;
    variant.name = name;
    digits.variants.push_back(variant);
  }
  settings.models = {digits};
  auto server = Server::Create(settings, std::filesystem::path(UNETD_BUILD_DIR) / "lib/unetd");
  const Status status = server->Load();
  EXPECT_TRUE(status.ok()) << status.message();
  return server;
}

uint64_t PackedBytes(const Server& server) { return server.Stats().domains[0].weights_bytes; }

std::vector<PlanInfo> PlansOf(const Server& server) {
  const auto model = server.DescribeModel("digits");
  EXPECT_TRUE(model.ok()) << model.status().message();
  return model->plans;
}

uint64_t ByWinograd(const PlanInfo& plan) {
  uint64_t count = 0;
  for (const auto& [kernel, convolutions] : plan.convolutions) {
    if (kernel.starts_with("winograd")) count += convolutions;
  }
  return count;
}

std::vector<float> InferAt(Server& server, int64_t side) {
  const FloatTensor sample = Ramp("sample", {1, 1, side, side});
  const FloatTensor text = Ramp("encoder_hidden_states", {1, 4, 64}, 1);
  const int64_t timestep = 500;
  InferRequest request;
  request.model = "digits";
  request.inputs = {sample.Named(),
                    {"timestep", {DType::kInt64, {1}, &timestep, sizeof(timestep)}},
                    text.Named()};
  const auto result = Infer(server, request);
  EXPECT_TRUE(result.ok()) << result.status().message();
  if (!result.ok()) return {};
  std::vector<float> values(result->outputs[0].bytes.size() / sizeof(float));
  std::memcpy(values.data(), result->outputs[0].bytes.data(), result->outputs[0].bytes.size());
  return values;
}

TEST(ConvOption, EachWeightIsPackedOnceWhateverTheSizes) {
  const auto large = Serve(ConvAlgorithm::kAuto, {{64, 64}});
  const auto both = Serve(ConvAlgorithm::kAuto, {{16, 16}, {64, 64}, {8, 32}});
  EXPECT_EQ(PackedBytes(*both), PackedBytes(*large));
  const std::vector<PlanInfo> plans = PlansOf(*both);
  ASSERT_EQ(plans.size(), 3u);
  for (const PlanInfo& plan : plans) {
    EXPECT_EQ(plan.packed_bytes, plans[0].packed_bytes) << plan.shape;
    EXPECT_EQ(plan.convolutions, plans[0].convolutions) << plan.shape;
  }
  // Nor does a size that nobody declared need more.
  const uint64_t before = PackedBytes(*both);
  EXPECT_EQ(InferAt(*both, 24).size(), 24u * 24);
  EXPECT_EQ(InferAt(*both, 72).size(), 72u * 72);
  EXPECT_EQ(PackedBytes(*both), before);
}

// One size's bits are those of the declared shapes' rule, not of what else was asked for.
TEST(ConvOption, BitsFollowTheLargestShape) {
  const auto large = Serve(ConvAlgorithm::kAuto, {{64, 64}});
  const auto both = Serve(ConvAlgorithm::kAuto, {{16, 16}, {64, 64}});
  const auto small = Serve(ConvAlgorithm::kAuto, {{16, 16}});
  const auto print = [](const Server& server) {
    return server.Model("digits", "")->variants[0].fingerprint;
  };
  EXPECT_EQ(InferAt(*large, 16), InferAt(*both, 16));
  EXPECT_EQ(print(*large), print(*both));
  EXPECT_NE(InferAt(*large, 16), InferAt(*small, 16));
  EXPECT_NE(print(*large), print(*small));
  InferAt(*small, 64);
  EXPECT_EQ(InferAt(*small, 64), InferAt(*Serve(ConvAlgorithm::kAuto, {{16, 16}}), 64));
}

TEST(ConvOption, EachAlgorithmHasItsBytesBitsAndName) {
  std::map<ConvAlgorithm, uint64_t> bytes;
  std::map<ConvAlgorithm, std::string> prints;
  std::map<ConvAlgorithm, std::vector<float>> outputs;
  for (const ConvAlgorithm conv :
       {ConvAlgorithm::kAuto, ConvAlgorithm::kDirect, ConvAlgorithm::kWinograd}) {
    const auto server = Serve(conv, {{32, 32}});
    const auto info = server->Model("digits", "");
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->conv, ConvName(conv));
    EXPECT_EQ(ByWinograd(PlansOf(*server)[0]) != 0, conv != ConvAlgorithm::kDirect);
    EXPECT_THAT(CheckText(*server), HasSubstr(std::string("conv ") + ConvName(conv)));
    EXPECT_THAT(CheckText(*server), HasSubstr(" convolutions by packed gemm"));
    bytes[conv] = PackedBytes(*server);
    prints[conv] = info->variants[0].fingerprint;
    outputs[conv] = InferAt(*server, 32);
  }
  EXPECT_LT(bytes[ConvAlgorithm::kDirect], bytes[ConvAlgorithm::kAuto]);
  EXPECT_LT(bytes[ConvAlgorithm::kAuto], bytes[ConvAlgorithm::kWinograd]);
  for (const ConvAlgorithm other : {ConvAlgorithm::kDirect, ConvAlgorithm::kWinograd}) {
    EXPECT_NE(prints[other], prints[ConvAlgorithm::kAuto]);
    EXPECT_NE(outputs[other], outputs[ConvAlgorithm::kAuto]);
  }
}

// Variants share weights, Winograd's too; a direct model's shapes decide nothing.
TEST(ConvOption, VariantsShareWeightsAndDirectIsOneForAllShapes) {
  const auto one = Serve(ConvAlgorithm::kWinograd, {{16, 16}});
  const auto two = Serve(ConvAlgorithm::kWinograd, {{16, 16}}, {"a", "b"});
  EXPECT_EQ(PackedBytes(*one), PackedBytes(*two));
  const auto small = Serve(ConvAlgorithm::kDirect, {{16, 16}});
  const auto large = Serve(ConvAlgorithm::kDirect, {{32, 32}});
  EXPECT_EQ(PackedBytes(*small), PackedBytes(*large));
  EXPECT_EQ(small->Model("digits", "")->variants[0].fingerprint,
            large->Model("digits", "")->variants[0].fingerprint);
  EXPECT_EQ(InferAt(*small, 16), InferAt(*large, 16));
}

}  // namespace
}  // namespace unetd
