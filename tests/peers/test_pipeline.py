"""diffusers' own pipelines with their UNet on the server, against the same pipelines without one."""

import importlib.util
import pathlib
import sys

import diffusers
import pytest
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "outside"))
from unetd_process import Unetd  # noqa: E402

GOLDEN = ROOT / "tests" / "golden" / "unet"


def remote_unet():
    path = ROOT / "client" / "examples" / "remote_unet.py"
    spec = importlib.util.spec_from_file_location("remote_unet", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RemoteUNet


def local_unet(name):
    return diffusers.UNet2DConditionModel.from_pretrained(GOLDEN / name).float().eval()


def scheduler():
    return diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1,
        set_alpha_to_one=False,
    )


@pytest.fixture
def serve(tmp_path):
    """serve(name) starts a server of a golden UNet; its result makes the remote UNet of a variant."""
    servers = []

    def serve_one(unet, name):
        math = {"layers": "*", "processor": "AttnProcessor"}
        variants = [{"name": "baseline"}, {"name": "math", "weight": 0, "processors": [math]}]
        servers.append(Unetd(tmp_path, models=[{"name": name, "path": str(GOLDEN / name), "variants": variants}]))
        return lambda variant: remote_unet()(unet.config, servers[-1].address, name, variant)

    yield serve_one
    for server in servers:
        server.stop()


def assert_equal_to_diffusers(got, expected):
    """The promise is 2e-4 of the output's deviation for a forward; a loop may add its steps' errors up."""
    assert got.shape == expected.shape
    assert expected.std() > 0
    assert (got - expected).abs().max() <= 1e-3 * expected.std()


@pytest.mark.parametrize("variant", ["baseline", "math"])
def test_stable_diffusion(serve, variant):
    unet = local_unet("sd15")
    remote = serve(unet, "sd15")(variant)
    generator = torch.Generator().manual_seed(0)
    size, width = unet.config.sample_size, unet.config.cross_attention_dim
    call = {
        "prompt_embeds": torch.randn(2, 7, width, generator=generator),
        "negative_prompt_embeds": torch.randn(2, 7, width, generator=generator),
        "latents": torch.randn(2, 4, size, size, generator=generator),
        "num_inference_steps": 4,
        "guidance_scale": 5.0,
        "output_type": "latent",
    }
    results = []
    for part in (unet, remote):
        pipe = diffusers.StableDiffusionPipeline(
            vae=None, text_encoder=None, tokenizer=None, unet=part, scheduler=scheduler(), safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        results.append(pipe(height=size * 8, width=size * 8, **call).images)
    assert_equal_to_diffusers(results[1], results[0])


def test_stable_diffusion_xl(serve):
    unet = local_unet("sdxl")
    remote = serve(unet, "sdxl")("baseline")
    generator = torch.Generator().manual_seed(0)
    size, width = unet.config.sample_size, unet.config.cross_attention_dim
    pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    call = {
        "prompt_embeds": torch.randn(1, 7, width, generator=generator),
        "negative_prompt_embeds": torch.randn(1, 7, width, generator=generator),
        "pooled_prompt_embeds": torch.randn(1, pooled, generator=generator),
        "negative_pooled_prompt_embeds": torch.randn(1, pooled, generator=generator),
        "latents": torch.randn(1, 4, size, size, generator=generator),
        "num_inference_steps": 3,
        "guidance_scale": 5.0,
        "output_type": "latent",
    }
    results = []
    for part in (unet, remote):
        part.add_embedding = unet.add_embedding  # the pipeline asks it for the size of the time ids
        pipe = diffusers.StableDiffusionXLPipeline(
            vae=None, text_encoder=None, text_encoder_2=None, tokenizer=None, tokenizer_2=None, unet=part,
            scheduler=scheduler(), add_watermarker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        results.append(pipe(height=size * 8, width=size * 8, **call).images)
    assert_equal_to_diffusers(results[1], results[0])
