"""What every golden shares: cases, seeded weights and inputs, one forward, and its files."""

import dataclasses
import json
import math
import re

import diffusers
import numpy as np
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from conditions import image_inputs
from seeded import mask_of, normal, rng_of

# A golden is only worth its tolerance (2e-4 of std) if fp32 itself is much nearer to fp64.
WORST_FP32 = 2e-5


@dataclasses.dataclass(frozen=True)
class Call:
    """One forward of a case's model. Tensors that the config asks for are added by themselves."""

    size: tuple = (8, 8)
    batch: int = 2
    tokens: int | None = 5  # None: no encoder_hidden_states
    timestep: tuple = (981,)
    timestep_dtype: torch.dtype = torch.int64
    time_ids_dtype: torch.dtype = torch.float32
    timestep_cond: bool = True
    attention_mask: str | None = None  # int64, bool, float32 or soft
    attention_mask_tokens: int | None = None  # unsaid: that of the deepest level
    hint_size: tuple | None = None  # unsaid: 8 times the sample's
    boxes: int | None = None  # how many GLIGEN gets; None: no gligen inputs
    encoder_attention_mask: str | None = None
    encoder_attention_mask_tokens: int | None = None  # unsaid: those of the text
    controlnet: bool = False
    legacy_adapter: bool = False  # down_block_additional_residuals with no mid one
    adapter: int | str | None = None  # number of intrablock residuals, or "all" or "all+mid"


@dataclasses.dataclass(frozen=True)
class Case:
    """One model folder and its calls; a call named "" is written to io.safetensors."""

    name: str
    config: dict
    calls: dict
    store: torch.dtype = torch.float16
    # Multiplies what feeds the norms, so that their eps is seen.
    small: float | None = None
    # Keys left in config.json; unsaid, all that diffusers writes.
    keep_keys: tuple | None = None
    extra_keys: dict = dataclasses.field(default_factory=dict)
    shard: str | None = None
    legacy_names: bool = False  # of the Attn blocks' layers, as old checkpoints have them


ADDED = ("text_embeds", "time_ids", "image_embeds", "hint")

