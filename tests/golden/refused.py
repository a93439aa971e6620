"""Configs that must be refused: diffusers raises for them.

`stage` says where: "construct" (loading the model) or "forward" (any run of it).
"""

import json

from diffusers import UNet2DConditionModel

import blocks
import pixels
from families import TWO_NARROW, sdxl, two_levels
from harness import Call, forward, make_inputs


def narrow(**changes):
    return two_levels(**{**TWO_NARROW, **changes})


CONSTRUCT = [
    ("num_attention_heads", narrow(num_attention_heads=2), "num_attention_heads must be null"),
    ("up_blocks_short", narrow(up_block_types=["UpBlock2D"]), "as many up as down blocks"),
    ("widths_short", narrow(block_out_channels=[8]), "one width a block"),
    ("heads_short", narrow(attention_head_dim=[2]), "one number of heads a block"),
    ("heads_null", narrow(attention_head_dim=None), "cross-attention blocks need their heads"),
    (
        "heads_null_in_list",
        narrow(attention_head_dim=[None, 2]),
        "block 0 has cross-attention and no number of heads",
    ),
    ("heads_zero", narrow(attention_head_dim=[0, 2]), "a number of heads is 1 or more"),
    ("heads_over_width", narrow(attention_head_dim=[5, 2]), "5 heads of 4 channels are 0 wide"),
    ("layers_short", narrow(layers_per_block=[1]), "one number of layers a block"),
    ("only_cross_short", narrow(only_cross_attention=[True]), "one only_cross_attention a block"),
    ("cross_dim_short", narrow(cross_attention_dim=[24]), "one cross_attention_dim a block"),
    (
        "nested_without_reverse",
        narrow(transformer_layers_per_block=[[1], [1]]),
        "nested lists need reverse_transformer_layers_per_block",
    ),
    (
        "transformer_layers_short",
        narrow(transformer_layers_per_block=[1]),
        "one number of transformer layers a block",
    ),
    ("down_type_unknown", narrow(down_block_types=["DownBlock3D", "DownBlock2D"]), "no such block"),
    ("up_type_unknown", narrow(up_block_types=["UpBlock2D", "UpBlock3D"]), "no such block"),
    ("mid_type_unknown", narrow(mid_block_type="UNetMidBlock3D"), "no such middle block"),
    ("act_unknown", narrow(act_fn="tanhshrink"), "no such activation"),
    ("post_act_unknown", narrow(timestep_post_act="tanhshrink"), "no such activation"),
    ("time_act_unknown", narrow(time_embedding_act_fn="tanhshrink"), "no such activation"),
    ("time_type_unknown", narrow(time_embedding_type="learned"), "positional or fourier"),
    (
        "fourier_odd_dim",
        narrow(time_embedding_type="fourier", time_embedding_dim=15),
        "a fourier time embedding needs an even dim",
    ),
    ("norm_num_groups_null", narrow(norm_num_groups=None), "these blocks need norm_num_groups"),
    ("groups_not_dividing", narrow(norm_num_groups=3), "norm_num_groups must divide the widths"),
    ("time_shift_ada", narrow(resnet_time_scale_shift="ada_group"), "default or scale_shift"),
    ("time_shift_spatial", narrow(resnet_time_scale_shift="spatial"), "default or scale_shift"),
    ("time_shift_unknown", narrow(resnet_time_scale_shift="shift"), "default or scale_shift"),
    (
        "class_projection_without_dim",
        narrow(class_embed_type="projection"),
        "projection needs projection_class_embeddings_input_dim",
    ),
    (
        "class_simple_projection_without_dim",
        narrow(class_embed_type="simple_projection"),
        "simple_projection needs projection_class_embeddings_input_dim",
    ),
    ("add_type_unknown", narrow(addition_embed_type="audio"), "no such addition_embed_type"),
    (
        "text_time_without_dim",
        narrow(addition_embed_type="text_time", addition_time_embed_dim=8),
        "text_time needs projection_class_embeddings_input_dim",
    ),
    (
        "encoder_type_without_dim",
        narrow(encoder_hid_dim_type="text_proj"),
        "encoder_hid_dim_type needs encoder_hid_dim",
    ),
    (
        "encoder_type_unknown",
        narrow(encoder_hid_dim_type="audio_proj", encoder_hid_dim=8),
        "no such encoder_hid_dim_type",
    ),
    (
        "text_proj_to_list",
        narrow(encoder_hid_dim=8, cross_attention_dim=[24, 24]),
        "text_proj needs one cross_attention_dim",
    ),
    (
        "add_text_image_to_list",
        narrow(addition_embed_type="text_image", cross_attention_dim=[24, 24]),
        "text_image needs one cross_attention_dim",
    ),
    (
        "gated_with_list",
        narrow(attention_type="gated", cross_attention_dim=[24, 24]),
        "position_net needs one cross_attention_dim",
    ),
    (
        "add_image_without_dim",
        narrow(addition_embed_type="image"),
        "image needs encoder_hid_dim",
    ),
    (
        "add_hint_without_dim",
        narrow(addition_embed_type="image_hint", in_channels=8),
        "image_hint needs encoder_hid_dim",
    ),
    (
        "ip_image_proj",
        narrow(encoder_hid_dim_type="ip_image_proj", encoder_hid_dim=8),
        "set at run time, by loading an IP-Adapter",
    ),
    (
        "simple_mid_head_dim_null",
        pixels.simple(attention_head_dim=[4, 4, None]),
        "the middle needs the width of its heads",
    ),
    (
        "cross_norm_unknown",
        pixels.simple(cross_attention_norm="rms_norm"),
        "no such cross_attention_norm",
    ),
    (
        "cross_group_norm_width",
        pixels.simple(cross_attention_norm="group_norm"),
        "the text's 20 channels are not 32 groups",
    ),
    (
        "attn_without_groups",
        blocks.attn(norm_num_groups=None),
        "only K blocks do without norm_num_groups",
    ),
    (
        "k_mid_shift",
        blocks.k_levels(mid_block_type="UNetMidBlock2D", resnet_time_scale_shift="ada_group"),
        "the middle is no K block",
    ),
]

