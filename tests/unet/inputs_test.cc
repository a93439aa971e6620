#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "server/unet/unet.h"
#include "server/unet/unet_inputs.h"
#include "tests/unet/config_text.h"

namespace unetd::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<const ModelUNet> Model(const json& changes = json::object()) {
  auto config = Parsed(With(SmallConfig(), changes));
  EXPECT_TRUE(config.ok()) << config.status().message();
  return std::make_shared<const ModelUNet>(*std::move(config));
}

// Attention at one size only: down level 1, its up block and the middle.
const json kLate = {{"down_block_types", {"DownBlock2D", "CrossAttnDownBlock2D"}},
                    {"up_block_types", {"CrossAttnUpBlock2D", "UpBlock2D"}}};
const json kTextTime = {{"addition_embed_type", "text_time"},
                        {"addition_time_embed_dim", 8},
                        {"projection_class_embeddings_input_dim", 60}};

std::vector<NamedShape> Basic(int64_t batch = 2, int64_t h = 8, int64_t w = 8) {
  return {{"sample", DType::kFloat32, {batch, 4, h, w}},
          {"timestep", DType::kInt64, {1}},
          {"encoder_hidden_states", DType::kFloat32, {batch, 5, 10}}};
}

std::vector<NamedShape> Plus(std::vector<NamedShape> sent, const std::vector<NamedShape>& more) {
  sent.insert(sent.end(), more.begin(), more.end());
  return sent;
}

// Basic(), with the shape of one input replaced.
std::vector<NamedShape> Reshaped(const std::string& name, Shape shape) {
  std::vector<NamedShape> sent = Basic();
  for (NamedShape& input : sent) {
    if (input.name == name) input.shape = shape;
  }
  return sent;
}

std::string KeyOf(const ModelUNet& unet, const std::vector<NamedShape>& sent) {
  const auto shape = unet.Resolve("m", sent);
  return shape.ok() ? shape->Key() : shape.status().message();
}

std::string RefusalOf(const ModelUNet& unet, const std::vector<NamedShape>& sent) {
  const auto shape = unet.Resolve("m", sent);
  if (shape.ok()) return "accepted: " + shape->Key();
  EXPECT_EQ(shape.status().code(), Code::kInvalidArgument);
  return shape.status().message();
}

std::vector<NamedShape> ControlNet(int64_t batch = 2) {
  return {{"down_block_additional_residuals.0", DType::kFloat16, {batch, 8, 8, 8}},
          {"down_block_additional_residuals.1", DType::kFloat16, {batch, 8, 8, 8}},
          {"down_block_additional_residuals.2", DType::kFloat16, {batch, 8, 4, 4}},
          {"down_block_additional_residuals.3", DType::kFloat16, {batch, 16, 4, 4}},
          {"mid_block_additional_residual", DType::kFloat16, {batch, 16, 4, 4}}};
}

std::vector<NamedShape> Adapter(const std::string& prefix, size_t count) {
  const Shape shapes[] = {{2, 8, 8, 8}, {2, 16, 4, 4}, {2, 16, 4, 4}, {2, 16, 4, 4}};
  std::vector<NamedShape> sent;
  for (size_t i = 0; i < count; ++i) {
    sent.push_back({prefix + std::to_string(i), DType::kFloat32, shapes[i]});
  }
  return sent;
}

TEST(UNetInputs, DeclaresWhatTheModelTakes) {
  const auto unet = Model({{"num_class_embeds", 10}, {"time_cond_proj_dim", 20}});
  std::vector<std::string> names;
  for (const InputDecl& input : unet->inputs()) {
    names.push_back(input.name + " " + ShapeText(input.shape) + (input.required ? "!" : ""));
  }
  EXPECT_THAT(names, ElementsAre("sample [-1,4,-1,-1]!", "timestep [-1]!",
                                 "encoder_hidden_states [-1,-1,10]!", "class_labels [-1]!",
                                 "timestep_cond [-1,20]", "attention_mask [-1,-1]",
                                 "encoder_attention_mask [-1,-1]",
                                 "down_block_additional_residuals.0 [-1,8,-1,-1]",
                                 // 8 of a ControlNet, 16 of a T2I-Adapter under its old name
                                 "down_block_additional_residuals.1 [-1,-1,-1,-1]",
                                 "down_block_additional_residuals.2 [-1,-1,-1,-1]",
                                 "down_block_additional_residuals.3 [-1,16,-1,-1]",
                                 "mid_block_additional_residual [-1,16,-1,-1]",
                                 "down_intrablock_additional_residuals.0 [-1,8,-1,-1]",
                                 "down_intrablock_additional_residuals.1 [-1,16,-1,-1]",
                                 "down_intrablock_additional_residuals.2 [-1,16,-1,-1]"));
  const auto labels = std::find_if(unet->inputs().begin(), unet->inputs().end(),
                                   [](const InputDecl& d) { return d.name == "class_labels"; });
  EXPECT_EQ(labels->entries, 10u);
  EXPECT_EQ(labels->dtype, DType::kInt64);
}

