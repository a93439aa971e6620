"""Cases of heads, masks, residuals, sizes and timesteps, and of how a checkpoint is stored."""

import torch

from families import FRACTION
from harness import Call, Case
from keys import LATE, ONE, three_levels, two_levels

ATTENTION = [
    Case("one_head", two_levels(attention_head_dim=1), ONE),
    Case("heads_of_one", two_levels(attention_head_dim=[4, 8]), ONE),
    Case("heads_null_where_unused", two_levels(**LATE, attention_head_dim=[None, 4]), ONE),
    # 4 and 8 channels by 3 heads: heads of 1 and 2, and transformers 3 and 6 wide inside.
    Case("heads_not_dividing", two_levels(attention_head_dim=3), ONE),
    Case(
        "heads_not_dividing_linear",
        two_levels(attention_head_dim=3, use_linear_projection=True),
        ONE,
    ),
    Case("cross_dim_list", two_levels(**LATE, cross_attention_dim=[17, 10]), ONE),
    Case(
        "only_cross_true",
        two_levels(only_cross_attention=True),
        {"": Call(), "encoder_mask": Call(encoder_attention_mask="int64")},
    ),
    Case(
        "only_cross_mask",  # attention_mask then lies over the text
        two_levels(only_cross_attention=True, mid_block_type="UNetMidBlock2D"),
        {"": Call(attention_mask="int64", attention_mask_tokens=5)},
    ),
    Case(
        "one_level",
        two_levels(
            block_out_channels=[16],
            down_block_types=["CrossAttnDownBlock2D"],
            up_block_types=["CrossAttnUpBlock2D"],
        ),
        {
            "": Call(size=(5, 7)),
            "mask": Call(size=(5, 7), attention_mask="int64"),
            "mask_bool": Call(size=(6, 4), attention_mask="bool", batch=3),
            "mask_soft": Call(attention_mask="soft", encoder_attention_mask="soft"),
            "one_pixel": Call(size=(1, 1), batch=1, tokens=1),
        },
    ),
    Case(
        "masks",
        two_levels(**LATE),
        {
            "self": Call(attention_mask="float32"),
            "text": Call(encoder_attention_mask="float32", tokens=77),
            "both": Call(
                size=(7, 9), batch=3, attention_mask="bool", encoder_attention_mask="int64"
            ),
        },
    ),
    Case(
        "residuals",
        three_levels(),
        {
            "controlnet": Call(controlnet=True),
            "adapter": Call(adapter="all"),
            "adapter_mid": Call(adapter="all+mid"),
            "adapter_short": Call(adapter=1),
            "adapter_legacy": Call(legacy_adapter=True),
            "both_odd": Call(size=(7, 9), controlnet=True, adapter="all+mid"),
        },
    ),
    Case(
        "image_sizes",
        three_levels(),
        {
            "one_pixel": Call(size=(1, 1), tokens=1),
            "wide": Call(size=(1, 13), batch=1),
            "tall": Call(size=(11, 2), batch=1),
            "odd": Call(size=(5, 6), batch=3),
            "larger": Call(size=(20, 26), batch=1, tokens=77),
        },
    ),
    Case(
        "timesteps",
        two_levels(),
        {
            "zero": Call(timestep=(0,)),
            "int32": Call(timestep=(7, 981), timestep_dtype=torch.int32),
            "float32": Call(timestep=(7.5,), timestep_dtype=torch.float32),
            "float64": FRACTION,
        },
    ),
]

FILES = [
    Case(
        "minimal_config",
        dict(
            block_out_channels=[32],
            down_block_types=["CrossAttnDownBlock2D"],
            up_block_types=["CrossAttnUpBlock2D"],
            cross_attention_dim=24,
            layers_per_block=1,
            mid_block_type=None,
            resnet_time_scale_shift="scale_shift",  # seen even where a group is one channel
        ),
        ONE,
        keep_keys=(
            "resnet_time_scale_shift",
            "mid_block_type",
            "block_out_channels",
            "down_block_types",
            "up_block_types",
            "cross_attention_dim",
            "layers_per_block",
        ),
        extra_keys={
            "_class_name": "FlaxUNet2DConditionModel",
            "_diffusers_version": "0.6.0",
            "dropout": 0.0,
            "upcast_attention": None,
            "class_embeddings_concat": None,
            "a_key_of_later_days": {"any": ["thing"]},
        },
    ),
    Case("stored_float32", two_levels(), ONE, store=torch.float32),
    Case("stored_in_shards", two_levels(), ONE, shard="15KB"),
]

CASES = [*ATTENTION, *FILES]
