// Configs that diffusers cannot build or run: tests/golden/refused.json.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "tests/unet/config_text.h"
#include "tests/unet/golden.h"

namespace unetd::test {
namespace {

// What the message must name, by the case's name.
const std::map<std::string, std::string> kNamed = {
    {"num_attention_heads", "num_attention_heads: 2"},
    {"up_blocks_short",
     "up_block_types: expected as many blocks as down_block_types has, 2, got 1"},
    {"widths_short", "block_out_channels: expected a list of 2"},
    {"heads_short", "attention_head_dim: expected an integer or a list of 2"},
    {"heads_null", "attention_head_dim: expected an integer from 1 to 65536, got null"},
    {"heads_null_in_list", "attention_head_dim: null at level 0"},
    {"heads_zero", "attention_head_dim[0]: expected an integer from 1 to 65536, got 0"},
    {"heads_over_width", "attention_head_dim: 5 at level 0"},
    {"layers_short", "layers_per_block: expected an integer or a list of 2"},
    {"only_cross_short", "only_cross_attention: expected true, false or a list of 2"},
    {"cross_dim_short", "cross_attention_dim: expected an integer or a list of 2"},
    {"nested_without_reverse", "transformer_layers_per_block: [a list, a list]"},
    {"transformer_layers_short",
     "transformer_layers_per_block: expected an integer or a list of 2"},
    {"down_type_unknown", "down_block_types[0]: 'DownBlock3D'"},
    {"up_type_unknown", "up_block_types[1]: 'UpBlock3D'"},
    {"mid_type_unknown", "mid_block_type: 'UNetMidBlock3D'"},
    {"act_unknown", "act_fn: 'tanhshrink'"},
    {"post_act_unknown", "timestep_post_act: 'tanhshrink'"},
    {"time_act_unknown", "time_embedding_act_fn: 'tanhshrink'"},
    {"time_type_unknown", "time_embedding_type: 'learned'"},
    {"fourier_odd_dim", "time_embedding_dim: expected an even number for 'fourier', got 15"},
    {"norm_num_groups_null", "norm_num_groups: null"},
    {"groups_not_dividing", "norm_num_groups: 3"},
    {"time_shift_ada", "resnet_time_scale_shift: 'ada_group'"},
    {"time_shift_spatial", "resnet_time_scale_shift: 'spatial'"},
    {"time_shift_unknown", "resnet_time_scale_shift: 'shift'"},
    {"class_projection_without_dim",
     "class_embed_type: 'projection' needs projection_class_embeddings_input_dim"},
    {"class_simple_projection_without_dim",
     "class_embed_type: 'simple_projection' needs projection_class_embeddings_input_dim"},
    {"add_type_unknown", "addition_embed_type: 'audio'"},
    {"text_time_without_dim", "projection_class_embeddings_input_dim: 'text_time' needs it"},
    {"encoder_type_without_dim", "encoder_hid_dim_type: 'text_proj' needs encoder_hid_dim"},
    {"encoder_type_unknown", "encoder_hid_dim_type: 'audio_proj'"},
    {"text_proj_to_list",
     "encoder_hid_dim: 'text_proj' needs cross_attention_dim to be one integer"},
    {"cross_dims_differ", "cross_attention_dim: down_blocks.1."},
    {"concat_and_text_time", "class_embeddings_concat: true"},
    {"down_encoder_block",
     "down_block_types[0]: 'DownEncoderBlock2D': diffusers itself cannot run"},
    {"down_skip_block", "down_block_types[0]: 'SkipDownBlock2D': diffusers itself cannot run"},
    {"add_text_image_to_list",
     "addition_embed_type: 'text_image' needs cross_attention_dim to be one integer"},
    {"gated_with_list", "attention_type: 'gated' needs cross_attention_dim to be one integer"},
    {"add_image_without_dim", "encoder_hid_dim: 'image' needs it"},
    {"add_hint_without_dim", "encoder_hid_dim: 'image_hint' needs it"},
    {"ip_image_proj", "encoder_hid_dim_type: 'ip_image_proj'"},
    {"simple_mid_head_dim_null", "attention_head_dim: null at level 2"},
    {"cross_norm_unknown", "cross_attention_norm: 'rms_norm'"},
    {"cross_group_norm_width", "cross_attention_norm: 'group_norm' has 32 groups"},
    {"attn_without_groups", "norm_num_groups: null"},
    {"k_mid_shift", "resnet_time_scale_shift: 'ada_group'"},
    {"dual_cross_attention", "dual_cross_attention: true: diffusers itself cannot run it"},
    {"k_narrow", "block_out_channels: the 16 channels of down_blocks.0.resnets.0.norm1"},
    {"k_ungrouped", "block_out_channels: the 65 channels of down_blocks.1.resnets.0.norm2"},
    {"k_cross_without_self",
     "up_block_types: diffusers itself cannot run these blocks: up_blocks.0.resnets.0 reads 80"},
    {"k_down_plain_up", "up_block_types: diffusers itself cannot run these blocks: up_blocks."},
    {"plain_down_k_up", "up_block_types: diffusers itself cannot run these blocks: up_blocks."},
    {"simple_head_dim_over_width", "attention_head_dim: 17 at index 1"},
    {"simple_layer_norm_width", "cross_attention_norm: 'layer_norm' of down_blocks.1.attentions.0"},
    {"pooling_heads", "addition_embed_type_num_heads: 5 does not divide"},
    {"image_widths", "addition_embed_type: it and encoder_hid_dim_type take one image_embeds"},
    {"concat_and_add_image", "class_embeddings_concat: true"},
};

TEST(RefusedConfigs, AreRefusedByKeyAndValue) {
  std::ifstream file(GoldenFolder() / "refused.json");
  const nlohmann::json cases = nlohmann::json::parse(file);
  ASSERT_GT(cases.size(), 40u);
  for (const nlohmann::json& refused : cases) {
    const std::string name = refused.at("name");
    const auto named = kNamed.find(name);
    if (named == kNamed.end()) {
      ADD_FAILURE() << name << " is not in this test's table; it answers: "
                    << Refusal(refused.at("config"));
      continue;
    }
    EXPECT_THAT(Refusal(refused.at("config")), testing::HasSubstr("config.json: " + named->second))
        << name;
  }
}

}  // namespace
}  // namespace unetd::test
