"""Text-to-image pipelines of diffusers with their UNet on the server, against the same pipelines without one."""

import diffusers
import pytest
from components import SD, XL, compare, local_unet, prompts, prompts_xl, random, scheduler


@pytest.mark.parametrize("variant", ["baseline", "math"])
def test_stable_diffusion(remote, variant):
    unet = local_unet("sd15")
    call = {**prompts(unet, 2), "latents": random(2, 4, 16, 16), "guidance_rescale": 0.7}
    compare(diffusers.StableDiffusionPipeline, unet, remote("sd15", variant), SD, **call)


@pytest.mark.parametrize(
    "kind",
    [
        diffusers.EulerDiscreteScheduler,  # timesteps with fractions, and a scaled sample
        diffusers.EulerAncestralDiscreteScheduler,
        diffusers.DPMSolverMultistepScheduler,
        diffusers.PNDMScheduler,
    ],
)
def test_schedulers_of_the_pipeline(remote, kind):
    unet = local_unet("sd15")
    parts = {**SD, "scheduler": scheduler(kind)}
    compare(diffusers.StableDiffusionPipeline, unet, remote("sd15"), parts, **prompts(unet), num_inference_steps=6)


def test_timestep_cond(remote):
    """Latent consistency models are told the guidance scale."""
    unet = local_unet("lcm")
    parts = {**SD, "scheduler": scheduler(diffusers.LCMScheduler)}
    call = {"prompt_embeds": prompts(unet)["prompt_embeds"], "guidance_scale": 8.5}
    compare(diffusers.LatentConsistencyModelPipeline, unet, remote("lcm"), parts, **call)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_stable_diffusion_xl(remote, guidance):
    unet = local_unet("sdxl")
    call = {**prompts_xl(unet, 2), "guidance_scale": guidance}
    compare(diffusers.StableDiffusionXLPipeline, unet, remote("sdxl"), XL, **call)