# In a case of small variance: what enters a norm or a residual stream, and what passes one on.
SMALL = ("conv_in", "conv1", "time_emb_proj", "conv2", "proj_in", "to_out.0", "ff.net.2")
SMALL_BIAS = ("proj_out", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv")


def randomise(unet, name, small=None):
    """Gives every parameter a value that is seen in the output; the shape of a name decides how."""
    with torch.no_grad():
        for key, parameter in sorted(unet.named_parameters()):
            rng = rng_of(f"{name}/{key}")
            module, _, kind = key.rpartition(".")
            embedded = isinstance(unet.class_embedding, torch.nn.Embedding)
            if embedded and key == "class_embedding.weight":
                value = normal(rng, *parameter.shape)
            elif kind.startswith(("alpha_", "null_", "positional_")):
                value = normal(rng, *parameter.shape)
            elif parameter.dim() > 1:
                value = normal(rng, *parameter.shape, scale=1.0 / math.sqrt(parameter[0].numel()))
            elif kind == "weight" and module != "time_proj":  # a norm
                value = 1.0 + normal(rng, *parameter.shape, scale=0.3)
            elif kind == "weight":  # the frequencies of a fourier time embedding
                value = normal(rng, *parameter.shape)
            else:
                value = normal(rng, *parameter.shape, scale=0.2)
            shrunk = module.endswith(SMALL) or (kind == "bias" and module.endswith(SMALL_BIAS))
            if small is not None and shrunk:
                value = value * small
            parameter.copy_(value)


def skip_shapes(unet, inputs):
    """Runs once; returns the shapes of all skips, the adapter's places and the mid output."""
    skips, places, last, hooks = [], [], [], []

    def on_conv_in(_module, _args, output):
        skips.append(output.shape)

    def on_down(module, _args, output):
        sample, states = output
        skips.extend(state.shape for state in states)
        crossed = getattr(module, "has_cross_attention", False)
        places.append(states[len(module.resnets) - 1].shape if crossed else sample.shape)
        last[:] = [sample.shape]

    hooks.append(unet.conv_in.register_forward_hook(on_conv_in))
    hooks.extend(block.register_forward_hook(on_down) for block in unet.down_blocks)
    forward(unet, inputs)
    for hook in hooks:
        hook.remove()
    return skips, places, last[0]


def make_inputs(unet, case_name, call_name, call):
    """Returns the inputs by their names on the wire."""
    config, rng = unet.config, rng_of(f"{case_name}/{call_name}/inputs")
    time_dim = unet.time_embedding.linear_2.out_features
    hinted = 4 if config.addition_embed_type == "image_hint" else 0
    inputs = {
        "sample": normal(rng, call.batch, config.in_channels - hinted, *call.size),
        "timestep": torch.tensor(call.timestep, dtype=call.timestep_dtype),
    }
    if call.tokens is not None:
        width = config.encoder_hid_dim or config.cross_attention_dim
        width = width if isinstance(width, int) else width[-1]
        inputs["encoder_hidden_states"] = normal(rng, call.batch, call.tokens, width)
    if config.class_embed_type in ("projection", "simple_projection"):
        shape = (call.batch, config.projection_class_embeddings_input_dim)
        inputs["class_labels"] = normal(rng, *shape)
    elif config.class_embed_type == "identity":
        inputs["class_labels"] = normal(rng, call.batch, time_dim)
    elif config.class_embed_type == "timestep":
        inputs["class_labels"] = torch.from_numpy(rng.random(call.batch).astype(np.float32)) * 999.0
    elif config.num_class_embeds is not None:
        labels = rng.integers(0, config.num_class_embeds, call.batch)
        inputs["class_labels"] = torch.from_numpy(labels.astype(np.int64))
    if config.time_cond_proj_dim is not None and call.timestep_cond:
        inputs["timestep_cond"] = normal(rng, call.batch, config.time_cond_proj_dim)
    if config.addition_embed_type == "text_time":
        count = 5 if case_name == "sdxl_refiner" else 6
        times = count * config.addition_time_embed_dim
        pooled = config.projection_class_embeddings_input_dim - times
        inputs["text_embeds"] = normal(rng, call.batch, pooled)
        ids = torch.from_numpy(rng.integers(0, 1025, (call.batch, count)))
        inputs["time_ids"] = ids.to(call.time_ids_dtype)
    inputs.update(image_inputs(unet, rng, call))
    if call.encoder_attention_mask is not None:
        kind = call.encoder_attention_mask
        tokens = call.encoder_attention_mask_tokens or call.tokens
        inputs["encoder_attention_mask"] = mask_of(rng, kind, call.batch, tokens)
    if call.attention_mask is not None:
        tokens = call.attention_mask_tokens
        if tokens is None:
            tokens = math.prod(skip_shapes(unet, inputs)[2][2:])
        inputs["attention_mask"] = mask_of(rng, call.attention_mask, call.batch, tokens)
    if call.controlnet or call.legacy_adapter or call.adapter is not None:
        skips, places, last = skip_shapes(unet, inputs)
        if call.controlnet:
            for index, shape in enumerate(skips):
                inputs[f"down_block_additional_residuals.{index}"] = normal(rng, *shape)
            inputs["mid_block_additional_residual"] = normal(rng, *last)
        if call.legacy_adapter:
            for index, shape in enumerate(places):
                inputs[f"down_block_additional_residuals.{index}"] = normal(rng, *shape)
        if call.adapter is not None:
            places = places + [last] if call.adapter == "all+mid" else places
            places = places[: call.adapter] if isinstance(call.adapter, int) else places
            for index, shape in enumerate(places):
                inputs[f"down_intrablock_additional_residuals.{index}"] = normal(rng, *shape)
    return inputs


def forward(unet, inputs):
    """Runs the UNet on inputs by their names on the wire."""
    dtype = unet.conv_in.weight.dtype
    # diffusers pops from the lists and adds in place, so each call gets its own tensors.
    inputs = {k: v.to(dtype) if v.dtype == torch.float32 else v.clone() for k, v in inputs.items()}
    inputs = {k: v.clone() for k, v in inputs.items()}

    def listed(prefix):
        keys = [key for key in inputs if key.startswith(prefix + ".")]
        return [inputs.pop(f"{prefix}.{index}") for index in range(len(keys))] or None

    downs = listed("down_block_additional_residuals")
    intras = listed("down_intrablock_additional_residuals")
    added = {key: inputs.pop(key) for key in ADDED if key in inputs}
    gligen = {key[7:]: inputs.pop(key) for key in list(inputs) if key.startswith("gligen.")}
    with torch.no_grad():
        return unet(
            inputs.pop("sample"),
            inputs.pop("timestep"),
            inputs.pop("encoder_hidden_states", None),
            added_cond_kwargs=added or None,
            cross_attention_kwargs={"gligen": gligen} if gligen else None,
            down_block_additional_residuals=downs,
            down_intrablock_additional_residuals=intras,
            **inputs,
        ).sample


def save_tensors(path, tensors, **metadata):
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"diffusers": diffusers.__version__, **metadata}
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata)
    path.chmod(0o644)


