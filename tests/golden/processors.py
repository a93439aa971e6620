"""The same small UNet run with each attention processor on all of its layers."""

import json

import torch
from diffusers import UNet2DConditionModel
from diffusers.models import attention_processor

import harness
from families import two_levels
from harness import Call, Case

# One level whose attn1 reads the text too, one that does not, and a middle. The deepest level has
# 4 x 3 pixels, as many as there are text tokens, so attention_mask fits every attn1.
MODEL = Case(
    "processors",
    two_levels(
        block_out_channels=[8, 12],
        down_block_types=["CrossAttnDownBlock2D"] * 2,
        up_block_types=["CrossAttnUpBlock2D"] * 2,
        attention_head_dim=[2, 4],
        only_cross_attention=[True, False],
        upcast_attention=True,
    ),
    {
        "": Call(size=(8, 6), tokens=12),
        "masks": Call(
            size=(8, 6),
            tokens=12,
            batch=3,
            timestep=(1, 500, 999),
            attention_mask="int64",
            encoder_attention_mask="bool",
        ),
        "soft_masks": Call(
            size=(8, 6), tokens=12, attention_mask="soft", encoder_attention_mask="soft"
        ),
    },
)

# File name: processor and its options.
PROCESSORS = {
    "AttnProcessor": ("AttnProcessor", {}),
    "AttnProcessor2_0": ("AttnProcessor2_0", {}),
    "SlicedAttnProcessor.1": ("SlicedAttnProcessor", {"slice_size": 1}),
    "SlicedAttnProcessor.3": ("SlicedAttnProcessor", {"slice_size": 3}),
    "FusedAttnProcessor2_0": ("FusedAttnProcessor2_0", {}),
}


def bound(folder, processor, options):
    """Returns the model with the processor on every layer."""
    unet = UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    kind = getattr(attention_processor, processor)
    if processor.startswith("Fused"):
        unet.fuse_qkv_projections()
    else:
        unet.set_attn_processor(kind(**options))
    if {type(value) for value in unet.attn_processors.values()} != {kind}:
        raise RuntimeError(f"{processor} is not on every layer")
    return unet


def make(out, name):
    folder = out / "unet" / MODEL.name
    if not (folder / "config.json").exists():
        harness.make_case(MODEL, folder)
    processor, options = PROCESSORS[name]
    unet, lines = bound(folder, processor, options), []
    # In double, upcasting to fp32 would be a downcast; this processor never does it.
    plain = bound(folder, "AttnProcessor2_0", {})
    for call_name, call in MODEL.calls.items():
        inputs = harness.make_inputs(unet, MODEL.name, call_name, call)
        output = harness.forward(unet, inputs)
        std, error = harness.check_output(f"{name}/{call_name}", plain, inputs, output)
        file = f"{name}.{call_name}.safetensors" if call_name else f"{name}.safetensors"
        harness.save_io(
            out / "processors" / file,
            inputs,
            output,
            model=f"unet/{MODEL.name}",
            processor=processor,
            options=json.dumps(options),
            call=call_name,
        )
        lines.append((call_name, std, error))
    return lines


def parts():
    return {name: lambda out, name=name: make(out, name) for name in PROCESSORS}
