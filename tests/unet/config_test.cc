#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "server/unet/unet_config.h"
#include "tests/unet/config_text.h"

namespace unetd::test {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

std::string RefusalWith(const json& changes) { return Refusal(With(SmallConfig(), changes)); }

TEST(UNetConfig, FillsInDiffusersDefaults) {
  const auto config = ParseUNetConfig("{}");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->in_channels, 4u);
  EXPECT_EQ(config->out_channels, 4u);
  EXPECT_FALSE(config->sample_size);
  ASSERT_EQ(config->levels.size(), 4u);
  const uint32_t channels[] = {320, 640, 1280, 1280};
  for (size_t i = 0; i < 4; ++i) {
    const LevelConfig& level = config->levels[i];
    EXPECT_EQ(level.channels, channels[i]);
    EXPECT_EQ(level.layers, 2u);
    EXPECT_EQ(level.attention_head_dim, 8u);
    EXPECT_EQ(level.cross_dim, 1280u);
    EXPECT_FALSE(level.only_cross);
    EXPECT_EQ(level.down, i < 3 ? BlockKind::kCross : BlockKind::kPlain);
    EXPECT_EQ(level.up, i < 3 ? BlockKind::kCross : BlockKind::kPlain);
  }
  EXPECT_THAT(config->levels[0].down_depths, ElementsAre(1, 1));
  EXPECT_THAT(config->levels[0].up_depths, ElementsAre(1, 1, 1));
  EXPECT_THAT(config->levels[3].down_depths, ElementsAre());
  EXPECT_EQ(config->mid, MidBlock::kCrossAttn);
  EXPECT_EQ(config->mid_depth, 1u);
  EXPECT_EQ(config->norm_num_groups, 32u);
  EXPECT_FLOAT_EQ(config->norm_eps, 1e-5f);
  EXPECT_EQ(config->activation, Activation::kSilu);
  EXPECT_EQ(config->time_input_dim, 320u);
  EXPECT_EQ(config->time_embed_dim, 1280u);
  EXPECT_TRUE(config->flip_sin_to_cos);
  EXPECT_EQ(config->freq_shift, 0);
  EXPECT_EQ(config->class_embedding, ClassEmbedding::kNone);
  EXPECT_EQ(config->add_embedding, AddEmbedding::kNone);
  EXPECT_EQ(config->encoder_hid_dim, 0u);
  EXPECT_EQ(config->downsample_padding, 1u);
  EXPECT_TRUE(config->unknown_keys.empty());
}

TEST(UNetConfig, TakesNullWhereRealFilesHaveIt) {
  const auto config = Parsed(With(SmallConfig(), {{"upcast_attention", nullptr},
                                                  {"class_embeddings_concat", nullptr},
                                                  {"only_cross_attention", nullptr},
                                                  {"num_attention_heads", nullptr},
                                                  {"dual_cross_attention", nullptr},
                                                  {"use_linear_projection", nullptr},
                                                  {"time_embedding_dim", nullptr},
                                                  {"num_class_embeds", nullptr},
                                                  {"dropout", nullptr}}));
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_FALSE(config->upcast_attention);
}

TEST(UNetConfig, AcceptsFlaxClassNameAndOldBlockNames) {
  const json changes = {
      {"_class_name", "FlaxUNet2DConditionModel"},
      {"down_block_types", {"UNetResCrossAttnDownBlock2D", "UNetResDownBlock2D"}}};
  const auto config = Parsed(With(SmallConfig(), changes));
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->levels[0].down, BlockKind::kCross);
  EXPECT_EQ(config->levels[1].down, BlockKind::kPlain);
  json nameless = SmallConfig();
  nameless.erase("_class_name");
  EXPECT_EQ(Refusal(nameless), "");
}

TEST(UNetConfig, RefusesAnotherModelByWhatItIs) {
  EXPECT_EQ(RefusalWith({{"_class_name", "AutoencoderKL"}}),
            "config.json: _class_name: expected 'UNet2DConditionModel', got 'AutoencoderKL'");
}

TEST(UNetConfig, CollectsUnknownKeysButNotPrivateOnes) {
  const auto config = Parsed(With(
      SmallConfig(),
      {{"later_key", json::object()}, {"another", 1}, {"_name_or_path", "x"}, {"dropout", 0.5}}));
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(config->unknown_keys, ElementsAre("another", "later_key"));
}