FORWARD = [
    (
        "cross_dims_differ",
        sdxl(addition_embed_type=None, cross_attention_dim=[24, 24, 16]),
        "one text cannot be 24 and 16 wide",
    ),
    (
        "concat_and_text_time",
        narrow(
            num_class_embeds=10,
            class_embeddings_concat=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=12 + 6 * 8,
        ),
        "class_embeddings_concat doubles the embedding that text_time is added to",
    ),
    (
        "down_encoder_block",
        narrow(down_block_types=["DownEncoderBlock2D", "DownBlock2D"]),
        "an autoencoder's block gives no skips",
    ),
    (
        "down_skip_block",
        narrow(down_block_types=["SkipDownBlock2D", "DownBlock2D"], norm_num_groups=1),
        "a block of another model",
    ),
    (
        "dual_cross_attention",
        narrow(dual_cross_attention=True),
        "DualTransformer2DModel takes no encoder_attention_mask, and gets one",
    ),
    (
        "k_narrow",
        blocks.k_levels(block_out_channels=[16, 32]),
        "16 channels are no group of 32",
    ),
    (
        "k_ungrouped",
        blocks.k_levels(block_out_channels=[32, 65]),
        "65 channels are not 2 equal groups",
    ),
    (
        "k_cross_without_self",
        blocks.upscaler(time_embedding_dim=48),
        "the first up block finds no skip, and is not told that it is the first",
    ),
    (
        "k_down_plain_up",
        blocks.k_levels(up_block_types=["UpBlock2D"] * 2, norm_num_groups=4),
        "K blocks hand on too few skips",
    ),
    (
        "plain_down_k_up",
        blocks.k_levels(down_block_types=["DownBlock2D"] * 2, norm_num_groups=4),
        "K blocks read other skips than these hand on",
    ),
    (
        "simple_head_dim_over_width",
        pixels.simple(attention_head_dim=[4, 17, 4]),
        "no head is wider than its block",
    ),
    (
        "simple_layer_norm_width",
        pixels.simple(cross_attention_norm="layer_norm"),
        "layer_norm is as wide as the image, and the text is not",
    ),
    (
        "pooling_heads",
        narrow(addition_embed_type="text", addition_embed_type_num_heads=5),
        "5 heads of 24 channels",
    ),
    (
        "image_widths",
        narrow(
            addition_embed_type="image", encoder_hid_dim=10, encoder_hid_dim_type="text_image_proj"
        ),
        "one image_embeds cannot be 10 and 24 wide",
    ),
    (
        "concat_and_add_image",
        narrow(
            num_class_embeds=10,
            class_embeddings_concat=True,
            addition_embed_type="image",
            encoder_hid_dim=10,
        ),
        "class_embeddings_concat doubles the embedding that image is added to",
    ),
]


def raised(name, stage, config):
    """Returns the name of what diffusers raises; it is an error if it does not, or elsewhere."""
    try:
        unet = UNet2DConditionModel(**config)
    except Exception as error:  # whatever it is, it is what a user would see
        if stage != "construct":
            raise RuntimeError(f"refused/{name}: raises while being built") from error
        return type(error).__name__
    try:
        if stage == "forward":
            forward(unet, make_inputs(unet, name, "", Call(size=(16, 16))))
    except Exception as error:
        return type(error).__name__
    raise RuntimeError(f"refused/{name}: diffusers accepts it")


def make(out):
    entries = []
    for stage, table in (("construct", CONSTRUCT), ("forward", FORWARD)):
        for name, config, why in table:
            error = raised(name, stage, config)
            entry = {"name": name, "stage": stage, "why": why, "config": config}
            entries.append({**entry, "diffusers_raises": error})
    out.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (out / "refused.json").write_text(f"[\n{lines}\n]\n")
