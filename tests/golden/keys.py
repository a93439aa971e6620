"""One case a config key (or a quirk of one) that acts on the blocks of SD and SDXL."""

import torch

import families
from families import FRACTION, ROWS
from harness import Call, Case

ONE = {"": Call()}
TEXT_TIME = dict(
    addition_embed_type="text_time",
    addition_time_embed_dim=8,
    projection_class_embeddings_input_dim=12 + 6 * 8,
)
# Two attention layers of one size, so that one attention_mask fits all.
LATE = dict(
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
)


def two_levels(**changes):
    """As narrow as it goes: these cases ask what a key means, not how a kernel copes."""
    narrow = dict(block_out_channels=[4, 8], norm_num_groups=2, cross_attention_dim=10)
    return families.two_levels(**{**narrow, **changes})


def three_levels(**changes):
    """Cross, plain, cross: an adapter meets each kind of block, with and without a sampler."""
    config = two_levels(
        block_out_channels=[4, 8, 8],
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"],
    )
    return {**config, **changes}


EMBEDDINGS = [
    Case("class_labels", two_levels(num_class_embeds=10), {"": Call(), "rows": ROWS}),
    Case("class_timestep", two_levels(class_embed_type="timestep"), ONE),
    Case("class_timestep_gelu", two_levels(class_embed_type="timestep", act_fn="gelu"), ONE),
    Case("class_identity", two_levels(class_embed_type="identity"), ONE),
    Case(
        "class_projection_gelu",  # its activation stays silu
        two_levels(
            class_embed_type="projection", projection_class_embeddings_input_dim=12, act_fn="gelu"
        ),
        ONE,
    ),
    Case(
        "class_simple_projection",
        two_levels(class_embed_type="simple_projection", projection_class_embeddings_input_dim=12),
        ONE,
    ),
    Case(
        "class_concat", two_levels(num_class_embeds=10, class_embeddings_concat=True), {"": ROWS}
    ),
    Case(
        "class_concat_scale_shift",
        two_levels(
            class_embed_type="identity",
            class_embeddings_concat=True,
            resnet_time_scale_shift="scale_shift",
        ),
        ONE,
    ),
    Case("class_and_text_time", two_levels(num_class_embeds=10, **TEXT_TIME), ONE),
    Case("text_time_mish", two_levels(act_fn="mish", **TEXT_TIME), ONE),  # add_embedding: silu
    Case("text_proj_by_dim", two_levels(encoder_hid_dim=20), ONE),
    Case(
        "sinusoid_order_and_shift",
        two_levels(flip_sin_to_cos=False, freq_shift=1, **TEXT_TIME),
        {"": Call(), "fraction": FRACTION},
    ),
    Case(
        "odd_time_dims",
        two_levels(
            block_out_channels=[9, 12],
            norm_num_groups=3,
            attention_head_dim=[3, 4],
            time_embedding_dim=37,
            addition_embed_type="text_time",
            addition_time_embed_dim=7,
            projection_class_embeddings_input_dim=11 + 6 * 7,
        ),
        {"": Call(), "rows": ROWS},
    ),
    Case("time_embedding_dim", two_levels(time_embedding_dim=44), ONE),
    Case("timestep_post_act", two_levels(timestep_post_act="gelu"), ONE),
    Case("time_embedding_act_fn", two_levels(time_embedding_act_fn="mish", **TEXT_TIME), ONE),
    Case(
        "fourier",
        two_levels(time_embedding_type="fourier"),
        {
            "": Call(timestep=(3,)),
            "fraction": Call(timestep=(0.25, -1.6875), timestep_dtype=torch.float32),
            "double": Call(timestep=(0.3, 1.7), timestep_dtype=torch.float64),
        },
    ),
    Case(
        "fourier_class_timestep",
        two_levels(
            time_embedding_type="fourier",
            time_embedding_dim=22,
            flip_sin_to_cos=False,
            timestep_post_act="gelu",
            time_cond_proj_dim=9,
        ),
        {"": Call(timestep=(0.75,), timestep_dtype=torch.float32)},
    ),
]

