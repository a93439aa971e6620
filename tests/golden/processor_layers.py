"""Every attention processor on every kind of layer: what it computes, and where diffusers fails."""

import json

import torch
from diffusers.models.attention_processor import Attention

import harness
from processor_kinds import kind_of

CHANNELS, HEADS, TEXT = 16, 4, 24
IMAGE = dict(bias=True, norm_num_groups=4, upcast_softmax=True)  # layers that take [B, C, H, W]
ADDED = dict(IMAGE, cross_attention_dim=CHANNELS, added_kv_proj_dim=TEXT)
NORMED = dict(ADDED, added_kv_proj_dim=64, cross_attention_norm="group_norm")
EQUAL = dict(ADDED, added_kv_proj_dim=CHANNELS)  # a text as wide as the image

# Name: what Attention is made with, and the width of the text it is given.
LAYERS = {
    "self": ({}, None),
    "upcast": (dict(upcast_attention=True, bias=True), None),
    "cross": (dict(cross_attention_dim=TEXT), TEXT),
    "norm_layer": (dict(cross_attention_dim=TEXT, cross_attention_norm="layer_norm"), TEXT),
    "norm_group": (dict(cross_attention_dim=64, cross_attention_norm="group_norm"), 64),
    "image": (
        dict(IMAGE, residual_connection=True, rescale_output_factor=1.5, eps=1e-3),
        None,
    ),
    "added": (ADDED, TEXT),
    "added_normed": (NORMED, 64),
    "added_only_cross": (dict(NORMED, only_cross_attention=True), 64),
    "added_equal": (EQUAL, CHANNELS),
    "added_equal_no_text": (EQUAL, None),
}

# Name: rows, height, width, tokens of the text, values of the mask.
CALLS = {
    "plain": (2, 3, 4, 5, None),
    "self_mask": (2, 3, 4, 5, 12),
    "text_mask": (2, 3, 4, 5, 5),
    # The image has as many tokens as the text.
    "equal_mask": (2, 3, 4, 12, 12),
    "one_row_mask": (1, 3, 4, 12, 12),
    "one_pixel_mask": (2, 1, 1, 5, 5),
    "six_rows": (6, 3, 2, 5, None),
    "five_rows": (5, 3, 2, 5, None),
    "one_row": (1, 3, 2, 5, None),
}

CUSTOM = [
    "CustomDiffusionAttnProcessor",
    "CustomDiffusionAttnProcessor2_0",
    "CustomDiffusionXFormersAttnProcessor",
]
TRAINED = {
    "kv": dict(train_kv=True, train_q_out=False),
    "q_out": dict(train_kv=False, train_q_out=True),
    "both": dict(train_kv=True, train_q_out=True, out_bias=False),
    "none": dict(train_kv=False, train_q_out=False),
}

HALF = "AttnProcessorNPU.half"  # the layer in float16, as diffusers runs it on an NPU

# Key: processor and its options.
PROCESSORS = {
    **{
        name: (name, {})
        for name in (
            "AttnProcessor",
            "AttnProcessor2_0",
            "FusedAttnProcessor2_0",
            "AttnAddedKVProcessor",
            "AttnAddedKVProcessor2_0",
            "XFormersAttnAddedKVProcessor",
            "CrossFrameAttnProcessor",
            "CrossFrameAttnProcessor2_0",
            "XFormersAttnProcessor",
            "AttnProcessorNPU",
        )
    },
    "SlicedAttnProcessor.3": ("SlicedAttnProcessor", {"slice_size": 3}),
    "SlicedAttnAddedKVProcessor.3": ("SlicedAttnAddedKVProcessor", {"slice_size": 3}),
    "CrossFrameAttnProcessor.3": ("CrossFrameAttnProcessor", {"batch_size": 3}),
    "CrossFrameAttnProcessor2_0.3": ("CrossFrameAttnProcessor2_0", {"batch_size": 3}),
    "AttnProcessorNPU.diffusers": ("AttnProcessorNPU", {"mask": "diffusers"}),
    HALF: ("AttnProcessorNPU", {"compute": "float16"}),
    **{f"{name}.{key}": (name, options) for name in CUSTOM for key, options in TRAINED.items()},
}


