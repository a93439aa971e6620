"""Pipelines that start from a picture, with their UNet on the server and without."""

import diffusers
import pytest
from components import SD, XL, compare, controlnet, local_unet, picture, prompts, prompts_xl, square, vae


def test_image_to_image(remote):
    unet = local_unet("sd15")
    call = {**prompts(unet), "image": picture(unet), "strength": 0.6}
    compare(diffusers.StableDiffusionImg2ImgPipeline, unet, remote("sd15"), {**SD, "vae": vae()}, **call)


def test_image_to_image_xl(remote):
    unet = local_unet("sdxl")
    call = {**prompts_xl(unet), "image": picture(unet), "strength": 0.6}
    compare(diffusers.StableDiffusionXLImg2ImgPipeline, unet, remote("sdxl"), {**XL, "vae": vae()}, **call)


@pytest.mark.parametrize("name", ["sd15", "inpaint"])  # 4 channels and 9
@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_inpainting(remote, name, strength):
    unet = local_unet(name)
    call = {**prompts(unet), "image": picture(unet), "mask_image": square(unet), "strength": strength}
    compare(diffusers.StableDiffusionInpaintPipeline, unet, remote(name), {**SD, "vae": vae()}, **call)


def test_controlnet(remote):
    unet = local_unet("sd15")
    parts = {**SD, "vae": vae(), "controlnet": controlnet(unet)}
    call = {**prompts(unet, 2), "image": picture(unet, 2), "controlnet_conditioning_scale": 0.8}
    compare(diffusers.StableDiffusionControlNetPipeline, unet, remote("sd15"), parts, **call)


def test_controlnet_guess_mode(remote):
    """The rows without the prompt get residuals of zeros."""
    unet = local_unet("sd15")
    parts = {**SD, "vae": vae(), "controlnet": controlnet(unet)}
    call = {**prompts(unet), "image": picture(unet), "guess_mode": True}
    compare(diffusers.StableDiffusionControlNetPipeline, unet, remote("sd15"), parts, **call)


def test_controlnet_xl(remote):
    unet = local_unet("sdxl")
    parts = {**XL, "vae": vae(), "controlnet": controlnet(unet)}
    call = {**prompts_xl(unet), "image": picture(unet)}
    compare(diffusers.StableDiffusionXLControlNetPipeline, unet, remote("sdxl"), parts, **call)


def test_t2i_adapter(remote):
    unet = local_unet("sd15")
    adapter = diffusers.T2IAdapter(channels=[8, 16, 16, 16], num_res_blocks=1, downscale_factor=8)
    parts = {**SD, "vae": vae(), "adapter": adapter}
    call = {**prompts(unet), "image": picture(unet), "height": 128, "width": 128}
    compare(diffusers.StableDiffusionAdapterPipeline, unet, remote("sd15"), parts, **call)