BLOCKS = [
    Case("transformer_layers_0", two_levels(transformer_layers_per_block=0), ONE),
    Case("transformer_layers_3", two_levels(transformer_layers_per_block=3), ONE),
    Case(
        "reverse_flat",
        two_levels(
            **LATE, transformer_layers_per_block=[1, 2], reverse_transformer_layers_per_block=[1, 3]
        ),
        ONE,
    ),
    Case(
        "nested_with_cross_mid",  # the middle takes the first of the last list
        two_levels(
            layers_per_block=2,
            transformer_layers_per_block=[[1, 2], [2, 1]],
            reverse_transformer_layers_per_block=[[1, 1, 1], [1, 2, 1]],
        ),
        ONE,
    ),
    Case("center_input_sample", two_levels(center_input_sample=True), ONE),
    Case("act_swish", two_levels(act_fn="swish"), ONE),
    Case("act_mish", two_levels(act_fn="mish"), ONE),
    Case("act_gelu", two_levels(act_fn="gelu"), ONE),
    Case("act_relu", two_levels(act_fn="relu"), ONE),
    Case("scale_shift", two_levels(resnet_time_scale_shift="scale_shift"), {"": ROWS}),
    Case(
        "scale_shift_mid_2d",
        two_levels(
            resnet_time_scale_shift="scale_shift",
            mid_block_type="UNetMidBlock2D",
            mid_block_scale_factor=1.4142,
        ),
        ONE,
    ),
    Case("mid_block_scale_factor", two_levels(mid_block_scale_factor=1.4142), ONE),
    Case("conv_kernel_1", two_levels(conv_in_kernel=1, conv_out_kernel=1, in_channels=3), ONE),
    Case("conv_kernel_5", two_levels(conv_in_kernel=5, conv_out_kernel=5, out_channels=3), ONE),
    Case("conv_in_kernel_7", two_levels(conv_in_kernel=7, out_channels=1, in_channels=1), ONE),
    Case(
        "downsample_padding_0",
        three_levels(downsample_padding=0),
        {"": Call(), "odd": Call(size=(7, 9)), "odder": Call(size=(10, 13), batch=1)},
    ),
    Case("norm_eps", two_levels(norm_eps=0.3), ONE),
    Case("small_variance", two_levels(), ONE, store=torch.bfloat16, small=3e-3),
    Case("groups_of_one", two_levels(block_out_channels=[8, 8], norm_num_groups=8), ONE),
    Case("one_group", two_levels(norm_num_groups=1), ONE),
    Case("unround_widths", two_levels(block_out_channels=[6, 10], attention_head_dim=[3, 5]), ONE),
    Case(
        "layers_list",
        three_levels(layers_per_block=[1, 3, 2]),
        {"": Call(), "controlnet": Call(controlnet=True, adapter="all+mid")},
    ),
    Case("mid_null", two_levels(mid_block_type=None), {"": Call(), "adapter": Call(adapter="all")}),
    Case(
        "no_attention",
        two_levels(
            down_block_types=["DownBlock2D"] * 2,
            up_block_types=["UpBlock2D"] * 2,
            mid_block_type="UNetMidBlock2D",
        ),
        {"": Call(tokens=None), "odd": Call(tokens=None, size=(7, 9), batch=1)},
    ),
    Case(
        "unet_res_prefix",
        two_levels(
            down_block_types=["UNetResCrossAttnDownBlock2D", "UNetResDownBlock2D"],
            up_block_types=["UNetResUpBlock2D", "UNetResCrossAttnUpBlock2D"],
        ),
        ONE,
    ),
    Case(
        "keys_without_effect",  # on these blocks
        two_levels(
            sample_size=[8, 12],
            resnet_skip_time_act=True,
            resnet_out_scale_factor=0.7071,
            cross_attention_norm="layer_norm",
            mid_block_only_cross_attention=True,
            addition_embed_type_num_heads=3,
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=8,
            upcast_attention=True,
            dropout=0.5,
        ),
        ONE,
    ),
]

CASES = [*EMBEDDINGS, *BLOCKS]
