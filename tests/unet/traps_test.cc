// What is easily built otherwise than diffusers has it, one test a trap. The numbers behind most of
// them are goldens, which golden_test.cc compares; here is what the modules are made of.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/attention/binding.h"
#include "server/attention/processor_table.h"
#include "server/unet/unet.h"
#include "tests/unet/config_text.h"
#include "tests/unet/golden.h"

namespace unetd::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

json Blocks(const char* down, const char* up, const char* mid = nullptr) {
  json changes = {{"down_block_types", {down, down}}, {"up_block_types", {up, up}}};
  changes["mid_block_type"] = mid != nullptr ? json(mid) : json(nullptr);
  return changes;
}

const json kSimple = Blocks("SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D",
                            "UNetMidBlock2DSimpleCrossAttn");

UNetConfig ConfigOf(const json& changes) {
  auto config = Parsed(With(SmallConfig(), changes));
  EXPECT_TRUE(config.ok()) << config.status().message();
  return config.ok() ? *std::move(config) : UNetConfig{};
}

UNetLayout LayoutOf(const json& changes) { return MakeLayout(ConfigOf(changes)); }

GoldenRun RunOn(const char* backend_name, const std::string& file, Status& status) {
  std::string why;
  GoldenSetup setup;
  setup.backend = GoldenBackend(backend_name, why);
  const auto io = GoldenFolder() / "unet" / file;
  auto run = RunGolden(io.parent_path(), io, setup);
  status = run.status();
  return run.ok() ? *std::move(run) : GoldenRun{};
}

void ExpectGolden(const std::string& file) {
  Status status = OkStatus();
  const GoldenRun run = RunOn("reference", file, status);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_LE(run.worst, 5e-5 * run.std) << file;
}

