// Values that are tokens of other values, and sequences put together.
#include <functional>

#include "tests/plan/small_plan.h"

namespace unetd {
namespace {

class TokenTest : public SmallPlan {
 protected:
  // The output [channels][tokens] of a plan that `emit` makes, for row 0 filled with `content`.
  std::vector<float> Run(const std::function<Value(PlanBuilder&)>& emit, uint32_t content = 1) {
    Open(ReferenceBackend());
    PlanBuilder builder({backend_, weights_.get(), DType::kFloat32});
    builder.Output(emit(builder));
    auto plan = Compile(builder, {.packed = packed_.get()});
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    if (!plan.ok()) return {};
    auto runner = *Runner::Create(backend_, ledger_, 1);
    auto blocks = *RequestBlocks::Create(*plan, *ledger_, 1);
    FillRow(*blocks, 0, content);
    for (const PlanInput& input : (*plan)->inputs) {
      const auto* data = reinterpret_cast<const float*>(blocks->Input(input, 0));
      inputs_[input.name] = {data, data + input.bytes / 4};
    }
    EXPECT_TRUE(RunAll(*runner, *blocks, {0}).ok());
    const Shape& shape = (*plan)->output_shape;
    return {blocks->Output(0), blocks->Output(0) + shape[0] * shape[1] * shape[2]};
  }

  // Element (token, channel) of an input [tokens, 4], and of an output of `tokens` tokens.
  float Text(uint32_t token, uint32_t channel) { return inputs_["text"][token * 4 + channel]; }

  std::map<std::string, std::vector<float>> inputs_;
};

Value TextInput(PlanBuilder& b) { return b.TokensInput("text", 3, 4, DType::kFloat32); }

TEST_F(TokenTest, TokensOfTwoSectionsStandOneAfterTheOther) {
  const auto out = Run([](PlanBuilder& b) {
    return b.ConcatTokens(TextInput(b), b.ImageInput("sample", 4, {2, 1}));
  });
  ASSERT_EQ(out.size(), 20u);
  for (uint32_t c = 0; c < 4; ++c) {
    for (uint32_t t = 0; t < 3; ++t) EXPECT_EQ(out[c * 5 + t], Text(t, c));
    for (uint32_t t = 0; t < 2; ++t) EXPECT_EQ(out[c * 5 + 3 + t], inputs_["sample"][c * 2 + t]);
  }
}

TEST_F(TokenTest, SlicesOfTokensAreReadWhereTheyLie) {
  const auto out = Run([](PlanBuilder& b) {
    const Value text = TextInput(b);
    return b.ConcatTokens(SliceTokens(text, 2, 1), SliceTokens(text, 0, 2));
  });
  ASSERT_EQ(out.size(), 12u);
  constexpr uint32_t kOrder[] = {2, 0, 1};
  for (uint32_t i = 0; i < 12; ++i) EXPECT_EQ(out[i], Text(kOrder[i % 3], i / 3));
}

TEST_F(TokenTest, AVectorSplitsIntoTokens) {
  const auto out = Run(
      [](PlanBuilder& b) { return SplitTokens(b.TokensInput("text", 1, 12, DType::kFloat32), 3); });
  ASSERT_EQ(out.size(), 12u);
  for (uint32_t i = 0; i < 12; ++i) EXPECT_EQ(out[i], Text(i % 3, i / 3));
}

TEST_F(TokenTest, TheMeanIsOfAllTokens) {
  const auto out = Run([](PlanBuilder& b) { return b.MeanTokens(TextInput(b)); });
  ASSERT_EQ(out.size(), 4u);
  for (uint32_t c = 0; c < 4; ++c)
    EXPECT_NEAR(out[c], (Text(0, c) + Text(1, c) + Text(2, c)) / 3, 1e-6f);
}

TEST_F(TokenTest, MultipliesByChannelAndByToken) {
  const auto by_channel = Run([](PlanBuilder& b) {
    const Value text = TextInput(b);
    return b.Multiply(text, SliceTokens(text, 1, 1));
  });
  ASSERT_EQ(by_channel.size(), 12u);
  for (uint32_t i = 0; i < 12; ++i)
    EXPECT_NEAR(by_channel[i], Text(i % 3, i / 3) * Text(1, i / 3), 1e-6f);
  const auto by_token = Run([](PlanBuilder& b) {
    const Value text = TextInput(b);
    return b.Multiply(text, SliceChannels(text, 3, 1));
  });
  ASSERT_EQ(by_token.size(), 12u);
  for (uint32_t i = 0; i < 12; ++i)
    EXPECT_NEAR(by_token[i], Text(i % 3, i / 3) * Text(i % 3, 3), 1e-6f);
}

TEST_F(TokenTest, WidthsThatDifferAreRefused) {
  Open(ReferenceBackend());
  PlanBuilder builder({backend_, weights_.get(), DType::kFloat32});
  builder.ConcatTokens(TextInput(builder), builder.ImageInput("sample", 5, {2, 1}));
  EXPECT_NE(builder.status().message().find("4 and 5 channels"), std::string::npos)
      << builder.status().message();
}

}  // namespace
}  // namespace unetd
