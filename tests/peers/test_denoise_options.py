"""What a loop on the server may be told, against diffusers' pipelines: eta, noise, guidance_rescale, SDXL's inputs."""

import diffusers
import pytest
import torch
from components import SD, XL, assert_same_latents, drawn, local_unet, prompts, prompts_xl, random, run, scheduler

STEPS = 6


@pytest.fixture
def denoise(unetd, server):
    """denoise("sd15", text, ...) is the sample that the server makes; the other options are the Denoiser's."""

    def denoise(model, conditions, negative, **options):
        with unetd.Denoiser(server.address, model, "baseline") as denoiser:
            options = {"num_inference_steps": STEPS, "guidance_scale": 5.0, **options}
            return denoiser.denoise(
                conditions=conditions, negative_conditions=negative, progress=False, **options
            ).sample

    return denoise


def text(call):
    """The pipeline's prompts as conditions."""
    return [{"encoder_hidden_states": call[name]} for name in ("prompt_embeds", "negative_prompt_embeds")]


@pytest.mark.parametrize(
    "kind,eta,options",
    [
        (diffusers.DDIMScheduler, 0.8, {}),
        (diffusers.TCDScheduler, 0.3, {}),
        (diffusers.DDPMScheduler, None, {}),
        (diffusers.LCMScheduler, None, {}),
        (diffusers.EulerAncestralDiscreteScheduler, None, {}),
        (diffusers.DPMSolverMultistepScheduler, None, {"algorithm_type": "sde-dpmsolver++"}),
    ],
)
def test_schedulers_that_draw_noise(denoise, kind, eta, options):
    unet = local_unet("sd15")
    call, noise = prompts(unet), random(1, 4, 16, 16)
    parts = {**SD, "scheduler": scheduler(kind, **options)}
    call_eta = {} if eta is None else {"eta": eta}
    expected = run(
        diffusers.StableDiffusionPipeline, unet, parts, latents=noise, num_inference_steps=STEPS, **call_eta, **call
    )
    given = {"start_noise": noise, "shape": noise.shape, "noise": drawn(STEPS, *noise.shape), **call_eta}
    got = denoise("sd15", *text(call), scheduler=scheduler(kind, **options), **given)
    assert_same_latents(got, expected)


@pytest.mark.parametrize("kind", [diffusers.DDIMScheduler, diffusers.EulerDiscreteScheduler])
def test_guidance_rescale(denoise, kind):
    unet = local_unet("sd15")
    call, noise = prompts(unet), random(1, 4, 16, 16)
    parts = {**SD, "scheduler": scheduler(kind)}
    options = {"num_inference_steps": STEPS, "guidance_rescale": 0.7}
    expected = run(diffusers.StableDiffusionPipeline, unet, parts, latents=noise, **options, **call)
    got = denoise("sd15", *text(call), start_noise=noise, shape=noise.shape, scheduler=scheduler(kind), **options)
    assert_same_latents(got, expected)


def test_text_to_image_xl(denoise):
    unet = local_unet("sdxl")
    call, noise = prompts_xl(unet), random(1, 4, 16, 16)
    side = 8.0 * unet.config.sample_size
    ids = torch.tensor([[side, side, 0, 0, side, side]])  # original size, crop, target size
    conditions, negative = text(call)
    conditions.update(text_embeds=call["pooled_prompt_embeds"], time_ids=ids)
    negative.update(text_embeds=call["negative_pooled_prompt_embeds"], time_ids=ids)
    euler = scheduler(diffusers.EulerDiscreteScheduler)
    options = {"num_inference_steps": STEPS}
    parts = {**XL, "scheduler": euler}
    expected = run(diffusers.StableDiffusionXLPipeline, unet, parts, latents=noise, **options, **call)
    got = denoise("sdxl", conditions, negative, start_noise=noise, shape=noise.shape, scheduler=euler)
    assert_same_latents(got, expected)
