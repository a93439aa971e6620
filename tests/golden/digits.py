"""The shipped digits model: one forward, and whole denoisings as pipelines do them.

Then the same through the trained custom-diffusion processors of its folder slanted/.
"""

import pathlib

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.guiders.guider_utils import rescale_noise_cfg
from safetensors.torch import load_file

import harness

MODEL = pathlib.Path(__file__).resolve().parents[2] / "config" / "digits"
SLANTED = MODEL / "slanted"
PROCESSORS = SLANTED / "pytorch_custom_diffusion_weights.safetensors"
DIGITS = ("3", "8")
STEPS, GUIDANCE = 25, 2.5
KEPT = (0, 12)  # steps whose sample is kept beside the last

# File name: guidance_scale, guidance_rescale, eta.
DENOISES = {
    "denoise": (GUIDANCE, 0.0, 0.0),
    "denoise_rescale": (GUIDANCE, 0.7, 0.0),
    "denoise_noise": (GUIDANCE, 0.0, 0.5),
    "denoise_unguided": (1.0, 0.0, 0.0),
}


def denoise(unet, latents, conditions, negatives, noises, scale, rescale, eta):
    """Returns the sample after every step."""
    scheduler = DDIMScheduler.from_pretrained(MODEL / "scheduler")
    scheduler.set_timesteps(STEPS)
    sample, samples, text = latents, [], torch.cat([negatives, conditions])
    for index, timestep in enumerate(scheduler.timesteps):
        with torch.no_grad():
            if scale > 1.0:
                uncond, cond = unet(torch.cat([sample, sample]), timestep, text).sample.chunk(2)
                output = uncond + scale * (cond - uncond)
                if rescale > 0.0:
                    output = rescale_noise_cfg(output, cond, guidance_rescale=rescale)
            else:
                output = unet(sample, timestep, conditions).sample
        noise = noises[index] if eta > 0.0 else None
        sample = scheduler.step(
            output, timestep, sample, eta=eta, use_clipped_model_output=True, variance_noise=noise
        ).prev_sample
        samples.append(sample)
    return samples


def make_denoise(out, unet, name, settings, table, **metadata):
    scale, rescale, eta = settings
    rng, shape = harness.rng_of(f"digits/{name}"), (len(DIGITS), 1, 16, 16)
    conditions = torch.stack([table[digit] for digit in DIGITS])
    negatives = table["uncond"].expand_as(conditions)
    latents = harness.normal(rng, *shape)
    noises = harness.normal(rng, STEPS, *shape)
    inputs = [latents, conditions, negatives, noises]
    samples = denoise(unet, *inputs, scale, rescale, eta)
    exact = denoise(unet.double(), *(value.double() for value in inputs), scale, rescale, eta)[-1]
    unet.float()
    tensors = {"latents": latents, "conditions": conditions, "result": samples[-1]}
    tensors.update({f"prev_sample.{index}": samples[index] for index in KEPT})
    if scale > 1.0:
        tensors["negative_conditions"] = negatives
    if eta > 0.0:
        tensors.update({f"noise.{index}": noise for index, noise in enumerate(noises)})
    harness.save_tensors(
        out / "digits" / f"{name}.safetensors",
        tensors,
        num_inference_steps=str(STEPS),
        guidance_scale=str(scale),
        guidance_rescale=str(rescale),
        eta=str(eta),
        use_clipped_model_output="true",
        **metadata,
    )
    std = exact.std().item()
    return name, std, (samples[-1] - exact).abs().max().item() / std


def make_forward(out, unet, name, table, **metadata):
    rng = harness.rng_of(f"digits/{name}")
    inputs = {
        "sample": harness.normal(rng, len(DIGITS), 1, 16, 16),
        "timestep": torch.tensor([999, 100]),
        "encoder_hidden_states": torch.stack([table[digit] for digit in DIGITS]),
    }
    output = harness.forward(unet, inputs)
    line = (name, *harness.check_output(f"digits/{name}", unet, inputs, output))
    path = out / "digits" / f"{name}.safetensors"
    harness.save_io(path, inputs, output, model="config/digits/unet", **metadata)
    return line


def bind_slanted(unet):
    """Binds the trained processors with diffusers' own reader, which must be told of every layer.

    load_attn_procs calls the same, but a safetensors file leaves out the layers without weights.
    """
    state = {name: {} for name in unet.attn_processors if ".attn1." in name}
    processors = unet._process_custom_diffusion({**state, **load_file(PROCESSORS)})
    unet.set_attn_processor(processors)


def make(out):
    unet = UNet2DConditionModel.from_pretrained(MODEL / "unet").eval()
    table = load_file(MODEL / "conditions.safetensors")
    lines = [make_forward(out, unet, "forward", table)]
    lines += [make_denoise(out, unet, *item, table) for item in DENOISES.items()]

    bind_slanted(unet)
    table = load_file(SLANTED / "conditions.safetensors")
    metadata = {
        "processor": "CustomDiffusionAttnProcessor",
        "weights": f"config/digits/slanted/{PROCESSORS.name}",
        "conditions": "config/digits/slanted/conditions.safetensors",
    }
    lines.append(make_forward(out, unet, "slanted_forward", table, **metadata))
    settings = (GUIDANCE, 0.0, 0.0)
    return [*lines, make_denoise(out, unet, "slanted", settings, table, **metadata)]
