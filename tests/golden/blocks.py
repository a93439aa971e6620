"""The families of the other blocks, K, Attn and GLIGEN's, and one case a key or quirk of theirs."""

import torch

from harness import Call, Case
from keys import ONE, two_levels
from pixels import deepfloyd, simple

SIGMA = dict(timestep=(0.25, -1.6875), timestep_dtype=torch.float32)


def upscaler(**changes):
    """The latent upscaler by 2; its blocks group 32 channels, so none is narrower."""
    config = dict(
        sample_size=16,
        in_channels=8,
        out_channels=5,
        block_out_channels=[32, 40, 40],
        down_block_types=["KDownBlock2D"] + ["KCrossAttnDownBlock2D"] * 2,
        up_block_types=["KCrossAttnUpBlock2D"] * 2 + ["KUpBlock2D"],
        mid_block_type=None,
        layers_per_block=2,
        norm_num_groups=None,
        act_fn="gelu",
        timestep_post_act="gelu",
        time_embedding_type="fourier",
        time_embedding_dim=40,  # as wide as the last level: its up block attends to itself
        time_cond_proj_dim=20,
        conv_in_kernel=1,
        conv_out_kernel=1,
        resnet_time_scale_shift="scale_shift",
        cross_attention_dim=12,
        attention_head_dim=8,
    )
    return {**config, **changes}


def k_levels(**changes):
    config = dict(
        block_out_channels=[32, 40],
        down_block_types=["KDownBlock2D"] * 2,
        up_block_types=["KUpBlock2D"] * 2,
        mid_block_type=None,
        norm_num_groups=None,
    )
    return two_levels(**{**config, **changes})


def attn(**changes):
    config = dict(
        block_out_channels=[8, 12],
        down_block_types=["AttnDownBlock2D"] * 2,
        up_block_types=["AttnUpBlock2D"] * 2,
        attention_head_dim=[2, 4],  # up blocks read it from the front
        mid_block_type="UNetMidBlock2D",
    )
    return two_levels(**{**config, **changes})


def simples(**changes):
    config = dict(
        levels=2,
        block_out_channels=[8, 16],
        down_block_types=["SimpleCrossAttnDownBlock2D"] * 2,
        up_block_types=["SimpleCrossAttnUpBlock2D"] * 2,
    )
    return simple(**{**config, **changes})


def gated(kind, **changes):
    return two_levels(attention_type=kind, **changes)


NO_TEXT = Call(tokens=None)

K = [
    Case(
        "latent_upscaler",
        upscaler(),
        {
            "": Call(size=(16, 16), tokens=77, **SIGMA),
            "masks": Call(
                size=(16, 24),
                attention_mask="bool",
                encoder_attention_mask="int64",
                attention_mask_tokens=24,
                **SIGMA,
            ),
        },
    ),
    # The first up block is not told by its widths: it reads twice as many channels.
    Case(
        "k_plain",
        k_levels(),
        {"": NO_TEXT, "adapter": Call(tokens=None, adapter="all", controlnet=True)},
    ),
    Case("k_with_norm_out", k_levels(norm_num_groups=4, norm_eps=0.3), {"": NO_TEXT}),
    Case(
        "k_cross_up",
        k_levels(
            up_block_types=["KCrossAttnUpBlock2D"] * 2,
            layers_per_block=1,
            attention_head_dim=[5, 8],
            resnet_time_scale_shift="none of these blocks reads it",
            norm_eps=0.3,  # not of the attention's norms
        ),
        ONE,
    ),
    # A middle block makes its own number of groups.
    Case("k_with_mid", k_levels(mid_block_type="UNetMidBlock2DCrossAttn"), ONE),
]

