// Inputs of the models that are conditioned by more than a text: Kandinsky, unCLIP, GLIGEN, and
// what the rarer blocks take and do not take.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "server/unet/stage_row.h"
#include "server/unet/unet.h"
#include "tests/unet/config_text.h"

namespace unetd::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<const ModelUNet> Model(const json& changes) {
  auto config = Parsed(With(SmallConfig(), changes));
  EXPECT_TRUE(config.ok()) << config.status().message();
  return std::make_shared<const ModelUNet>(config.ok() ? *std::move(config) : UNetConfig{});
}

std::vector<NamedShape> Sent(const std::vector<std::pair<std::string, Shape>>& more,
                             Shape sample = {2, 4, 8, 8}) {
  std::vector<NamedShape> sent = {{"sample", DType::kFloat32, sample},
                                  {"timestep", DType::kInt64, {1}}};
  for (const auto& [name, shape] : more) sent.push_back({name, DType::kFloat32, shape});
  return sent;
}

// The key of the plan, or the refusal.
std::string Answer(const ModelUNet& unet, const std::vector<NamedShape>& sent) {
  const auto shape = unet.Resolve("m", sent);
  return shape.ok() ? shape->Key() : shape.status().message();
}

std::vector<std::string> Required(const ModelUNet& unet) {
  std::vector<std::string> names;
  for (const InputDecl& input : unet.inputs()) {
    if (input.required) names.push_back(input.name + " " + ShapeText(input.shape));
  }
  return names;
}

const json kNoBlockReads = {{"down_block_types", {"DownBlock2D", "DownBlock2D"}},
                            {"up_block_types", {"UpBlock2D", "UpBlock2D"}},
                            {"mid_block_type", "UNetMidBlock2D"}};

json SimpleBlocks() {
  return {{"down_block_types", {"ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"}},
          {"up_block_types", {"SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"}},
          {"mid_block_type", "UNetMidBlock2DSimpleCrossAttn"}};
}

TEST(ConditionInputs, TextImageTakesTextsOfTwoKinds) {
  const auto unet = Model({{"encoder_hid_dim", 12},
                           {"encoder_hid_dim_type", "text_image_proj"},
                           {"addition_embed_type", "text_image"}});
  EXPECT_THAT(Required(*unet), ElementsAre("sample [-1,4,-1,-1]", "timestep [-1]",
                                           "encoder_hidden_states [-1,-1,12]",
                                           "text_embeds [-1,10]", "image_embeds [-1,10]"));
  const std::pair<std::string, Shape> text = {"encoder_hidden_states", {2, 5, 12}};
  const std::pair<std::string, Shape> pooled = {"text_embeds", {2, 10}};
  const std::pair<std::string, Shape> image = {"image_embeds", {2, 10}};
  EXPECT_EQ(Answer(*unet, Sent({text, pooled, image})), "8x8 text=5");
  EXPECT_THAT(Answer(*unet, Sent({text, pooled})), HasSubstr("['image_embeds']"));
  EXPECT_THAT(Answer(*unet, Sent({text, pooled, {"image_embeds", {2, 11}}})),
              HasSubstr("'image_embeds' for model 'm'. Expected [-1,10], got [2,11]"));
  // The image's tokens stand before the text's.
  EXPECT_EQ(Answer(*unet, Sent({text, pooled, image, {"encoder_attention_mask", {2, 15}}})),
            "8x8 text=5 encoder_attention_mask=15");
}

TEST(ConditionInputs, ImageProjIgnoresTheText) {
  const auto unet = Model({{"encoder_hid_dim", 12}, {"encoder_hid_dim_type", "image_proj"}});
  const std::pair<std::string, Shape> image = {"image_embeds", {2, 12}};
  EXPECT_EQ(Answer(*unet, Sent({image})), "8x8");
  EXPECT_EQ(Answer(*unet, Sent({image, {"encoder_hidden_states", {2, 9, 33}}})), "8x8");
  EXPECT_EQ(unet->LikelyShape({8, 8}).text_tokens, 0u);
  const auto reads = Model({{"encoder_hid_dim", 12},
                            {"encoder_hid_dim_type", "image_proj"},
                            {"addition_embed_type", "text"},
                            {"addition_embed_type_num_heads", 3}});
  EXPECT_EQ(Answer(*reads, Sent({image, {"encoder_hidden_states", {2, 9, 12}}})), "8x8 text=9");
  EXPECT_THAT(Answer(*reads, Sent({image})), HasSubstr("['encoder_hidden_states']"));
}