TEST(UNetInputs, KeyHoldsWhatThePlanDependsOn) {
  const auto unet = Model({{"time_cond_proj_dim", 20}});
  EXPECT_EQ(KeyOf(*unet, Basic()), "8x8 text=5");
  EXPECT_EQ(KeyOf(*unet, Basic(7)), "8x8 text=5");  // never the batch
  EXPECT_EQ(KeyOf(*unet, Plus(Basic(), {{"timestep_cond", DType::kBFloat16, {2, 20}},
                                        {"encoder_attention_mask", DType::kBool, {2, 5}}})),
            "8x8 text=5 timestep_cond encoder_attention_mask=5");
  EXPECT_EQ(KeyOf(*unet, Plus(Basic(), ControlNet())), "8x8 text=5 controlnet");
  EXPECT_EQ(KeyOf(*unet, Plus(Basic(), Adapter("down_intrablock_additional_residuals.", 3))),
            "8x8 text=5 adapter=3");
  EXPECT_EQ(KeyOf(*unet, Plus(Basic(), Adapter("down_block_additional_residuals.", 2))),
            "8x8 text=5 legacy_adapter=2");
  EXPECT_EQ(KeyOf(*Model(kTextTime), Plus(Basic(), {{"text_embeds", DType::kFloat32, {2, 12}},
                                                    {"time_ids", DType::kInt32, {2, 6}}})),
            "8x8 text=5 time_ids=6");
}

TEST(UNetInputs, WordsItsRefusalsAsTritonDoes) {
  const auto unet = Model();
  EXPECT_EQ(RefusalOf(*unet, Reshaped("sample", {1, 3, 64, 64})),
            "unexpected shape for input 'sample' for model 'm'. Expected [-1,4,-1,-1], got "
            "[1,3,64,64]");
  EXPECT_EQ(RefusalOf(*unet, {{"sample", DType::kFloat32, {1, 4, 8, 8}}}),
            "expected 3 inputs but got 1 inputs for model 'm'. Got input(s) ['sample'], but "
            "missing required input(s) ['timestep', 'encoder_hidden_states']. Please provide all "
            "required input(s).");
  std::vector<NamedShape> sent = Basic();
  sent[0].dtype = DType::kInt32;
  EXPECT_EQ(RefusalOf(*unet, sent),
            "inference input 'sample' data-type is 'INT32', but model 'm' expects 'FP32', 'FP16' "
            "or 'BF16'");
  EXPECT_EQ(RefusalOf(*unet, Reshaped("encoder_hidden_states", {1, 5, 10})),
            "unexpected shape for input 'encoder_hidden_states' for model 'm'. Expected "
            "[2,-1,10], got [1,5,10]: 'sample' has 2 rows");
  EXPECT_THAT(RefusalOf(*unet, Plus(Basic(), {{"hint\n", DType::kFloat32, {1}}})),
              HasSubstr("unexpected inference input 'hint\\n' for model 'm': it takes sample, "));
  EXPECT_THAT(RefusalOf(*unet, Plus(Basic(), Basic())),
              HasSubstr("'sample' for model 'm' is given more than once"));
}

TEST(UNetInputs, ChecksSampleSizes) {
  const auto unet = Model();
  const auto refusal = [&](Shape shape) { return RefusalOf(*unet, Reshaped("sample", shape)); };
  EXPECT_THAT(refusal({0, 4, 8, 8}), HasSubstr("sizes must be at least 1"));
  EXPECT_THAT(refusal({2, 4, 8, -8}), HasSubstr("sizes must be at least 1"));
  EXPECT_THAT(refusal({2, 4, 0, 8}), HasSubstr("sizes must be at least 1"));
  EXPECT_THAT(refusal({2, 4, 8}), HasSubstr("Expected [-1,4,-1,-1]"));
  EXPECT_THAT(refusal({2, 4, INT64_MAX, INT64_MAX}), HasSubstr("pixels are possible"));
  EXPECT_THAT(refusal({2, 4, 1 << 20, 1 << 20}), HasSubstr("pixels are possible"));
  EXPECT_THAT(refusal({INT64_MAX, 4, 8, 8}), HasSubstr("rows are possible"));
  EXPECT_THAT(RefusalOf(*Model({{"downsample_padding", 0}}), Basic(2, 1, 8)),
              HasSubstr("1x8 is too small for the downsampler of down_blocks.0"));
  EXPECT_THAT(RefusalOf(*unet, Reshaped("encoder_hidden_states", {2, int64_t{1} << 40, 10})),
              HasSubstr("tokens are possible"));
  EXPECT_THAT(RefusalOf(*unet, Reshaped("encoder_hidden_states", {2, 0, 10})),
              HasSubstr("Expected [-1,-1,10], got [2,0,10]"));
}