ATTN = [
    Case("attn_blocks", attn(), {"": NO_TEXT, "adapter": Call(tokens=None, adapter="all")}),
    Case("attn_heads_not_dividing", attn(attention_head_dim=5), {"": NO_TEXT}),
    Case("attn_one_head", attn(attention_head_dim=[None, None], norm_eps=0.3), {"": NO_TEXT}),
    Case("attn_legacy_names", attn(), {"": NO_TEXT}, legacy_names=True),
    Case(
        "attn_and_cross",
        attn(
            block_out_channels=[8, 8],
            down_block_types=["AttnDownBlock2D", "CrossAttnDownBlock2D"],
            up_block_types=["CrossAttnUpBlock2D", "AttnUpBlock2D"],
            mid_block_type="UNetMidBlock2DCrossAttn",
        ),
        {"": Call(), "masks": Call(attention_mask="int64", encoder_attention_mask="bool")},
    ),
]

SIMPLE = [
    Case("simple_head_dims", simples(attention_head_dim=[2, 8]), ONE),
    Case("simple_head_dim_null", simples(attention_head_dim=[None, 8]), ONE),
    Case(
        "simple_layer_norm",
        simples(block_out_channels=[8, 8], cross_attention_dim=8, cross_attention_norm="layer_norm"),
        {"": Call(), "no_text": NO_TEXT},  # it takes the image for the text, and norms it not
    ),
    Case(
        "simple_group_norm",
        simples(cross_attention_dim=32, cross_attention_norm="group_norm"),
        {"": Call(), "mask": Call(encoder_attention_mask="bool")},
    ),
    Case("simple_only_cross_list", simples(only_cross_attention=[True, False]), ONE),
    Case("simple_only_cross_mid", simples(mid_block_only_cross_attention=True), ONE),
    Case(
        "simple_only_cross_not_mid",
        simples(only_cross_attention=True, mid_block_only_cross_attention=False),
        ONE,
    ),
    Case(
        "simple_only_cross_mask",  # fits where there are as many tokens of text as of image
        simples(
            levels=1,
            block_out_channels=[8],
            down_block_types=["SimpleCrossAttnDownBlock2D"],
            up_block_types=["SimpleCrossAttnUpBlock2D"],
            only_cross_attention=True,
        ),
        {"": Call(size=(3, 2), tokens=6, encoder_attention_mask="bool")},
    ),
    Case("simple_norm_eps", simples(norm_eps=0.3), ONE),  # not of the attention's group norms
    Case("simple_time_act", simples(resnet_skip_time_act=True, act_fn="mish"), ONE),
    Case(
        "resnet_default_shift",
        simple(
            levels=2,
            resnet_time_scale_shift="default",
            resnet_skip_time_act=True,
            resnet_out_scale_factor=1.4142,
            mid_block_scale_factor=0.7,
        ),
        {"": Call(), "adapter": Call(adapter=1)},
    ),
    Case("simple_mid_of_cross", two_levels(mid_block_type="UNetMidBlock2DSimpleCrossAttn"), ONE),
    Case(
        "add_text_unprojected",
        two_levels(addition_embed_type="text", addition_embed_type_num_heads=5),
        {"": Call(), "text": Call(tokens=77, encoder_attention_mask="int64")},
    ),
    Case(
        "add_text_of_image_proj",  # reads the text that the image replaces elsewhere
        two_levels(
            addition_embed_type="text",
            addition_embed_type_num_heads=2,
            encoder_hid_dim=14,
            encoder_hid_dim_type="image_proj",
        ),
        ONE,
    ),
    Case(
        "add_image_and_class",
        two_levels(addition_embed_type="image", encoder_hid_dim=10, num_class_embeds=7),
        {"": Call()},
    ),
    Case(
        "text_image_proj_mask",  # lies over the image's tokens, too
        two_levels(encoder_hid_dim=14, encoder_hid_dim_type="text_image_proj"),
        {"": Call(encoder_attention_mask="bool", encoder_attention_mask_tokens=15)},
    ),
    Case("deepfloyd_pooling", deepfloyd(addition_embed_type_num_heads=24, levels=2), ONE),
]

GLIGEN = [
    Case(
        "gligen",
        gated("gated", cross_attention_dim=24),
        {
            "": Call(boxes=3),
            "rows": Call(batch=3, boxes=30, size=(8, 12), tokens=77),
            "without": Call(batch=1),
        },
    ),
    Case("gligen_text_image", gated("gated-text-image"), {"": Call(boxes=3)}),
]

CASES = [*K, *ATTN, *SIMPLE, *GLIGEN]
