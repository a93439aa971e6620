"""RemoteUNet beside the UNet that it stands in for."""

import json

import diffusers
import pytest
import torch
from components import assert_same_latents, local_unet, random
from diffusers.models.attention import GatedSelfAttentionDense
from goldens import GOLDEN


def inputs(unet, rows=2):
    side, width = unet.config.sample_size, unet.config.cross_attention_dim
    return random(rows, unet.config.in_channels, side, side), 500, random(rows, 7, width, seed=1)


@torch.no_grad()
def forward(unet, *arguments, **options):
    return unet(*arguments, **options).sample


def public(config):
    return {key: value for key, value in config.items() if not key.startswith("_")}


# What pipelines look into.


@pytest.mark.parametrize("name", ["sd15", "sdxl", "inpaint"])
def test_config(remote, name):
    assert public(remote(name).config) == public(local_unet(name).config)


def test_defaults_of_a_short_config(unetd):
    from unetd import remote_unet

    text = (GOLDEN / "unet" / "minimal_config" / "config.json").read_text()
    assert len(json.loads(text)) < 20
    assert public(remote_unet._config(json.loads(text))) == public(local_unet("minimal_config").config)


def test_attn_processors(remote):
    expected = {name: type(one).__name__ for name, one in local_unet("sd15").attn_processors.items()}
    unet = remote("sd15", "baseline")
    assert unet.attn_processors == expected
    unet.set_variant("math")
    assert unet.attn_processors == dict.fromkeys(expected, "AttnProcessor")
    unet.set_variant(None)
    with pytest.raises(ValueError, match="set_variant first: baseline, math"):
        unet.attn_processors  # noqa: B018
    forward(unet, *inputs(unet))
    assert unet.attn_processors == expected  # those of what ran
    with pytest.raises(NotImplementedError, match="set_variant"):
        unet.set_attn_processor(diffusers.models.attention_processor.AttnProcessor())


def test_dtype_and_device(remote):
    unet = remote("sd15")
    assert (unet.dtype, unet.device) == (torch.float32, torch.device("cpu"))
    assert unet.to(torch.float16) is unet
    assert unet.dtype == torch.float16
    assert unet.to("meta").device == torch.device("meta")
    assert remote("sd15", dtype=torch.bfloat16).dtype == torch.bfloat16
    assert list(unet.parameters()) == [] and unet.state_dict() == {}


def test_a_pipeline_moves_it(remote):
    pipe = diffusers.DDIMPipeline(unet=remote("sd15"), scheduler=diffusers.DDIMScheduler())
    pipe.to(torch.float16)
    assert pipe.unet.dtype == torch.float16


# Variants.


def test_variants(remote, unetd):
    unet = remote("sd15", "math")
    assert (unet.variants, unet.variant) == (["baseline", "math"], "math")
    forward(unet, *inputs(unet))
    assert unet.variant_that_ran == "math"
    with pytest.raises(unetd.errors.NotFound, match="'sd15' has no variant 'nobody'; it has: baseline, math"):
        unet.set_variant("nobody")
    assert unet.variant == "math"


def test_all_steps_in_the_same_variant(unetd, tmp_path):
    from goldens import model_of
    from unetd_process import Unetd

    names = [{"name": str(number)} for number in range(8)]
    server = Unetd(tmp_path, [model_of("sd15", variants=names)])
    try:
        drawn = set()
        for _ in range(12):
            unet = unetd.RemoteUNet(server.address, "sd15")
            ran = set()
            for _ in range(6):
                forward(unet, *inputs(unet, rows=1))
                ran.add(unet.variant_that_ran)
            assert len(ran) == 1
            drawn |= ran
            unet.close()
        assert len(drawn) > 1  # but not the same for everybody
    finally:
        server.stop()


# Forward passes.


