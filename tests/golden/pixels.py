"""The families with Simple blocks at tiny widths: DeepFloyd IF, Kandinsky 2 and unCLIP."""

from families import ROWS
from harness import Call, Case


def simple(levels=3, **changes):
    """ResnetDownsampleBlock2D and then SimpleCrossAttn blocks, as all these models have them."""
    config = dict(
        sample_size=16,
        block_out_channels=[8, 16, 16][:levels],
        down_block_types=["ResnetDownsampleBlock2D"]
        + ["SimpleCrossAttnDownBlock2D"] * (levels - 1),
        up_block_types=["SimpleCrossAttnUpBlock2D"] * (levels - 1) + ["ResnetUpsampleBlock2D"],
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        layers_per_block=1,
        cross_attention_dim=20,
        attention_head_dim=4,
        norm_num_groups=4,
        resnet_time_scale_shift="scale_shift",
    )
    return {**config, **changes}


def deepfloyd(**changes):
    config = dict(
        in_channels=3,
        out_channels=6,
        act_fn="gelu",
        cross_attention_norm="group_norm",  # always 32 groups
        cross_attention_dim=64,
        encoder_hid_dim=24,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )
    return simple(**{**config, **changes})


SECOND_STAGE = dict(
    in_channels=6,
    layers_per_block=[1, 2, 1],
    class_embed_type="timestep",
    time_embedding_dim=16,
    time_embedding_act_fn="gelu",
    resnet_skip_time_act=True,
    resnet_out_scale_factor=1.4142,
    mid_block_scale_factor=1.4142,
    only_cross_attention=True,
)
IMAGE = dict(encoder_hid_dim=28, encoder_hid_dim_type="image_proj")
NO_TEXT = Call(size=(16, 16), tokens=None)
SIXTEEN = Call(size=(16, 16))

CASES = [
    Case(
        "deepfloyd_if",
        deepfloyd(),
        {
            "": Call(size=(16, 16), tokens=77),
            "rows": Call(batch=3, timestep=(1, 500, 999), size=(8, 12)),
            "encoder_mask": Call(size=(16, 16), encoder_attention_mask="int64"),
            # It overrides the text's own mask.
            "both_masks": Call(
                attention_mask="bool", attention_mask_tokens=5, encoder_attention_mask="bool"
            ),
            "controlnet": Call(controlnet=True, batch=1),
        },
    ),
    Case(
        "deepfloyd_if_ii",
        deepfloyd(**SECOND_STAGE),
        {"": SIXTEEN, "rows": Call(batch=3, timestep=(1, 500, 999), size=(8, 12))},
    ),
    # The third stage of the same conversion: no text attention at the finest levels.
    Case(
        "deepfloyd_if_iii",
        deepfloyd(
            **{
                **SECOND_STAGE,
                "down_block_types": ["ResnetDownsampleBlock2D"] * 2
                + ["SimpleCrossAttnDownBlock2D"],
                "up_block_types": ["SimpleCrossAttnUpBlock2D"] + ["ResnetUpsampleBlock2D"] * 2,
                "only_cross_attention": [True, True, False],
                "mid_block_only_cross_attention": True,
            }
        ),
        {"": SIXTEEN},
    ),
    Case(
        "kandinsky_21",
        simple(
            out_channels=8,
            encoder_hid_dim=28,
            encoder_hid_dim_type="text_image_proj",
            addition_embed_type="text_image",
        ),
        {"": Call(size=(16, 16), tokens=77), "rows": ROWS},
    ),
    Case(
        "kandinsky_21_inpaint",
        simple(
            levels=2,
            in_channels=9,
            out_channels=8,
            encoder_hid_dim=28,
            encoder_hid_dim_type="text_image_proj",
            addition_embed_type="text_image",
        ),
        {"": Call()},
    ),
    Case(
        "kandinsky_22",
        simple(out_channels=8, addition_embed_type="image", **IMAGE),
        {"": NO_TEXT, "text": Call(size=(8, 12), batch=3)},  # the text is ignored
    ),
    Case(
        "kandinsky_22_controlnet",
        simple(levels=2, in_channels=8, out_channels=8, addition_embed_type="image_hint", **IMAGE),
        {
            "": Call(size=(4, 6), tokens=None),
            "odd_hint": Call(size=(4, 4), tokens=None, batch=1, hint_size=(25, 30)),
        },
    ),
    Case(
        "unclip_decoder",
        simple(in_channels=3, out_channels=6, class_embed_type="identity"),
        {
            "": SIXTEEN,
            "mask": Call(size=(16, 16), attention_mask="bool", attention_mask_tokens=5),
        },
    ),
    Case(
        "unclip_super_res",
        simple(
            in_channels=6,
            down_block_types=["ResnetDownsampleBlock2D"] * 3,
            up_block_types=["ResnetUpsampleBlock2D"] * 3,
            mid_block_type="UNetMidBlock2D",
        ),
        {"": NO_TEXT},
    ),
]
