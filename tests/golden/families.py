"""The published UNet families of SD 1 and 2, SDXL and their small siblings, at tiny widths."""

import torch

from harness import Call, Case

SD_DOWN = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
SD_UP = ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3
XL_DOWN = ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
XL_UP = ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]


def two_levels(**changes):
    """Attention at full size and in the middle: the smallest UNet with every tier-1 block."""
    config = dict(
        sample_size=8,
        block_out_channels=[8, 16],
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        layers_per_block=1,
        cross_attention_dim=24,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    return {**config, **changes}


def four_levels(**changes):
    config = dict(
        sample_size=16,
        block_out_channels=[8, 16, 16, 16],
        down_block_types=SD_DOWN,
        up_block_types=SD_UP,
        layers_per_block=1,
        cross_attention_dim=24,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    return {**config, **changes}


def sdxl(**changes):
    config = dict(
        sample_size=16,
        block_out_channels=[8, 16, 16],
        down_block_types=XL_DOWN,
        up_block_types=XL_UP,
        layers_per_block=1,
        transformer_layers_per_block=[1, 1, 2],
        cross_attention_dim=32,
        attention_head_dim=[1, 2, 4],
        norm_num_groups=4,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=20 + 6 * 8,
    )
    return {**config, **changes}


TWO_NARROW = dict(block_out_channels=[4, 8], norm_num_groups=2)
NARROW = dict(block_out_channels=[4, 8, 8], norm_num_groups=2, attention_head_dim=[1, 2, 2])
SIXTEEN = Call(size=(16, 16))
ROWS = Call(batch=3, timestep=(1, 500, 999), size=(8, 12))
FRACTION = Call(timestep=(0.25, 741.6875), timestep_dtype=torch.float64)

CASES = [
    Case(
        "sd15",
        four_levels(layers_per_block=2),
        {
            "": Call(size=(16, 16), tokens=77),
            "odd": Call(size=(10, 14), batch=1),
            "odder": Call(size=(7, 9), batch=3, timestep=(3, 999, 40)),
            "encoder_mask": Call(size=(16, 16), tokens=7, encoder_attention_mask="int64"),
            "controlnet": Call(controlnet=True, batch=1),
            "adapter": Call(adapter="all"),
            "adapter_mid": Call(size=(16, 8), adapter="all+mid", batch=1),
            "adapter_short": Call(size=(8, 16), adapter=2, batch=1),
            "adapter_legacy": Call(legacy_adapter=True, batch=1),
            "controlnet_adapter": Call(size=(9, 8), controlnet=True, adapter="all", batch=1),
        },
    ),
    Case(
        "sd2",
        four_levels(
            block_out_channels=[4, 8, 8, 8],
            norm_num_groups=2,
            attention_head_dim=[1, 2, 2, 4],
            use_linear_projection=True,
        ),
        {"": Call(size=(16, 16), tokens=77), "odd": Call(size=(10, 14), batch=1)},
    ),
    Case(
        "sd2_upcast",
        two_levels(use_linear_projection=True, upcast_attention=True, **TWO_NARROW),
        {"": Call()},
    ),
    Case("inpaint", two_levels(in_channels=9), {"": Call(), "rows": ROWS}),
    Case(
        "depth",
        two_levels(in_channels=5, use_linear_projection=True, **TWO_NARROW),
        {"": Call()},
    ),
    Case("ip2p", two_levels(in_channels=8, **TWO_NARROW), {"": Call(batch=3)}),
    Case(
        "lcm",
        two_levels(time_cond_proj_dim=20, **TWO_NARROW),
        {"": Call(), "rows": ROWS, "no_cond": Call(timestep_cond=False)},
    ),
    Case(
        "x4_upscaler",
        four_levels(
            in_channels=7,
            block_out_channels=[4, 4, 8, 8],
            norm_num_groups=2,
            down_block_types=["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 3,
            up_block_types=["CrossAttnUpBlock2D"] * 3 + ["UpBlock2D"],
            use_linear_projection=True,
            num_class_embeds=50,
            only_cross_attention=[True, True, True, False],
        ),
        {
            "": SIXTEEN,
            "odd": Call(size=(10, 14), batch=3, timestep=(20, 350, 999)),
            "encoder_mask": Call(size=(16, 16), encoder_attention_mask="bool"),
        },
    ),
    Case(
        "sd2_unclip",
        two_levels(
            use_linear_projection=True,
            class_embed_type="projection",
            projection_class_embeddings_input_dim=40,
            **TWO_NARROW,
        ),
        {"": Call(), "rows": ROWS},
    ),
    Case(
        "sdxl",
        sdxl(),
        {
            "": Call(size=(16, 16), tokens=77),
            "odd": Call(size=(7, 9), batch=3, timestep=(3, 999, 40)),
            "fraction": FRACTION,
            "int_ids": Call(time_ids_dtype=torch.int64),
            "encoder_mask": Call(encoder_attention_mask="float32"),
            "controlnet": Call(controlnet=True, batch=1),
            "adapter_mid": Call(adapter="all+mid"),
        },
    ),
    Case("sdxl_inpaint", sdxl(in_channels=9, **NARROW), {"": SIXTEEN}),
    Case(
        "sdxl_refiner",
        four_levels(
            down_block_types=[*XL_DOWN, "DownBlock2D"],
            up_block_types=["UpBlock2D", *XL_UP],
            block_out_channels=[4, 8, 12, 12],
            norm_num_groups=2,
            transformer_layers_per_block=2,
            attention_head_dim=[1, 2, 3, 3],
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=20 + 5 * 8,
        ),
        {"": SIXTEEN, "adapter": Call(size=(16, 16), adapter="all")},
    ),
    Case(
        "ssd_1b",
        sdxl(
            layers_per_block=2,
            mid_block_type="UNetMidBlock2D",
            transformer_layers_per_block=[0, [1, 2], [2, 2]],
            reverse_transformer_layers_per_block=[[2, 1, 3], [2, 1, 1], 0],
            **NARROW,
        ),
        {"": SIXTEEN, "odd": Call(size=(10, 14), batch=1)},
    ),
    Case(
        "vega",
        sdxl(mid_block_type="UNetMidBlock2D", transformer_layers_per_block=[0, 1, 2], **NARROW),
        {"": SIXTEEN},
    ),
    Case(
        "koala",
        sdxl(mid_block_type=None, transformer_layers_per_block=[0, 2, 3], **NARROW),
        {"": SIXTEEN, "controlnet": Call(controlnet=True, batch=1)},
    ),
    Case(
        "sdxs",
        four_levels(
            down_block_types=XL_DOWN,
            up_block_types=XL_UP,
            mid_block_type=None,
            only_cross_attention=[True, False, False],
            use_linear_projection=True,
            **NARROW,
        ),
        {"": SIXTEEN, "odd": Call(size=(10, 14), batch=1), "adapter": Call(adapter="all")},
    ),
    Case(
        "kolors",
        sdxl(encoder_hid_dim=40, encoder_hid_dim_type="text_proj", **NARROW),
        {"": SIXTEEN, "rows": ROWS},
    ),
    Case(
        "digits_kind",
        dict(
            sample_size=16,
            in_channels=1,
            out_channels=1,
            block_out_channels=[32, 64, 64],
            down_block_types=XL_DOWN,
            up_block_types=XL_UP,
            layers_per_block=1,
            cross_attention_dim=64,
            attention_head_dim=4,
            norm_num_groups=16,
        ),
        {
            "": Call(size=(16, 16), tokens=4),
            "rows": Call(size=(16, 16), batch=3, timestep=(9, 99, 999)),
        },
    ),
]