def randomise(module, name):
    with torch.no_grad():
        for key, parameter in sorted(module.named_parameters()):
            rng = harness.rng_of(f"{name}/{key}")
            if parameter.dim() > 1:
                value = harness.normal(rng, *parameter.shape, scale=parameter.shape[1] ** -0.5)
            elif "norm" in key and key.endswith("weight"):
                value = 1.0 + harness.normal(rng, *parameter.shape, scale=0.3)
            else:
                value = harness.normal(rng, *parameter.shape, scale=0.2)
            parameter.copy_(value.half().float())
    return module


def path_of(layer):
    """The layer's name in a UNet: attn1 is masked by attention_mask, attn2 by the text's."""
    return "block.attn1" if LAYERS[layer][1] is None else "block.attn2"


def trained_file(layer, key):
    return f"{layer}.{key}.weights.safetensors"


def bind(attention, layer, key, folder):
    """Gives the layer a processor; writes the tensors that it was trained to."""
    name, options = PROCESSORS[key]
    kind = kind_of(name)
    if not name.startswith("Custom"):
        if name.startswith("Fused"):
            # As UNet2DConditionModel.fuse_qkv_projections does.
            if attention.added_kv_proj_dim is not None:
                raise ValueError("not supported for models having added KV projections")
            attention.fuse_projections(fuse=True)
        attention.set_processor(kind(**options))
        return
    text = attention.cross_attention_dim if attention.is_cross_attention else None
    processor = kind(hidden_size=CHANNELS, cross_attention_dim=text, **options)
    key = key.rpartition(".")[2]
    randomise(processor, f"layers/{layer}/{key}")
    attention.set_processor(processor)
    trained = {f"{path_of(layer)}.processor.{k}": v.half() for k, v in processor.state_dict().items()}
    path = folder / trained_file(layer, key)
    if trained and not path.exists():
        harness.save_tensors(path, trained)


def inputs_of(layer, call, image, text_width):
    rows, height, width, tokens, masked = CALLS[call]
    rng = harness.rng_of(f"layers/{layer}/{call}")
    shape = (rows, CHANNELS, height, width) if image else (rows, height * width, CHANNELS)
    inputs = {"hidden_states": harness.normal(rng, *shape)}
    if text_width is not None:
        inputs["encoder_hidden_states"] = harness.normal(rng, rows, tokens, text_width)
    if masked is not None:
        kept = harness.mask_of(rng, "float32", rows, masked)
        inputs["attention_mask"] = ((1 - kept) * -10000.0).unsqueeze(1)
    return inputs


def run(attention, inputs):
    """The output, or why diffusers fails."""
    try:
        with torch.no_grad():
            output = attention(**{key: value.clone() for key, value in inputs.items()})
    except (AttributeError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        return None, f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return output, None


def make(out, layer):
    folder = out / "processors" / "layers"
    options, text_width = LAYERS[layer]
    image = "norm_num_groups" in options
    tensors, raised = {}, {}
    for key, (processor, _) in PROCESSORS.items():
        if image and processor in CUSTOM and not key.endswith(".none"):
            continue  # they fail on an image, whatever they were trained to
        attention = Attention(query_dim=CHANNELS, heads=HEADS, dim_head=CHANNELS // HEADS, **options)
        randomise(attention.eval(), f"layers/{layer}")
        tensors.update({f"{path_of(layer)}.{k}": v.half() for k, v in attention.state_dict().items()})
        for call in CALLS:
            inputs = inputs_of(layer, call, image, text_width)
            tensors.update({f"{call}.in.{name}": value for name, value in inputs.items()})
            try:
                bind(attention, layer, key, folder)
            except ValueError as error:
                raised[f"{call}.{key}"] = f"ValueError: {error}"
                continue
            if key == HALF:
                attention.half()
                inputs = {name: value.half() for name, value in inputs.items()}
            output, why = run(attention, inputs)
            if why is not None:
                raised[f"{call}.{key}"] = why
            else:
                if not torch.isfinite(output).all():
                    raise RuntimeError(f"{layer}, {call}, {key}: not finite")
                tensors[f"{call}.out.{key}"] = output.float()
    harness.save_tensors(
        folder / f"{layer}.safetensors",
        tensors,
        layer=json.dumps(
            {"name": path_of(layer), "heads": HEADS, "query_dim": CHANNELS, **options}
        ),
        processors=json.dumps(PROCESSORS),
        calls=json.dumps(list(CALLS)),
        raised=json.dumps(raised),
    )
    return [(f"{len(tensors)} tensors, {len(raised)} calls fail", 1.0, 0.0)]


def parts():
    return {f"layers/{layer}": lambda out, layer=layer: make(out, layer) for layer in LAYERS}