def save_io(path, inputs, output, **metadata):
    tensors = {f"in.{key}": value for key, value in inputs.items()}
    save_tensors(path, {**tensors, "out.out_sample": output}, **metadata)


def check_output(name, unet, inputs, output):
    """Refuses a golden that fp32 cannot hold, or that has lost its signal."""
    exact = forward(unet.double(), inputs)
    unet.float()
    std = exact.std().item()
    error = (output - exact).abs().max().item() / std
    if not (torch.isfinite(output).all() and 1e-3 < std < 1e3 and error < WORST_FP32):
        raise RuntimeError(f"{name}: std {std:.3g}, fp32 is {error:.3g} of it from fp64")
    return std, error


LEGACY = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def rename_legacy(path):
    """Gives the attention layers of the file the names of before diffusers 0.15."""
    tensors = {}
    for key, value in load_file(path).items():
        for modern, old in LEGACY.items():
            key = re.sub(rf"(attentions\.\d+\.){re.escape(modern)}\.", rf"\1{old}.", key)
        tensors[key] = value
    save_file(tensors, path, {"format": "pt"})


def make_model(case, folder):
    """Writes the model folder and returns the model as diffusers reads it back, in fp32."""
    unet = UNet2DConditionModel(**case.config)
    randomise(unet, case.name, case.small)
    options = {} if case.shard is None else {"max_shard_size": case.shard}
    unet.to(case.store).save_pretrained(folder, **options)
    for file in folder.glob("*.safetensors"):
        if case.legacy_names and not file.name.startswith("io."):
            rename_legacy(file)
        file.chmod(0o644)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if case.keep_keys is not None:
        config = {key: config[key] for key in case.keep_keys}
    path.write_text(json.dumps({**config, **case.extra_keys}, indent=2, sort_keys=True) + "\n")
    return UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.float32).eval()


def make_case(case, folder):
    """Writes one case; returns a line a call: (call, std of the output, fp32's own error)."""
    unet, lines = make_model(case, folder), []
    for call_name, call in case.calls.items():
        inputs = make_inputs(unet, case.name, call_name, call)
        output = forward(unet, inputs)
        std, error = check_output(f"{case.name}/{call_name}", unet, inputs, output)
        file = f"io.{call_name}.safetensors" if call_name else "io.safetensors"
        save_io(folder / file, inputs, output, case=case.name, call=call_name)
        lines.append((call_name, std, error))
    return lines
