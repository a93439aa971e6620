#include "server/plan/conv_policy.h"

#include "server/plan/graph.h"
#include "tests/plan/small_plan.h"

namespace unetd {
namespace {

using ConvPolicyTest = SmallPlan;

TEST_F(ConvPolicyTest, KeepsEachWeightsOutputSize) {
  Open(ReferenceBackend());
  PlanBuilder emitted = Emit();
  const ConvPolicy policy = ConvPolicy::Of(ConvAlgorithm::kWinograd, {64, 48}, emitted);
  const std::map<std::string, Size> expected = {{"conv_in.weight", kImage},
                                                {"conv_out.weight", kImage}};
  EXPECT_EQ(policy.outputs, expected);
  EXPECT_EQ(policy.Key(), "winograd by 64x48");
}

TEST_F(ConvPolicyTest, FillsDescriptors) {
  const ConvPolicy policy{ConvAlgorithm::kDirect, {8, 8}, {{"known", {6, 5}}}};
  unetd_conv2d known{}, unknown{};
  policy.Apply({"known"}, known);
  EXPECT_EQ(known.algorithm, uint32_t{UNETD_CONV_DIRECT});
  EXPECT_EQ(known.reference_h, 6u);
  EXPECT_EQ(known.reference_w, 5u);
  policy.Apply({"unknown"}, unknown);
  EXPECT_EQ(unknown.algorithm, uint32_t{UNETD_CONV_DIRECT});
  EXPECT_EQ(unknown.reference_h, 0u) << "by its own size";
  EXPECT_EQ(policy.Key(), "direct") << "which no size changes";
}

// What reaches the backend: the policy's, and by itself auto.
TEST_F(ConvPolicyTest, IsAppliedToEveryConvolution) {
  Open(ReferenceBackend());
  for (const bool given : {false, true}) {
    PlanBuilder::Context context{backend_, weights_.get(), DType::kFloat32};
    if (given) {
      context.conv = std::make_shared<const ConvPolicy>(
          ConvPolicy{ConvAlgorithm::kWinograd, {64, 64}, {{"conv_in.weight", {64, 63}}}});
    }
    PlanBuilder builder(context);
    const Value x = builder.ImageInput("sample", kChannels, kImage);
    builder.Conv2d(x, {.weight = {"conv_in.weight"}, .bias = {}, .out_channels = 8});
    ASSERT_TRUE(builder.status().ok()) << builder.status().message();
    const unetd_conv2d& conv = builder.graph().nodes.back().desc.u.conv2d;
    EXPECT_EQ(conv.algorithm, uint32_t{given ? UNETD_CONV_WINOGRAD : UNETD_CONV_AUTO});
    EXPECT_EQ(conv.reference_h, given ? 64u : 0u);
    EXPECT_EQ(conv.reference_w, given ? 63u : 0u);
  }
}

}  // namespace
}  // namespace unetd