TEST(ConditionInputs, AnAddedTextIsReadEvenIfNoBlockDoes) {
  json changes = kNoBlockReads;
  changes.update({{"addition_embed_type", "text"}, {"addition_embed_type_num_heads", 2}});
  EXPECT_EQ(Answer(*Model(changes), Sent({{"encoder_hidden_states", {2, 5, 10}}})), "8x8 text=5");
  EXPECT_THAT(Answer(*Model(kNoBlockReads), Sent({{"encoder_hidden_states", {2, 5, 10}}})),
              HasSubstr("unexpected inference input 'encoder_hidden_states'"));
  // diffusers projects it all the same, and fails without.
  const auto projected = Model(With(kNoBlockReads, {{"encoder_hid_dim", 12}}));
  EXPECT_EQ(Answer(*projected, Sent({{"encoder_hidden_states", {2, 5, 12}}})), "8x8");
  EXPECT_THAT(Answer(*projected, Sent({})), HasSubstr("['encoder_hidden_states']"));
}

TEST(ConditionInputs, HintIsEightTimesTheSample) {
  const json hint = {{"addition_embed_type", "image_hint"},
                     {"encoder_hid_dim", 12},
                     {"encoder_hid_dim_type", "image_proj"}};
  EXPECT_THAT(Refusal(With(SmallConfig(), hint)), HasSubstr("in_channels: 4 leaves no room"));
  const auto unet = Model(With(hint, {{"in_channels", 7}}));
  const auto with = [&](Shape shape) {
    return Sent({{"image_embeds", {2, 12}}, {"hint", std::move(shape)}}, {2, 3, 8, 8});
  };
  EXPECT_EQ(Answer(*unet, with({2, 3, 64, 64})), "8x8 hint=64x64");
  EXPECT_EQ(Answer(*unet, with({2, 3, 57, 63})), "8x8 hint=57x63");
  EXPECT_THAT(Answer(*unet, with({2, 3, 56, 64})), HasSubstr("Expected [2,3,64,64]"));
  EXPECT_THAT(Answer(*unet, with({2, 3, 64, 65})), HasSubstr("Expected [2,3,64,64]"));
  EXPECT_THAT(Answer(*unet, with({2, 3, INT64_MAX, 64})), HasSubstr("Expected [2,3,64,64]"));
  EXPECT_THAT(
      Answer(*unet, Sent({{"image_embeds", {2, 12}}, {"hint", {2, 3, 64, 64}}}, {2, 7, 8, 8})),
      HasSubstr("'sample' for model 'm'. Expected [-1,3,-1,-1]"));
  EXPECT_EQ(unet->LikelyShape({8, 8}).Key(), "8x8 hint=64x64");
}

TEST(ConditionInputs, BoxesComeWholeOrNotAtAll) {
  const auto unet = Model({{"attention_type", "gated"}});
  const std::pair<std::string, Shape> text = {"encoder_hidden_states", {2, 5, 10}};
  const std::pair<std::string, Shape> boxes = {"gligen.boxes", {2, 3, 4}};
  const std::pair<std::string, Shape> masks = {"gligen.masks", {2, 3}};
  const std::pair<std::string, Shape> phrases = {"gligen.positive_embeddings", {2, 3, 10}};
  EXPECT_EQ(Answer(*unet, Sent({text})), "8x8 text=5");
  EXPECT_EQ(Answer(*unet, Sent({text, boxes, masks, phrases})), "8x8 text=5 boxes=3");
  EXPECT_THAT(Answer(*unet, Sent({text, boxes, phrases})),
              HasSubstr("together or not at all, and 'gligen.masks' is missing"));
  EXPECT_THAT(Answer(*unet, Sent({text, masks, phrases})),
              HasSubstr("together or not at all, and 'gligen.boxes' is missing"));
  EXPECT_THAT(Answer(*unet, Sent({text, boxes, {"gligen.masks", {2, 4}}, phrases})),
              HasSubstr("Expected [2,3], got [2,4]: 'gligen.boxes' has 3 boxes"));
  EXPECT_THAT(Answer(*unet, Sent({text,
                                  {"gligen.boxes", {2, 1 << 20, 4}},
                                  {"gligen.masks", {2, 1 << 20}},
                                  {"gligen.positive_embeddings", {2, 1 << 20, 10}}})),
              HasSubstr("at most 4096 boxes"));
  EXPECT_EQ(unet->LikelyShape({8, 8}).boxes, 30u);
  EXPECT_THAT(Answer(*unet, Sent({text, {"gligen", {2, 3}}})),
              HasSubstr("gligen.boxes, gligen.masks, gligen.positive_embeddings, "
                        "down_block_additional_residuals.N"));
  EXPECT_THAT(Answer(*Model(json::object()), Sent({text, boxes})),
              HasSubstr("unexpected inference input 'gligen.boxes'"));
  const auto images = Model({{"attention_type", "gated-text-image"}});
  EXPECT_EQ(Answer(*images, Sent({text,
                                  boxes,
                                  masks,
                                  {"gligen.phrases_masks", {2, 3}},
                                  {"gligen.image_masks", {2, 3}},
                                  {"gligen.phrases_embeddings", {2, 3, 10}},
                                  {"gligen.image_embeddings", {2, 3, 10}}})),
            "8x8 text=5 boxes=3");
}

