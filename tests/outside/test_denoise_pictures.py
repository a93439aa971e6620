"""Denoiser.Denoise with pictures: image-to-image, inpainting, UNets that are shown more than latents."""

import json

import numpy as np
import pytest
from denoising import DDIM, seeded
from goldens import Call, calls_of
from wire import array_of, infer


def picture(rows=1, channels=1, side=16):
    return np.random.default_rng(3).uniform(-1, 1, (rows, channels, side, side)).astype(np.float32)


def from_picture(*seeds, **fields):
    request = {**seeded(*seeds), "image_latents": picture(len(seeds)), **fields}
    del request["shape"]
    return request


def test_a_picture_is_kept_but_for_what_is_painted(api):
    mask = np.zeros((2, 1, 16, 16), np.float32)
    mask[:, :, 4:12, 4:12] = 1
    got = api.result(**from_picture(3, 8, mask=mask))
    kept = mask == 0
    assert got[kept].tobytes() == picture(2)[kept].tobytes()
    assert got[~kept].tobytes() != picture(2)[~kept].tobytes()
    # A mask is a mask in any datatype.
    for dtype in (np.bool_, np.uint8, np.float16):
        assert api.result(**from_picture(3, 8, mask=mask.astype(dtype))).tobytes() == got.tobytes()


def test_late_starts_stay_near_the_picture(api):
    distances = []
    for start in (0, 3, 5):
        got = api.result(**from_picture(4, start_step=start, guidance_scale=1.0))
        distances.append(np.abs(got - picture()).mean())
    assert distances[0] > distances[1] > distances[2]


def test_start_noise_is_the_noise_of_the_start(api):
    """From pure noise at start_step 0 it is the sample times init_noise_sigma, which DDIM has at 1."""
    noise = np.random.default_rng(5).standard_normal((1, 1, 16, 16), np.float32)
    given = {**seeded(4), "seeds": [], "start_noise": noise}
    latents = {**seeded(4), "seeds": [], "latents": noise}
    assert api.result(**given).tobytes() == api.result(**latents).tobytes()


@pytest.mark.parametrize("model", ["ip2p", "inpaint", "x4_upscaler", "depth"])
def test_a_picture_stands_beside_the_sample(api, client, model):
    """One step of DDIM: by Denoise, and by ModelInfer on the sample with the picture behind it."""
    call = Call(calls_of(model)[""])
    given = {name: array for name, array in call.inputs.items() if name not in ("sample", "timestep")}
    sample = call.inputs["sample"].astype(np.float32)
    betas = json.dumps({"_class_name": "DDIMScheduler", "trained_betas": [0.5] * 1000, "clip_sample": False})
    fields = {"scheduler_json": betas, "num_inference_steps": 1, "conditions": given}
    got = api.result(model=model, latents=sample[:, :4], concat_latents=sample[:, 4:], **fields)
    # The single step is at timestep 0, and its prediction is the result.
    output = infer(client, model, {**call.inputs, "sample": sample, "timestep": np.array([0])})
    root = np.float32(np.sqrt(0.5))
    expected = (sample[:, :4] - root * output) / root
    np.testing.assert_allclose(got, expected, atol=2e-4 * expected.std())
    if model == "inpaint":
        mask = {"mask": sample[:, 4:5], "masked_image_latents": sample[:, 5:]}
        assert api.result(model=model, latents=sample[:, :4], **mask, **fields).tobytes() == got.tobytes()


def test_residuals_may_change_with_every_step(api):
    call = Call(calls_of("residuals")["controlnet"])
    given = {name: array for name, array in call.inputs.items() if name not in ("sample", "timestep")}
    residuals = [name for name in given if "residual" in name]
    assert residuals
    fields = {"model": "residuals", "scheduler_json": DDIM, "num_inference_steps": 2}
    sample = call.inputs["sample"]
    for step in range(2):
        now = {**given, **{name: given[name] * np.float32(step + 1) for name in residuals}}
        sample = api.result(**fields, latents=sample, conditions=now, start_step=step, end_step=step + 1)
    moving = {**given, **{name: np.stack([given[name], given[name] * np.float32(2)]) for name in residuals}}
    whole = api.result(**fields, latents=call.inputs["sample"], conditions=moving)
    assert whole.tobytes() == sample.tobytes()


def test_the_scheduler_says_how_many_steps_there_are(api):
    heun = json.dumps({"_class_name": "HeunDiscreteScheduler"})
    events = list(api.denoise(**seeded(4, scheduler_json=heun, use_clipped_model_output=False)))
    progress = [event.progress for event in events if event.HasField("progress")]
    assert [p.step for p in progress] == list(range(11))
    assert {p.total for p in progress} == {11}
    assert np.isfinite(array_of(events[-1].result.sample)).all()