TEST(UNetConfig, DistributesListsOverLevels) {
  const auto config =
      Parsed(With(SmallConfig(), {{"layers_per_block", {1, 3}},
                                  {"attention_head_dim", {2, 4}},
                                  {"only_cross_attention", {true, false}},
                                  {"transformer_layers_per_block", {{2}, {3, 1, 1}}},
                                  {"reverse_transformer_layers_per_block", {0, {5, 6}}}}));
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->levels[1].layers, 3u);
  EXPECT_EQ(config->levels[1].attention_head_dim, 4u);
  EXPECT_TRUE(config->levels[0].only_cross);
  EXPECT_THAT(config->levels[0].down_depths, ElementsAre(2));
  // reverse_... is in the order of the up blocks: its last entry is the finest level's.
  EXPECT_THAT(config->levels[0].up_depths, ElementsAre(5, 6));
  EXPECT_EQ(config->mid_depth, 3u);
}

TEST(UNetConfig, ResolvesTimeDims) {
  EXPECT_EQ(Parsed(With(SmallConfig(), {{"time_embedding_dim", 12}}))->time_embed_dim, 12u);
  EXPECT_EQ(Parsed(With(SmallConfig(), {{"time_embedding_dim", 0}}))->time_embed_dim, 32u);
  const auto fourier = Parsed(With(SmallConfig(), {{"time_embedding_type", "fourier"}}));
  EXPECT_EQ(fourier->time_embed_dim, 16u);
  EXPECT_EQ(fourier->time_input_dim, 16u);
}

struct Bad {
  const char* name;
  json changes;
  const char* message;  // after "config.json: "
};

class BadValue : public testing::TestWithParam<Bad> {};

