"""Whole loops on the server against diffusers' pipelines: the same noise, pictures and prompts through both."""

import functools
import sys

import diffusers
import pytest
import torch
from components import SD, assert_same_latents, local_unet, picture, prompts, scheduler, square, vae
from goldens import model_of
from unetd_process import Unetd

STEPS = 5


@pytest.fixture(scope="module")
def loops(tmp_path_factory):
    server = Unetd(tmp_path_factory.mktemp("loops"), [model_of(name) for name in ("sd15", "inpaint", "deepfloyd_if")])
    yield server
    assert server.stop() == 0, server.log()[-8000:]


@pytest.fixture
def denoise(unetd, loops):
    """denoise("sd15", **options) is the loop's result on the server."""

    def denoise(model, **options):
        with unetd.Denoiser(loops.address, model) as denoiser:
            return denoiser.denoise(progress=False, **options).sample

    yield denoise
    loops.wait_idle()


class Watched:
    """A scheduler that notes what its pipeline makes of it: the start, the picture, each step's noise."""

    def __init__(self, scheduler, monkeypatch):
        self.noise, self.image, self.latents, self.start = [], None, None, None
        add_noise, step = scheduler.add_noise, scheduler.step
        module = sys.modules[type(scheduler).__module__]

        def on_add_noise(original, noise, timesteps):
            if self.image is None:
                self.image, self.start = original, noise
            return add_noise(original, noise, timesteps)

        @functools.wraps(step)  # the pipeline looks what it takes
        def on_step(output, timestep, sample, **options):
            if self.latents is None:
                self.latents = sample.clone()
            self.noise.append(torch.zeros_like(sample))
            return step(output, timestep, sample, **options)

        def on_randn(*arguments, **options):
            self.noise[-1] = randn(*arguments, **options)
            return self.noise[-1]

        scheduler.add_noise, scheduler.step = on_add_noise, on_step
        if randn := getattr(module, "randn_tensor", None):
            monkeypatch.setattr(module, "randn_tensor", on_randn)


def asked(scheduler, watched, call):
    """What every loop is told."""
    options = {
        "scheduler": scheduler,
        "num_inference_steps": STEPS,
        "guidance_scale": 5.0,
        "conditions": {"encoder_hidden_states": call["prompt_embeds"]},
        "negative_conditions": {"encoder_hidden_states": call["negative_prompt_embeds"]},
    }
    if any(noise.any() for noise in watched.noise):
        options["noise"] = torch.stack(watched.noise)
    return options


def run(pipeline, model, scheduler, parts, monkeypatch, **call):
    """The pipeline's latents; and what the server is to be told to make the same."""
    unet = local_unet(model)
    watched = Watched(scheduler, monkeypatch)
    pipe = pipeline(**{"vae": None, **parts, "unet": unet, "scheduler": scheduler})
    pipe.set_progress_bar_config(disable=True)
    call = {"num_inference_steps": STEPS, "guidance_scale": 5.0, **call}
    images = pipe(output_type="latent", generator=torch.Generator().manual_seed(8), **call).images
    return images, {**asked(scheduler, watched, call), "eta": call.get("eta", 0.0)}, watched


@pytest.mark.parametrize(
    "kind",
    [
        diffusers.DDIMScheduler,
        diffusers.DDPMScheduler,
        diffusers.DPMSolverMultistepScheduler,
        diffusers.EulerAncestralDiscreteScheduler,
        diffusers.EulerDiscreteScheduler,
        diffusers.HeunDiscreteScheduler,
        diffusers.PNDMScheduler,
        diffusers.TCDScheduler,
        diffusers.UniPCMultistepScheduler,
    ],
)
def test_text_to_image(denoise, monkeypatch, kind):
    call = {**prompts(local_unet("sd15"), 2), "height": 128, "width": 128, "eta": 0.5}
    expected, fields, seen = run(
        diffusers.StableDiffusionPipeline, "sd15", scheduler(kind), {**SD, "vae": vae()}, monkeypatch, **call
    )
    assert_same_latents(denoise("sd15", **fields, latents=seen.latents), expected)


@pytest.mark.parametrize(
    "kind", [diffusers.DDIMScheduler, diffusers.HeunDiscreteScheduler, diffusers.DPMSolverMultistepScheduler]
)
def test_image_to_image(denoise, monkeypatch, kind):
    unet = local_unet("sd15")
    expected, fields, seen = run(
        diffusers.StableDiffusionImg2ImgPipeline, "sd15", scheduler(kind), {**SD, "vae": vae()}, monkeypatch,
        **prompts(unet), image=picture(unet), strength=0.6,
    )  # fmt: skip
    order = 2 if kind is diffusers.HeunDiscreteScheduler else 1
    start = (STEPS - int(STEPS * 0.6)) * order  # a step is a call of the UNet
    got = denoise("sd15", **fields, start_step=start, image_latents=seen.image, start_noise=seen.start)
    assert_same_latents(got, expected)


@pytest.mark.parametrize("kind", [diffusers.DDIMScheduler, diffusers.PNDMScheduler])
@pytest.mark.parametrize("model", ["sd15", "inpaint"])  # 4 channels and 9
@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_inpainting(denoise, monkeypatch, model, strength, kind):
    masks = []
    prepare = diffusers.StableDiffusionInpaintPipeline.prepare_mask_latents

    def on_prepare(*arguments):
        masks.append(prepare(*arguments))
        return masks[-1]

    monkeypatch.setattr(diffusers.StableDiffusionInpaintPipeline, "prepare_mask_latents", on_prepare)
    unet = local_unet(model)
    expected, fields, seen = run(
        diffusers.StableDiffusionInpaintPipeline, model, scheduler(kind), {**SD, "vae": vae()}, monkeypatch,
        **prompts(unet), image=picture(unet), mask_image=square(unet), strength=strength,
    )  # fmt: skip
    mask, masked = (half.chunk(2)[0] for half in masks[0])  # guidance has them twice
    fields["mask"] = mask
    if model == "inpaint":
        fields["masked_image_latents"] = masked
    fields["start_step"] = STEPS - int(STEPS * strength)
    if seen.image is None:  # nothing is noised: the loop starts from noise alone
        fields["latents"] = seen.latents
    else:
        fields["image_latents"], fields["start_noise"] = seen.image, seen.start
    assert_same_latents(denoise(model, **fields), expected)


def test_a_learned_variance(denoise, monkeypatch):
    """DeepFloyd's first stage."""
    ddpm = diffusers.DDPMScheduler(
        beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True, sample_max_value=1.5
    )
    unet = local_unet("deepfloyd_if")
    torch.manual_seed(4)
    width = unet.config.encoder_hid_dim or unet.config.cross_attention_dim
    call = {"prompt_embeds": torch.randn(2, 77, width), "negative_prompt_embeds": torch.randn(2, 77, width)}
    parts = {
        "tokenizer": None, "text_encoder": None, "safety_checker": None, "feature_extractor": None, "watermarker": None,
        "requires_safety_checker": False,
    }  # fmt: skip
    watched = Watched(ddpm, monkeypatch)
    pipe = diffusers.IFPipeline(**parts, unet=unet, scheduler=ddpm)
    pipe.set_progress_bar_config(disable=True)
    expected = pipe(
        **call, num_inference_steps=STEPS, guidance_scale=5.0, output_type="pt",
        generator=torch.Generator().manual_seed(8),
    ).images  # fmt: skip
    assert_same_latents(denoise("deepfloyd_if", **asked(ddpm, watched, call), latents=watched.latents), expected)