TEST(ConditionInputs, BoxesAreStagedAsFrequencies) {
  const float box[] = {0.1f, 0.2f, 0.7f, 0.9f};
  TensorView row;
  row.shape = {1, 4};
  row.data = box;
  row.bytes = sizeof(box);
  float features[kBoxFeatures] = {};
  ASSERT_TRUE(StageRow(wire::kBoxes, row, DType::kFloat32, features).ok());
  EXPECT_FLOAT_EQ(features[0], std::sin(0.1f));
  EXPECT_FLOAT_EQ(features[3], std::sin(0.9f));
  EXPECT_FLOAT_EQ(features[4], std::cos(0.1f));
  EXPECT_NEAR(features[8 * 4 + 2], std::sin(10.0f * 0.7f), 1e-6);  // the middle frequency
  float same[4] = {};
  ASSERT_TRUE(StageRow(wire::kSample, row, DType::kFloat32, same).ok());
  EXPECT_THAT(same, ElementsAre(0.1f, 0.2f, 0.7f, 0.9f));
}

TEST(ConditionInputs, TransformersAskForATextEvenWhereTheImageIsAsWide) {
  EXPECT_THAT(
      Answer(*Model({{"block_out_channels", {8, 8}}, {"cross_attention_dim", 8}}), Sent({})),
      HasSubstr("['encoder_hidden_states']"));
  EXPECT_THAT(Answer(*Model({{"cross_attention_dim", 8}}), Sent({})),
              HasSubstr("['encoder_hidden_states']"));
}

TEST(ConditionInputs, SizesThatPoolingCannotGiveBackAreRefused) {
  json changes = SimpleBlocks();
  const auto unet = Model(changes);
  const std::pair<std::string, Shape> text = {"encoder_hidden_states", {2, 5, 10}};
  EXPECT_EQ(Answer(*unet, Sent({text}, {2, 4, 6, 8})), "6x8 text=5");
  EXPECT_THAT(Answer(*unet, Sent({text}, {2, 4, 7, 8})),
              HasSubstr("7x8 does not fit: up_blocks.1.resnets.0 has an image of 6x8 there, and "
                        "its skip connection one of 7x8"));
  EXPECT_THAT(Answer(*unet, Sent({text}, {2, 4, 1, 8})),
              HasSubstr("1x8 is too small for the downsampler of down_blocks.0"));
}

TEST(ConditionInputs, ResidualsGoWhereDiffusersPutsThem) {
  const auto simple = Model(SimpleBlocks());
  const std::pair<std::string, Shape> text = {"encoder_hidden_states", {2, 5, 10}};
  const std::string intra = "down_intrablock_additional_residuals.";
  EXPECT_EQ(Answer(*simple, Sent({text, {intra + "0", {2, 8, 4, 4}}})), "8x8 text=5 adapter=1");
  // A SimpleCrossAttn block takes none.
  EXPECT_THAT(Answer(*simple, Sent({text, {intra + "1", {2, 16, 4, 4}}})),
              HasSubstr("unexpected inference input 'down_intrablock_additional_residuals.1'"));
  EXPECT_THAT(
      Answer(*simple, Sent({text,
                            {"down_block_additional_residuals.0", {2, 8, 4, 4}},
                            {"down_block_additional_residuals.1", {2, 8, 4, 4}}})),
      HasSubstr("the block down_blocks.1 takes none, in diffusers too; at most 1 can be sent"));
  // The last KCrossAttn block hands on nothing that a ControlNet could add to.
  const auto k = Model({{"down_block_types", {"KDownBlock2D", "KCrossAttnDownBlock2D"}},
                        {"up_block_types", {"KCrossAttnUpBlock2D", "KUpBlock2D"}},
                        {"mid_block_type", nullptr},
                        {"block_out_channels", {32, 32}},
                        {"time_embedding_dim", 32},
                        {"norm_num_groups", nullptr}});
  EXPECT_THAT(Answer(*k, Sent({text, {"mid_block_additional_residual", {2, 32, 4, 4}}})),
              HasSubstr("unexpected inference input 'mid_block_additional_residual'"));
}

}  // namespace
}  // namespace unetd::test