TEST_P(BadValue, IsRefusedByKeyAndValue) {
  const std::string message = RefusalWith(GetParam().changes);
  EXPECT_THAT(message, testing::StartsWith("config.json: "));
  EXPECT_THAT(message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    , BadValue,
    testing::Values(
        Bad{"zero_channels",
            {{"block_out_channels", {0, 16}}},
            "block_out_channels[0]: expected an integer from 1 to 65536, got 0"},
        Bad{"negative_channels", {{"in_channels", -4}}, "in_channels: expected an integer from 1"},
        Bad{"huge_channels", {{"block_out_channels", {8, 4294967296}}}, "block_out_channels[1]: "},
        Bad{"beyond_int64",
            {{"out_channels", 18446744073709551615u}},
            "out_channels: expected an integer from 1 to 65536, got 18446744073709551615"},
        Bad{"fraction", {{"in_channels", 4.0}}, "in_channels: expected an integer"},
        Bad{"boolean_for_count",
            {{"layers_per_block", true}},
            "layers_per_block: expected an integer"},
        Bad{"no_layers", {{"layers_per_block", 0}}, "layers_per_block: "},
        Bad{"many_layers", {{"layers_per_block", 1000000}}, "layers_per_block: "},
        Bad{"text_for_bool",
            {{"upcast_attention", "yes"}},
            "upcast_attention: expected true or false, got 'yes'"},
        Bad{"groups",
            {{"norm_num_groups", 3}},
            "norm_num_groups: 3 does not divide the 8 channels of down_blocks.0.resnets.0.norm1"},
        // 8 and 16 are multiples of 8, but so must 16 + 16, 16 + 8 and 8 + 8 be.
        Bad{"groups_of_concatenation",
            {{"block_out_channels", {8, 12}}, {"norm_num_groups", 12}},
            "norm_num_groups: 12 does not divide the 8 channels"},
        Bad{"groups_null", {{"norm_num_groups", nullptr}}, "norm_num_groups: null"},
        Bad{"too_many_heads", {{"attention_head_dim", 9}}, "attention_head_dim: 9 at level 0"},
        Bad{"heads_null",
            {{"attention_head_dim", {nullptr, 2}}},
            "attention_head_dim: null at level 0"},
        Bad{"mid_heads_null",
            {{"attention_head_dim", {2, nullptr}}},
            "attention_head_dim: null at level 1"},
        Bad{"even_kernel",
            {{"conv_in_kernel", 4}},
            "conv_in_kernel: expected an odd number, got 4"},
        Bad{"huge_kernel", {{"conv_out_kernel", 1001}}, "conv_out_kernel: "},
        Bad{"padding",
            {{"downsample_padding", 2}},
            "downsample_padding: expected an integer from 0 to 1, got 2"},
        Bad{"no_levels",
            {{"down_block_types", json::array()}, {"up_block_types", json::array()}},
            "down_block_types: expected 1 to 10 blocks, got 0"},
        Bad{"many_levels",
            {{"down_block_types", json(std::vector<std::string>(11, "DownBlock2D"))}},
            "down_block_types: expected 1 to 10 blocks, got 11"},
        Bad{"type_not_text",
            {{"down_block_types", {1, 2}}},
            "down_block_types: expected a list of strings"},
        Bad{"down_for_up",
            {{"up_block_types", {"DownBlock2D", "UpBlock2D"}}},
            "up_block_types[0]: 'DownBlock2D' is no up block of diffusers"},
        Bad{"misspelled",
            {{"down_block_types", {"CrossAttnDownBlok2D", "DownBlock2D"}}},
            "did you mean 'CrossAttnDownBlock2D'?"},
        Bad{"cannot_run",
            {{"up_block_types", {"SkipUpBlock2D", "UpBlock2D"}}},
            "up_block_types[0]: 'SkipUpBlock2D': diffusers itself cannot run it"},
        Bad{"depth", {{"transformer_layers_per_block", 100000}}, "transformer_layers_per_block: "},
        Bad{"short_nested",
            {{"transformer_layers_per_block", {{1}, {1}}},
             {"reverse_transformer_layers_per_block", {{1, 1}, {1}}}},
            "reverse_transformer_layers_per_block[1]: expected one depth for each of 2 resnets"},
        Bad{"reverse_not_list",
            {{"reverse_transformer_layers_per_block", 1}},
            "reverse_transformer_layers_per_block: expected null or a list of 2, got 1"},
        Bad{"sample_size",
            {{"sample_size", {8, 8, 8}}},
            "sample_size: expected an integer or [height, width]"},
        Bad{"sample_size_zero", {{"sample_size", {8, 0}}}, "sample_size[1]: "},
        Bad{"freq_shift", {{"freq_shift", 4}}, "freq_shift: 4 is half of the 8"},
        Bad{"scale_zero", {{"mid_block_scale_factor", 0}}, "mid_block_scale_factor: "},
        Bad{"eps", {{"norm_eps", -1}}, "norm_eps: "},
        Bad{"act_null", {{"act_fn", nullptr}}, "act_fn: expected a string, got null"},
        Bad{"concat_without_class",
            {{"class_embeddings_concat", true}},
            "class_embeddings_concat: true"},
        Bad{"time_ids_leave_no_text",
            {{"addition_embed_type", "text_time"},
             {"addition_time_embed_dim", 8},
             {"projection_class_embeddings_input_dim", 8}},
            "projection_class_embeddings_input_dim: 8 leaves no room"},
        Bad{"class_type", {{"class_embed_type", "nope"}}, "class_embed_type: 'nope'"},
        Bad{"strange_text",
            {{"time_embedding_type", "a\nb\x01"}},
            "time_embedding_type: 'a\\nb\\x01'"}),
    [](const auto& info) { return info.param.name; });

TEST(UNetConfig, BoundsTheNumberOfLayersAsAWhole) {
  json config = SmallConfig();
  config["down_block_types"] = std::vector<std::string>(10, "CrossAttnDownBlock2D");
  config["up_block_types"] = std::vector<std::string>(10, "CrossAttnUpBlock2D");
  config["block_out_channels"] = std::vector<int>(10, 8);
  config["layers_per_block"] = 64;
  config["transformer_layers_per_block"] = 256;
  EXPECT_THAT(Refusal(config), HasSubstr("attention layers in all"));
}

TEST(UNetConfig, RefusesWhatIsNoJsonObject) {
  EXPECT_THAT(ParseUNetConfig("{\"a\": ").status().message(), HasSubstr("config.json: not JSON"));
  EXPECT_THAT(ParseUNetConfig("[1]").status().message(),
              HasSubstr("expected a JSON object, got [1]"));
  EXPECT_FALSE(ParseUNetConfig("{\"in_channels\": 1e999}").ok());
  EXPECT_FALSE(ParseUNetConfig("{\"act_fn\": \"\xff\"}").ok());
  EXPECT_FALSE(ParseUNetConfig("").ok());
}

TEST(UNetConfig, SurvivesDeepNesting) {
  const std::string deep = std::string(400000, '[') + std::string(400000, ']');
  EXPECT_FALSE(ParseUNetConfig(deep).ok());
  EXPECT_FALSE(ParseUNetConfig("{\"block_out_channels\": " + deep + "}").ok());
  EXPECT_TRUE(ParseUNetConfig("{\"unknown\": " + deep + "}").ok());
}

TEST(UNetConfig, LoadNamesTheFile) {
  const auto folder = std::filesystem::temp_directory_path() / "unetd_config_test";
  std::filesystem::create_directories(folder);
  std::filesystem::remove(folder / "config.json");
  const auto missing = LoadUNetConfig(folder);
  EXPECT_EQ(missing.status().code(), Code::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr((folder / "config.json").string()));
  std::ofstream(folder / "config.json") << std::string((1 << 20) + 1, ' ');
  EXPECT_THAT(LoadUNetConfig(folder).status().message(), HasSubstr("larger than 1.0 MiB"));
  std::ofstream(folder / "config.json") << SmallConfig();
  EXPECT_TRUE(LoadUNetConfig(folder).ok());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace unetd::test