TEST(Traps, AttentionHeadDimIsHeadsInTransformersAndAWidthElsewhere) {
  const json dims = {{"attention_head_dim", {2, 8}}};
  const UNetLayout cross =
      LayoutOf(With(Blocks("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), dims));
  EXPECT_EQ(cross.down[0].transformers[0].heads, 2u);
  EXPECT_EQ(cross.up[0].transformers[0].heads, 8u);  // reversed
  for (const json& blocks : {kSimple, Blocks("AttnDownBlock2D", "AttnUpBlock2D")}) {
    const UNetLayout layout = LayoutOf(With(blocks, dims));
    EXPECT_EQ(layout.down[0].attentions[0].head_dim, 2u);
    EXPECT_EQ(layout.down[1].attentions[0].head_dim, 8u);
    EXPECT_EQ(layout.up[0].attentions[0].head_dim, 2u);  // not reversed
    EXPECT_EQ(layout.up[1].attentions[0].head_dim, 8u);
  }
}

// 16 channels by heads of 3: 5 heads, 15 wide. Only one processor unfolds them so.
TEST(Traps, HeadsOfSimpleBlocksMustMakeUpTheirWidth) {
  const std::vector<AttentionLayer> layers =
      ListLayers(LayoutOf(With(kSimple, {{"attention_head_dim", 3}})));
  ASSERT_EQ(layers.back().inner_dim(), 15u);
  std::string why;
  const auto backend = GoldenBackend("reference", why);
  VariantSettings variant;
  const auto refused = BindVariant(variant, layers, BackendRegistry(), backend);
  EXPECT_THAT(refused.status().message(),
              HasSubstr("AttnAddedKVProcessor2_0 needs heads that make up the layer's 8 channels"));
  ProcessorRule rule;
  rule.layers = "*";
  rule.processor = "AttnAddedKVProcessor";
  variant.processors = {rule};
  const auto bound = BindVariant(variant, layers, BackendRegistry(), backend);
  EXPECT_TRUE(bound.ok()) << bound.status().message();
}

TEST(Traps, OnlyCrossAttentionIsOfAttn1AndOfSimpleKeys) {
  const json only = {{"only_cross_attention", {true, false}}};
  const UNetLayout cross =
      LayoutOf(With(Blocks("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), only));
  EXPECT_TRUE(cross.down[0].transformers[0].Attn1(0).is_cross());
  EXPECT_FALSE(cross.down[1].transformers[0].Attn1(0).is_cross());
  EXPECT_TRUE(cross.up[1].transformers[0].Attn1(0).is_cross());  // reversed
  const UNetLayout simple = LayoutOf(With(kSimple, only));
  EXPECT_TRUE(simple.down[0].attentions[0].only_cross);
  EXPECT_FALSE(simple.down[1].attentions[0].only_cross);
  EXPECT_FALSE(simple.mid->attentions[0].only_cross);
  const UNetLayout all = LayoutOf(With(kSimple, {{"only_cross_attention", true}}));
  EXPECT_TRUE(all.mid->attentions[0].only_cross);
  json apart = With(kSimple, {{"only_cross_attention", true}});
  apart["mid_block_only_cross_attention"] = false;
  EXPECT_FALSE(LayoutOf(apart).mid->attentions[0].only_cross);
}

TEST(Traps, TextStandsBeforeTheImageAndIsTakenBeforeTheGroupNorm) {
  ExpectGolden("deepfloyd_if/io.encoder_mask.safetensors");
  ExpectGolden("simple_layer_norm/io.no_text.safetensors");
}

TEST(Traps, AttentionMaskGoesBeforeTheTextsOwnInSimpleBlocks) {
  ExpectGolden("deepfloyd_if/io.both_masks.safetensors");
  const ModelUNet unet(ConfigOf(kSimple));
  const std::vector<NamedShape> basic = {{"sample", DType::kFloat32, {1, 4, 8, 8}},
                                         {"timestep", DType::kInt64, {1}},
                                         {"encoder_hidden_states", DType::kFloat32, {1, 5, 10}}};
  std::vector<NamedShape> sent = basic;
  sent.push_back({"encoder_attention_mask", DType::kBool, {1, 5}});
  EXPECT_EQ(unet.Resolve("m", sent)->Key(), "8x8 text=5 encoder_attention_mask=5");
  sent.push_back({"attention_mask", DType::kBool, {1, 5}});
  EXPECT_EQ(unet.Resolve("m", sent)->Key(), "8x8 text=5 attention_mask=5");
  // As long as the image, it is not padded, and then fits no key.
  sent = basic;
  sent[2].shape = {1, 16, 10};
  sent.push_back({"encoder_attention_mask", DType::kBool, {1, 16}});
  EXPECT_THAT(unet.Resolve("m", sent).status().message(), HasSubstr("none fits 'down_blocks.1."));
}

TEST(Traps, NpuKeepsWhatTheMaskKeeps) {
  const auto row = FindProcessor("AttnProcessorNPU");
  ASSERT_TRUE(row.ok()) << row.status().message();
  EXPECT_TRUE((*row)->Has(kMaskIsBool));
}

TEST(Traps, CrossAttentionNormHas32Groups) {
  json changes = With(kSimple, {{"cross_attention_norm", "group_norm"}});
  EXPECT_THAT(Refusal(With(SmallConfig(), changes)), HasSubstr("32 groups"));
  changes["cross_attention_dim"] = 64;
  EXPECT_EQ(LayoutOf(changes).down[0].attentions[0].norm_cross, NormCross::kGroupNorm);
  ExpectGolden("deepfloyd_if/io.safetensors");  // norm_num_groups is 4 there
}

TEST(Traps, NormEpsIsNotOfEveryNorm) {
  const json eps = {{"norm_eps", 0.3}};
  EXPECT_FLOAT_EQ(LayoutOf(With(kSimple, eps)).down[0].attentions[0].norm_eps, 1e-5f);
  const UNetLayout attn = LayoutOf(With(Blocks("AttnDownBlock2D", "AttnUpBlock2D"), eps));
  EXPECT_FLOAT_EQ(attn.down[0].attentions[0].norm_eps, 0.3f);
  for (const char* model : {"norm_eps", "simple_norm_eps", "attn_one_head", "k_cross_up"}) {
    ExpectGolden(std::string(model) + "/io.safetensors");
  }
}

TEST(Traps, AddedTextIsNotProjected) {
  json changes = {{"addition_embed_type", "text"},
                  {"addition_embed_type_num_heads", 4},
                  {"encoder_hid_dim", 12}};
  EXPECT_EQ(Refusal(With(SmallConfig(), changes)), "");  // 4 heads of 12 channels, not of 10
  changes["addition_embed_type_num_heads"] = 5;
  EXPECT_THAT(Refusal(With(SmallConfig(), changes)),
              HasSubstr("5 does not divide the 12 channels"));
  ExpectGolden("add_text_of_image_proj/io.safetensors");
}

TEST(Traps, TheMiddleMayBeMissingOrPlain) {
  EXPECT_FALSE(LayoutOf({{"mid_block_type", nullptr}}).mid);
  const UNetLayout plain = LayoutOf({{"mid_block_type", "UNetMidBlock2D"}});
  EXPECT_EQ(plain.mid->resnets.size(), 1u);
  EXPECT_TRUE(plain.mid->transformers.empty());
  // K blocks say nothing of groups: the middle counts its own.
  json k = Blocks("KDownBlock2D", "KUpBlock2D", "UNetMidBlock2D");
  k.update({{"block_out_channels", {32, 40}}, {"norm_num_groups", nullptr}});
  EXPECT_EQ(LayoutOf(k).mid->resnets[0].groups_in, 10u);
}

TEST(Traps, LayersAreListedDownUpMiddle) {
  std::vector<std::string> names;
  for (const AttentionLayer& layer : ListLayers(LayoutOf(kSimple))) names.push_back(layer.name);
  EXPECT_THAT(names, ElementsAre("down_blocks.0.attentions.0", "down_blocks.1.attentions.0",
                                 "up_blocks.0.attentions.0", "up_blocks.0.attentions.1",
                                 "up_blocks.1.attentions.0", "up_blocks.1.attentions.1",
                                 "mid_block.attentions.0"));
  const auto flax = Parsed(With(SmallConfig(), {{"_class_name", "FlaxUNet2DConditionModel"},
                                                {"resnet_skip_time_act", nullptr},
                                                {"cross_attention_norm", nullptr}}));
  EXPECT_TRUE(flax.ok()) << flax.status().message();
  names.clear();
  for (const AttentionLayer& layer : ListLayers(LayoutOf({{"attention_type", "gated"}})))
    names.push_back(layer.name);
  EXPECT_EQ(names[2], "down_blocks.0.attentions.0.transformer_blocks.0.fuser.attn");
}

}  // namespace
}  // namespace unetd::test
