"""Configs that must be refused: diffusers raises for them, or their blocks are not built yet.

`stage` says where diffusers raises: "construct" (loading the model), "forward" (any run of it), or
"not_built" where diffusers runs it and unetd does not yet.
"""

import json

import torch
from diffusers import UNet2DConditionModel

from families import TWO_NARROW, sdxl, two_levels


def narrow(**changes):
    return two_levels(**{**TWO_NARROW, **changes})


def simple(down, up, mid="UNetMidBlock2DSimpleCrossAttn", **changes):
    config = dict(
        down_block_types=[down, down],
        up_block_types=[up, up],
        mid_block_type=mid,
        block_out_channels=[32, 32],
        attention_head_dim=8,
    )
    return two_levels(**{**config, **changes})


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
            projection_class_embeddings_input_dim=20,
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
]

NOT_BUILT = [
    ("simple_cross", simple("SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D"), "tier 2"),
    ("resnet_sampling", simple("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D"), "tier 2"),
    ("simple_mid", simple("DownBlock2D", "UpBlock2D"), "tier 2"),
    ("attn_blocks", simple("AttnDownBlock2D", "AttnUpBlock2D", mid=None), "tier 3"),
    (
        "k_blocks",
        simple("KDownBlock2D", "KUpBlock2D", mid=None, block_out_channels=[32, 64]),
        "tier 3",
    ),
    ("k_cross", simple("KCrossAttnDownBlock2D", "KCrossAttnUpBlock2D", mid=None), "tier 3"),
    ("dual_cross_attention", narrow(dual_cross_attention=True), "tier 3"),
    ("gated", narrow(attention_type="gated"), "tier 3"),
    ("gated_text_image", narrow(attention_type="gated-text-image"), "tier 3"),
    ("add_text", narrow(addition_embed_type="text", addition_embed_type_num_heads=4), "tier 2"),
    ("add_text_image", narrow(addition_embed_type="text_image"), "tier 2"),
    ("add_image", narrow(addition_embed_type="image", encoder_hid_dim=8), "tier 2"),
    ("add_image_hint", narrow(addition_embed_type="image_hint", encoder_hid_dim=8), "tier 2"),
    (
        "text_image_proj",
        narrow(encoder_hid_dim=8, encoder_hid_dim_type="text_image_proj"),
        "tier 2",
    ),
    ("image_proj", narrow(encoder_hid_dim=8, encoder_hid_dim_type="image_proj"), "tier 2"),
]


def raised(name, stage, config):
    """Returns the name of what diffusers raises; it is an error if it does not, or elsewhere."""
    try:
        unet = UNet2DConditionModel(**config)
    except Exception as error:  # whatever it is, it is what a user would see
        if stage != "construct":
            raise RuntimeError(f"refused/{name}: raises while being built") from error
        return type(error).__name__
    if stage == "not_built":
        return None
    try:
        if stage == "forward":
            added = {"text_embeds": torch.zeros(2, 4), "time_ids": torch.zeros(2, 2)}
            labels = torch.zeros(2, dtype=torch.int64)
            text = torch.zeros(2, 5, 24)
            unet(torch.zeros(2, 4, 8, 8), 1, text, class_labels=labels, added_cond_kwargs=added)
    except Exception as error:
        return type(error).__name__
    raise RuntimeError(f"refused/{name}: diffusers accepts it")


def make(out):
    entries = []
    for stage, table in (("construct", CONSTRUCT), ("forward", FORWARD), ("not_built", NOT_BUILT)):
        for name, config, why in table:
            if stage == "not_built":
                why = f"{why} of the blocks and keys, not built yet"
            entry = {"name": name, "stage": stage, "why": why, "config": config}
            error = raised(name, stage, config)
            entries.append(entry if error is None else {**entry, "diffusers_raises": error})
    out.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (out / "refused.json").write_text(f"[\n{lines}\n]\n")
