#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "server/unet/unet_layout.h"
#include "tests/unet/config_text.h"

namespace unetd::test {
namespace {

using testing::ElementsAre;

UNetLayout LayoutOf(const nlohmann::json& changes) {
  const auto config = Parsed(With(SmallConfig(), changes));
  EXPECT_TRUE(config.ok()) << config.status().message();
  return config.ok() ? MakeLayout(*config) : UNetLayout{};
}

std::vector<std::string> Names(const std::vector<AttentionLayer>& layers) {
  std::vector<std::string> names;
  for (const AttentionLayer& layer : layers) names.push_back(layer.name);
  return names;
}

// The order and the shapes were read off diffusers' attn_processors.
TEST(UNetLayout, ListsLayersInDiffusersOrder) {
  const std::vector<AttentionLayer> layers = ListLayers(LayoutOf({{"attention_head_dim", 3}}));
  EXPECT_THAT(Names(layers), ElementsAre("down_blocks.0.attentions.0.transformer_blocks.0.attn1",
                                         "down_blocks.0.attentions.0.transformer_blocks.0.attn2",
                                         "up_blocks.1.attentions.0.transformer_blocks.0.attn1",
                                         "up_blocks.1.attentions.0.transformer_blocks.0.attn2",
                                         "up_blocks.1.attentions.1.transformer_blocks.0.attn1",
                                         "up_blocks.1.attentions.1.transformer_blocks.0.attn2",
                                         "mid_block.attentions.0.transformer_blocks.0.attn1",
                                         "mid_block.attentions.0.transformer_blocks.0.attn2"));
  const AttentionLayer& self = layers[0];
  EXPECT_FALSE(self.is_cross());
  EXPECT_EQ(self.heads, 3u);
  EXPECT_EQ(self.head_dim, 2u);  // 8 channels by 3 heads: 6 wide inside
  EXPECT_EQ(self.query_dim, 6u);
  EXPECT_FLOAT_EQ(self.scale, 1.0f / std::sqrt(2.0f));
  const AttentionLayer& cross = layers[1];
  EXPECT_TRUE(cross.is_cross());
  EXPECT_EQ(cross.cross_dim, 10u);
  EXPECT_EQ(layers.back().query_dim, 15u);
}

TEST(UNetLayout, OnlyCrossAttentionIsNotForTheMiddle) {
  const auto layers = ListLayers(LayoutOf({{"only_cross_attention", true}}));
  EXPECT_EQ(layers[0].cross_dim, 10u);
  EXPECT_EQ(layers[4].cross_dim, 10u);
  EXPECT_EQ(layers[6].cross_dim, 0u) << layers[6].name;
}

TEST(UNetLayout, UpResnetsReadTheirSkips) {
  const UNetLayout layout = LayoutOf({{"layers_per_block", 2}});
  const auto widths = [](const BlockLayout& block) {
    std::vector<uint32_t> in;
    for (const ResnetLayout& resnet : block.resnets) in.push_back(resnet.in_channels);
    return in;
  };
  EXPECT_THAT(widths(layout.down[0]), ElementsAre(8, 8));
  EXPECT_THAT(widths(layout.down[1]), ElementsAre(8, 16));
  EXPECT_THAT(widths(layout.up[0]), ElementsAre(32, 32, 24));
  EXPECT_THAT(widths(layout.up[1]), ElementsAre(24, 16, 16));
  EXPECT_EQ(layout.up[0].sampler, "up_blocks.0.upsamplers.0.conv");
  EXPECT_EQ(layout.up[1].sampler, "");
  EXPECT_EQ(layout.down[1].sampler, "");
}

TEST(UNetLayout, SizesFollowTheDownsamplers) {
  const auto sizes = [](uint32_t padding, Size sample) {
    const auto config = Parsed(With(SmallConfig(), {{"downsample_padding", padding}}));
    return SizeLayout(*config, MakeLayout(*config), sample);
  };
  const auto padded = sizes(1, {7, 9});
  ASSERT_TRUE(padded.ok());
  EXPECT_THAT(padded->levels, ElementsAre(Size{7, 9}, Size{4, 5}));
  EXPECT_THAT(padded->skips, ElementsAre(SkipShape{8, {7, 9}}, SkipShape{8, {7, 9}},
                                         SkipShape{8, {4, 5}}, SkipShape{16, {4, 5}}));
  EXPECT_THAT(padded->outputs, ElementsAre(SkipShape{8, {4, 5}}, SkipShape{16, {4, 5}}));
  EXPECT_EQ(sizes(0, {7, 9})->levels[1], (Size{3, 4}));
  EXPECT_EQ(sizes(1, {1, 1})->levels[1], (Size{1, 1}));
  EXPECT_FALSE(sizes(0, {1, 8}).ok());
}

// "ControlNet residuals": 12 of SD 1 and 2, 9 of SDXL.
TEST(UNetLayout, CountsPublishedSkips) {
  const auto sd = ParseUNetConfig(R"({"cross_attention_dim": 768})");
  EXPECT_EQ(SizeLayout(*sd, MakeLayout(*sd), {64, 64})->skips.size(), 12u);
  const auto xl = ParseUNetConfig(R"({
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [320, 640, 1280], "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10], "cross_attention_dim": 2048})");
  const UNetLayout layout = MakeLayout(*xl);
  EXPECT_EQ(SizeLayout(*xl, layout, {128, 128})->skips.size(), 9u);
  EXPECT_EQ(layout.attention_layers, 140u);
  EXPECT_EQ(ListLayers(layout).size(), 140u);
}

// DeepFloyd IF, Kandinsky and unCLIP have the blocks of the first, the latent upscaler those of the
// second. The counts are those of diffusers' attn_processors.
TEST(UNetLayout, CountsPublishedLayersOfOtherBlocks) {
  const auto kandinsky = ParseUNetConfig(R"({
    "down_block_types": ["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D",
                         "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnDownBlock2D"],
    "up_block_types": ["SimpleCrossAttnUpBlock2D", "SimpleCrossAttnUpBlock2D",
                       "SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "layers_per_block": 3,
    "block_out_channels": [384, 768, 1152, 1536], "attention_head_dim": 64,
    "cross_attention_dim": 768, "resnet_time_scale_shift": "scale_shift", "out_channels": 8,
    "encoder_hid_dim": 1024, "encoder_hid_dim_type": "text_image_proj",
    "addition_embed_type": "text_image"})");
  ASSERT_TRUE(kandinsky.ok()) << kandinsky.status().message();
  const UNetLayout simple = MakeLayout(*kandinsky);
  EXPECT_EQ(ListLayers(simple).size(), 22u);
  EXPECT_EQ(SizeLayout(*kandinsky, simple, {96, 96})->skips.size(), 16u);
  const AttentionLayer& layer = simple.up[0].attentions[0];
  EXPECT_EQ(layer.heads, 24u);
  EXPECT_EQ(layer.added_kv_dim, 768u);
  EXPECT_TRUE(layer.qkv_bias && layer.upcast_softmax && !layer.residual_connection);

  const auto upscaler = ParseUNetConfig(R"({
    "down_block_types": ["KDownBlock2D", "KCrossAttnDownBlock2D", "KCrossAttnDownBlock2D",
                         "KCrossAttnDownBlock2D"],
    "up_block_types": ["KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D",
                       "KUpBlock2D"],
    "mid_block_type": null, "norm_num_groups": null, "layers_per_block": 4, "in_channels": 8,
    "block_out_channels": [384, 384, 768, 768], "attention_head_dim": 64, "act_fn": "gelu",
    "cross_attention_dim": 768, "time_embedding_type": "fourier", "time_embedding_dim": 768,
    "time_cond_proj_dim": 896, "conv_in_kernel": 1, "conv_out_kernel": 1, "out_channels": 5})");
  ASSERT_TRUE(upscaler.ok()) << upscaler.status().message();
  const UNetLayout k = MakeLayout(*upscaler);
  EXPECT_EQ(ListLayers(k).size(), 32u);
  EXPECT_TRUE(k.up[0].k_attentions[0].attn1);   // only the first and the last block attend to
  EXPECT_FALSE(k.up[1].k_attentions[0].attn1);  // the image itself
  EXPECT_EQ(k.up[1].resnets[3].out_channels, 384u);
}

}  // namespace
}  // namespace unetd::test
