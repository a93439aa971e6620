"""The same small UNet run with each attention processor on all layers that it can serve."""

import json

import torch
from diffusers import UNet2DConditionModel
from diffusers.models import attention_processor

import harness
import pixels
import processor_layers
from families import two_levels
from harness import Call, Case
from processor_kinds import kind_of

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
# Its layers have added keys and values.
ADDED = {case.name: case for case in pixels.CASES}["deepfloyd_if"]

PLAIN = {"": MODEL.calls[""]}
FRAMES = {"frames": Call(size=(8, 6), tokens=12, batch=6)}
TRAINED = "custom_diffusion.{}.weights.safetensors"

# File name: processor, its options, and where they are not MODEL and its calls, those.
PROCESSORS = {
    "AttnProcessor": ("AttnProcessor", {}),
    "AttnProcessor2_0": ("AttnProcessor2_0", {}),
    "SlicedAttnProcessor.1": ("SlicedAttnProcessor", {"slice_size": 1}),
    "SlicedAttnProcessor.3": ("SlicedAttnProcessor", {"slice_size": 3}),
    "FusedAttnProcessor2_0": ("FusedAttnProcessor2_0", {}),
    "XFormersAttnProcessor": ("XFormersAttnProcessor", {}),
    "AttnProcessorNPU": ("AttnProcessorNPU", {}),
    "AttnProcessorNPU.diffusers": ("AttnProcessorNPU", {"mask": "diffusers"}),
    "CrossFrameAttnProcessor": ("CrossFrameAttnProcessor", {}, MODEL, FRAMES),
    "CrossFrameAttnProcessor.3": ("CrossFrameAttnProcessor", {"batch_size": 3}, MODEL, FRAMES),
    "CrossFrameAttnProcessor2_0": ("CrossFrameAttnProcessor2_0", {}, MODEL, FRAMES),
    "CustomDiffusionAttnProcessor": ("CustomDiffusionAttnProcessor", {}, MODEL, PLAIN),
    "CustomDiffusionAttnProcessor2_0": ("CustomDiffusionAttnProcessor2_0", {}, MODEL, PLAIN),
    "CustomDiffusionXFormersAttnProcessor": (
        "CustomDiffusionXFormersAttnProcessor",
        {},
        MODEL,
        PLAIN,
    ),
    "AttnAddedKVProcessor": ("AttnAddedKVProcessor", {}, ADDED),
    "AttnAddedKVProcessor2_0": ("AttnAddedKVProcessor2_0", {}, ADDED),
    "SlicedAttnAddedKVProcessor.3": ("SlicedAttnAddedKVProcessor", {"slice_size": 3}, ADDED),
    "XFormersAttnAddedKVProcessor": (
        "XFormersAttnAddedKVProcessor",
        {},
        ADDED,
        {name: ADDED.calls[name] for name in ("", "rows", "controlnet")},
    ),
}


def weights_of(processor):
    """The file of a trained processor's tensors, or None."""
    if not processor.startswith("CustomDiffusion"):
        return None
    return TRAINED.format("kv" if "XFormers" in processor else "all")


def train(unet, kind, path):
    """Gives every attn2 trained projections, as diffusers' example does, and saves them."""
    processors = {}
    for name in unet.attn_processors:
        layer = unet.get_submodule(name.removesuffix(".processor"))
        trained = name.endswith("attn2.processor")
        sizes = {}
        if trained:
            sizes = {"hidden_size": layer.inner_dim, "cross_attention_dim": layer.to_k.in_features}
        q_out = trained and "XFormers" not in kind.__name__
        processors[name] = kind(train_kv=trained, train_q_out=q_out, **sizes)
        processor_layers.randomise(processors[name], f"custom_diffusion/{name}")
    unet.set_attn_processor(processors)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unet.save_attn_procs(path.parent, weight_name=path.name, safe_serialization=True)
        path.chmod(0o644)


def bound(folder, processor, options, weights=None):
    """Returns the model with the processor on every layer."""
    unet = UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    kind = kind_of(processor)
    if processor.startswith("Fused"):
        unet.fuse_qkv_projections()
    elif weights is not None:
        train(unet, kind, weights)
    else:
        unet.set_attn_processor(kind(**options))
    if {type(value) for value in unet.attn_processors.values()} != {kind}:
        raise RuntimeError(f"{processor} is not on every layer")
    return unet


def make(out, name):
    processor, options, *rest = PROCESSORS[name]
    model = rest[0] if rest else MODEL
    calls = rest[1] if len(rest) > 1 else model.calls
    folder = out / "unet" / model.name
    if not (folder / "config.json").exists():
        harness.make_case(model, folder)
    weights = weights_of(processor)
    path = None if weights is None else out / "processors" / weights
    unet, lines = bound(folder, processor, options, path), []
    # In double, upcasting to fp32 would be a downcast; this processor never does it.
    same = hasattr(attention_processor, processor) and model is MODEL and path is None
    same = same and not processor.startswith("AttnProcessorNPU")
    exact = bound(folder, "AttnProcessor2_0", {}) if same else unet
    extra = {} if weights is None else {"weights": f"processors/{weights}"}
    for call_name, call in calls.items():
        inputs = harness.make_inputs(unet, model.name, call_name, call)
        output = harness.forward(unet, inputs)
        std, error = harness.check_output(f"{name}/{call_name}", exact, inputs, output)
        file = f"{name}.{call_name}.safetensors" if call_name else f"{name}.safetensors"
        harness.save_io(
            out / "processors" / file,
            inputs,
            output,
            model=f"unet/{model.name}",
            processor=processor,
            options=json.dumps(options),
            call=call_name,
            **extra,
        )
        lines.append((call_name, std, error))
    return lines


def parts():
    table = {name: lambda out, name=name: make(out, name) for name in PROCESSORS}
    return {**table, **processor_layers.parts()}