TEST(UNetInputs, TimestepIsOneOrOneARow) {
  const auto unet = Model();
  EXPECT_EQ(KeyOf(*unet, Reshaped("timestep", {2})), "8x8 text=5");
  EXPECT_THAT(RefusalOf(*unet, Reshaped("timestep", {3})), HasSubstr("Expected [2], got [3]"));
  EXPECT_THAT(RefusalOf(*unet, Reshaped("timestep", {})), HasSubstr("Expected [-1], got []"));
  EXPECT_THAT(RefusalOf(*unet, Reshaped("timestep", {2, 1})), HasSubstr("Expected [-1]"));
}

TEST(UNetInputs, TextOfAModelWithoutAttention) {
  const auto none = Model({{"down_block_types", {"DownBlock2D", "DownBlock2D"}},
                           {"up_block_types", {"UpBlock2D", "UpBlock2D"}},
                           {"mid_block_type", "UNetMidBlock2D"}});
  EXPECT_THAT(RefusalOf(*none, Basic()),
              HasSubstr("unexpected inference input 'encoder_hidden_states'"));
  // Made for a text, but with no layer that reads one.
  const auto empty = Model({{"transformer_layers_per_block", 0}});
  EXPECT_EQ(KeyOf(*empty, Basic()), "8x8");
  EXPECT_EQ(KeyOf(*empty, {Basic()[0], Basic()[1]}), "8x8");
}

TEST(UNetInputs, TimeIdsAndTextEmbedsFillTheProjection) {
  const auto unet = Model(kTextTime);
  const auto refusal = [&](int64_t pooled, int64_t ids) {
    return RefusalOf(*unet, Plus(Basic(), {{"text_embeds", DType::kFloat32, {2, pooled}},
                                           {"time_ids", DType::kFloat32, {2, ids}}}));
  };
  EXPECT_EQ(refusal(20, 5), "accepted: 8x8 text=5 time_ids=5");
  EXPECT_THAT(refusal(12, 5), HasSubstr("'time_ids' for model 'm'. Expected [2,6], got [2,5]"));
  EXPECT_THAT(refusal(13, 6), HasSubstr("Expected [2,-1], got [2,6]: the 13 values of"));
  EXPECT_THAT(refusal(INT64_MAX, 6), HasSubstr("must come to 60"));
  EXPECT_THAT(refusal(12, INT64_MAX), HasSubstr("must come to 60"));
}

TEST(UNetInputs, AttentionMaskMustFitEveryAttn1) {
  const auto mask = [](int64_t keys) {
    return std::vector<NamedShape>{{"attention_mask", DType::kInt64, {2, keys}}};
  };
  EXPECT_THAT(
      RefusalOf(*Model(), Plus(Basic(), mask(64))),
      testing::AllOf(HasSubstr("with a sample of 8x8 it would have 64 values for "
                               "'down_blocks.0.attentions.0.transformer_blocks.0.attn1' but 16 for "
                               "'mid_block.attentions.0.transformer_blocks.0.attn1', so none fits"),
                     HasSubstr("'encoder_attention_mask' masks the text")));
  EXPECT_EQ(KeyOf(*Model(kLate), Plus(Basic(), mask(16))), "8x8 text=5 attention_mask=16");
  EXPECT_THAT(RefusalOf(*Model(kLate), Plus(Basic(), mask(64))),
              HasSubstr("Expected [2,16], got [2,64]: so many values fit the keys of "
                        "'down_blocks.1.attentions.0.transformer_blocks.0.attn1'"));
  // attn1 reads the text there.
  const json only_cross = {{"only_cross_attention", true}, {"mid_block_type", "UNetMidBlock2D"}};
  EXPECT_EQ(KeyOf(*Model(only_cross), Plus(Basic(), mask(5))), "8x8 text=5 attention_mask=5");
}

