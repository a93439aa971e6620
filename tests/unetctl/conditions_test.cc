#include "client/unetctl/conditions.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "server/weights/writer.h"

namespace unetd::unetctl {
namespace {

class ConditionsTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(testing::TempDir()) /
            (std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) +
             ".safetensors");
  }
  void TearDown() override { std::filesystem::remove(path_); }

  // Each tensor is [2,1], its elements `value` and value + 0.5.
  void Write(const std::map<std::string, float>& values) {
    std::vector<std::array<float, 2>> memory;
    memory.reserve(values.size());
    std::map<std::string, TensorView> tensors;
    for (const auto& [name, value] : values) {
      memory.push_back({value, value + 0.5F});
      tensors[name] = {DType::kFloat32, {2, 1}, memory.back().data(), 8};
    }
    ASSERT_TRUE(WriteSafetensors(path_, tensors).ok());
  }

  std::filesystem::path path_;
};

TEST_F(ConditionsTest, PromptsComeInPeoplesOrder) {
  Write({{"10", 1}, {"9", 1}, {"uncond", 1}, {"cat", 1}, {"cat.text_embeds", 1}, {"09", 1}});
  const auto conditions = Conditions::Open(path_);
  ASSERT_TRUE(conditions.ok()) << conditions.status().message();
  EXPECT_EQ(conditions->prompts(), (std::vector<std::string>{"09", "9", "10", "cat", "uncond"}));
}

TEST_F(ConditionsTest, StacksTheInputsOfSeveralPrompts) {
  Write({{"a", 1}, {"a.text_embeds", 3}, {"b", 2}, {"b.text_embeds", 4}});
  const auto conditions = Conditions::Open(path_);
  ASSERT_TRUE(conditions.ok());
  const auto stacked = conditions->Stack(std::vector<std::string>{"b", "a", "b"});
  ASSERT_TRUE(stacked.ok()) << stacked.status().message();
  ASSERT_EQ(stacked->size(), 2U);
  const v1::Tensor& text = (*stacked)[0];
  EXPECT_EQ(text.name(), "encoder_hidden_states");
  EXPECT_EQ(text.datatype(), "FP32");
  EXPECT_EQ(Shape(text.shape().begin(), text.shape().end()), (Shape{3, 2, 1}));
  const float expected[] = {2, 2.5F, 1, 1.5F, 2, 2.5F};
  ASSERT_EQ(text.raw().size(), sizeof(expected));
  EXPECT_EQ(std::memcmp(text.raw().data(), expected, sizeof(expected)), 0);
  EXPECT_EQ((*stacked)[1].name(), "text_embeds");
}

TEST_F(ConditionsTest, RefusesUnknownPromptsAndUnequalOnes) {
  Write({{"a", 1}, {"b", 2}, {"b.text_embeds", 4}});
  const auto conditions = Conditions::Open(path_);
  ASSERT_TRUE(conditions.ok());
  const auto unknown = conditions->Stack(std::vector<std::string>{"a", "c"});
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.status().message().find("no prompt 'c'; it has a, b"), std::string::npos)
      << unknown.status().message();
  for (const auto& pair :
       {std::vector<std::string>{"a", "b"}, std::vector<std::string>{"b", "a"}}) {
    const auto unequal = conditions->Stack(pair);
    ASSERT_FALSE(unequal.ok());
    EXPECT_NE(unequal.status().message().find("have not the same inputs"), std::string::npos)
        << unequal.status().message();
  }
}

TEST_F(ConditionsTest, RefusesPromptsOfUnequalShape) {
  const float values[3] = {1, 2, 3};
  ASSERT_TRUE(WriteSafetensors(path_, {{"a", {DType::kFloat32, {2, 1}, values, 8}},
                                       {"b", {DType::kFloat32, {3, 1}, values, 12}}})
                  .ok());
  const auto conditions = Conditions::Open(path_);
  ASSERT_TRUE(conditions.ok());
  const auto stacked = conditions->Stack(std::vector<std::string>{"a", "b"});
  ASSERT_FALSE(stacked.ok());
  EXPECT_NE(stacked.status().message().find("FP32 [2,1], of prompt 'b' FP32 [3,1]"),
            std::string::npos)
      << stacked.status().message();
}

TEST_F(ConditionsTest, NamesTheFileThatIsNotThere) {
  const auto conditions = Conditions::Open(path_);
  ASSERT_FALSE(conditions.ok());
  EXPECT_NE(conditions.status().message().find(path_.filename().string()), std::string::npos);
}

}  // namespace
}  // namespace unetd::unetctl