@pytest.mark.parametrize("dtype,tolerance", [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_half_precision_travels(remote, dtype, tolerance):
    """The server computes in its own dtype: only what travels is rounded."""
    unet, far = local_unet("sd15"), remote("sd15")
    sample, timestep, text = inputs(unet)
    sample, text = sample.to(dtype), text.to(dtype)
    got = forward(far, sample, timestep, text)
    assert got.dtype == dtype
    expected = forward(unet, sample.float(), timestep, text.float())
    assert (got.float() - expected).abs().max() <= tolerance * expected.std()


@pytest.mark.parametrize("timestep", [7, 7.5, torch.tensor(7), torch.tensor([7, 900]), torch.tensor(7.5).double()])
def test_timesteps(remote, timestep):
    unet = local_unet("sd15")
    sample, _, text = inputs(unet)
    assert_same_latents(forward(remote("sd15"), sample, timestep, text), forward(unet, sample, timestep, text))


def test_tuple_and_layout(remote):
    unet, far = local_unet("sd15"), remote("sd15")
    sample, timestep, text = inputs(unet)
    with torch.no_grad():
        (got,) = far(sample.to(memory_format=torch.channels_last), timestep, text, return_dict=False)
    assert_same_latents(got, forward(unet, sample, timestep, text))


def test_class_labels(remote):
    unet = local_unet("class_labels")
    call = {"class_labels": torch.tensor([1, 0])}
    arguments = inputs(unet)
    assert_same_latents(forward(remote("class_labels"), *arguments, **call), forward(unet, *arguments, **call))


def test_encoder_attention_mask(remote):
    unet = local_unet("sd15")
    call = {"encoder_attention_mask": torch.tensor([[True] * 3 + [False] * 4, [True] * 7])}
    arguments = inputs(unet)
    assert_same_latents(forward(remote("sd15"), *arguments, **call), forward(unet, *arguments, **call))


def test_gligen(remote):
    unet, far = local_unet("gligen"), remote("gligen")
    sample, timestep, text = inputs(unet)
    gligen = {
        "boxes": torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(2)),
        "masks": torch.tensor([[1.0, 1, 0], [1, 0, 0]]),
        "positive_embeddings": random(2, 3, unet.config.cross_attention_dim, seed=3),
    }
    call = {"cross_attention_kwargs": {"gligen": gligen}}
    found = []
    for enabled in (True, False):  # as GLIGEN's pipelines switch it after the first steps
        for one in (unet, far):
            for module in one.modules():
                if type(module) is GatedSelfAttentionDense:
                    module.enabled = enabled
        found.append(forward(far, sample, timestep, text, **call))
        assert_same_latents(found[-1], forward(unet, sample, timestep, text, **call))
    assert not torch.equal(*found)


# Refusals.


def test_what_would_be_lost(remote):
    unet = remote("sd15")
    with pytest.raises(ValueError, match="the server takes only gligen, got scale"):
        forward(unet, *inputs(unet), cross_attention_kwargs={"scale": 0.5})


def test_no_gradients(remote):
    unet = remote("sd15")
    sample, timestep, text = inputs(unet)
    with pytest.raises(RuntimeError, match="no gradients"):
        unet(sample.requires_grad_(), timestep, text)


def test_errors_of_the_server(remote, unetd, server):
    unet = remote("sd15")
    sample, timestep, text = inputs(unet)
    with pytest.raises(unetd.errors.InvalidArgument, match="encoder_hidden_states"):
        forward(unet, sample, timestep, text[..., :3])
    with pytest.raises(unetd.errors.InvalidArgument, match="text_embeds"):
        forward(unet, sample, timestep, text, added_cond_kwargs={"text_embeds": text})
    with pytest.raises(unetd.errors.NotFound, match="nobody"):
        remote("nobody")


# The denoiser, with tensors of torch.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_denoiser_takes_tensors(unetd, server, dtype):
    with unetd.Denoiser(server.address, "sd15") as denoiser:
        result = denoiser.denoise(
            latents=random(1, 4, 16, 16).to(dtype),
            conditions={"encoder_hidden_states": random(1, 7, 24, seed=1)},
            num_inference_steps=2,
            scheduler=diffusers.DDIMScheduler(),
            progress=False,
        )
    assert result.sample.dtype == dtype
    assert result.sample.shape == (1, 4, 16, 16)