TEST(UNetInputs, TextMaskHasTheTextsLength) {
  const auto unet = Model();
  EXPECT_THAT(RefusalOf(*unet, Plus(Basic(), {{"encoder_attention_mask", DType::kBool, {2, 4}}})),
              HasSubstr("Expected [2,5], got [2,4]: so many values fit the keys of "
                        "'down_blocks.0.attentions.0.transformer_blocks.0.attn2'"));
  EXPECT_THAT(RefusalOf(*unet, Plus(Basic(), {{"encoder_attention_mask", DType::kBool, {1, 5}}})),
              HasSubstr("'sample' has 2 rows"));
}

TEST(UNetInputs, ControlNetResidualsComeWholeOrNotAtAll) {
  const auto unet = Model();
  const std::vector<NamedShape> all = ControlNet();
  EXPECT_THAT(RefusalOf(*unet, Plus(Basic(), {all[4]})),
              HasSubstr("'mid_block_additional_residual' for model 'm' needs the 4 inputs"));
  EXPECT_THAT(
      RefusalOf(*unet, Plus(Basic(), {all[0], all[1], all[4]})),
      HasSubstr(
          "expects 4 inputs 'down_block_additional_residuals.N' (one a skip connection), got 2"));
  EXPECT_THAT(RefusalOf(*unet, Plus(Basic(), {all[0], all[2], all[3], all[4]})),
              HasSubstr("'down_block_additional_residuals.1' is missing"));
  std::vector<NamedShape> wrong = all;
  wrong[2].shape = {2, 8, 8, 8};
  EXPECT_THAT(RefusalOf(*unet, Plus(Basic(), wrong)),
              HasSubstr("'down_block_additional_residuals.2' for model 'm'. Expected [2,8,4,4]"));
  EXPECT_THAT(RefusalOf(*unet, Plus(Basic(), ControlNet(1))), HasSubstr("'sample' has 2 rows"));
}

TEST(UNetInputs, AdapterResidualsAreOneABlock) {
  const auto unet = Model();
  const std::string intra = "down_intrablock_additional_residuals.";
  const std::string old = "down_block_additional_residuals.";
  EXPECT_THAT(RefusalOf(*unet, Plus(Basic(), Adapter(intra, 4))),
              HasSubstr("unexpected inference input 'down_intrablock_additional_residuals.3'"));
  EXPECT_THAT(RefusalOf(*unet, Plus(Basic(), Adapter(old, 4))),
              HasSubstr("at most 3 inputs 'down_block_additional_residuals.N' (without "
                        "'mid_block_additional_residual' they are a T2I-Adapter's"));
  EXPECT_THAT(RefusalOf(*unet, Plus(Plus(Basic(), Adapter(old, 2)), Adapter(intra, 2))),
              HasSubstr("those are here already"));
  // A plain block takes it at its output, a cross block before its downsampler.
  const auto late = Model(kLate);
  EXPECT_THAT(RefusalOf(*late, Plus(Basic(), Adapter(intra, 1))), HasSubstr("Expected [2,8,4,4]"));
  const auto no_mid = Model({{"mid_block_type", nullptr}});
  EXPECT_THAT(RefusalOf(*no_mid, Plus(Basic(), Adapter(intra, 3))),
              HasSubstr("unexpected inference input"));
}

TEST(ModelUNet, GuessesWhatRequestsWillSend) {
  EXPECT_EQ(Model()->LikelyShape({8, 8}).Key(), "8x8 text=77");
  EXPECT_EQ(Model(kTextTime)->LikelyShape({8, 8}).time_ids, 6u);
  json xl = kTextTime;
  xl["addition_time_embed_dim"] = 256;
  xl["projection_class_embeddings_input_dim"] = 2816;
  EXPECT_EQ(Model(xl)->LikelyShape({8, 8}).time_ids, 6u);
  xl["projection_class_embeddings_input_dim"] = 2560;
  EXPECT_EQ(Model(xl)->LikelyShape({8, 8}).time_ids, 5u);
  EXPECT_EQ(Model()->DefaultSize(), (Size{8, 8}));
  EXPECT_EQ(Model({{"sample_size", nullptr}})->DefaultSize(), (Size{16, 16}));
  EXPECT_EQ(Model({{"sample_size", {4, 6}}})->DefaultSize(), (Size{4, 6}));
}

}  // namespace
}  // namespace unetd::test
