"""Denoiser.Denoise with the shipped digits model, against whole denoisings by diffusers."""

import json

import grpc
import ml_dtypes
import numpy as np
import pytest
from denoising import DDIM, GOLDENS, SCHEDULER, of_golden, seeded, text
from goldens import Call, assert_equal_to_diffusers, calls_of
from unetd_process import PATIENCE
from wire import array_of, infer, refusal


@pytest.mark.parametrize("name", GOLDENS)
def test_equal_to_diffusers(api, name):
    fields, tensors = of_golden(name)
    assert_equal_to_diffusers(api.result(**fields), tensors["result"])


@pytest.mark.parametrize("step", [0, 12])
@pytest.mark.parametrize("name", GOLDENS)
def test_part_of_a_loop_equal_to_diffusers(api, name, step):
    fields, tensors = of_golden(name, last=step + 1)
    assert_equal_to_diffusers(api.result(**fields), tensors[f"prev_sample.{step}"])
    fields, tensors = of_golden(name, first=step + 1)
    assert_equal_to_diffusers(api.result(**fields), tensors["result"])


@pytest.mark.parametrize("name", GOLDENS)
def test_two_parts_have_the_bits_of_the_whole(api, name):
    whole = api.result(**of_golden(name)[0])
    half = api.result(**of_golden(name, last=13)[0])
    rest = of_golden(name, first=13)[0]
    assert api.result(**{**rest, "latents": half}).tobytes() == whole.tobytes()


def test_events(api):
    fields, _ = of_golden("denoise")
    events = list(api.denoise(**fields, preview_every=10))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "accepted"
    assert kinds[-1] == "result"
    assert kinds.count("progress") == 25
    assert events[0].accepted.variant == events[-1].result.variant == "default"
    assert events[0].accepted.plan_bytes > fields["latents"].nbytes
    progress = [event.progress for event in events if event.HasField("progress")]
    assert [one.step for one in progress] == list(range(25))
    assert all(one.total == 25 and one.ms > 0 for one in progress)
    # "trailing" spacing of 1000 timesteps over 25 steps.
    assert [one.timestep for one in progress] == [999 - 40 * step for step in range(25)]
    previews = [event.preview for event in events if event.HasField("preview")]
    assert [one.step for one in previews] == [9, 19]
    assert kinds.index("preview") == kinds.index("progress") + 10  # right after its step
    for preview in previews:
        picture = array_of(preview.sample)
        assert preview.sample.name == "pred_original_sample"
        assert picture.shape == fields["latents"].shape
        assert np.abs(picture).max() <= 1  # clip_sample
    assert events[-1].result.sample.name == "sample"


def test_previews_and_progress_of_a_part(api):
    fields, _ = of_golden("denoise", first=13)
    events = list(api.denoise(**fields, preview_every=5))
    progress = [event.progress for event in events if event.HasField("progress")]
    assert [one.step for one in progress] == list(range(13, 25))
    assert all(one.total == 12 for one in progress)
    assert [event.preview.step for event in events if event.HasField("preview")] == [17, 22]


def test_the_last_preview_is_near_the_result(api):
    """At the last step the prediction is what the loop ends with: alpha is one."""
    fields, _ = of_golden("denoise")
    events = list(api.denoise(**fields, preview_every=25))
    (preview,) = [event.preview for event in events if event.HasField("preview")]
    np.testing.assert_allclose(array_of(preview.sample), array_of(events[-1].result.sample), atol=1e-5)


def test_fifty_steps_unless_said(api):
    fields = seeded(1, guidance_scale=1.0)
    del fields["num_inference_steps"]
    events = list(api.denoise(**fields))
    assert sum(event.HasField("progress") for event in events) == 50


def test_seeds_are_the_same_whatever_the_batch(api):
    seeds = [11, 5, 2**63 - 1, 5, 0]
    together = api.result(**seeded(*seeds))
    for row, seed in enumerate(seeds):
        assert api.result(**seeded(seed)).tobytes() == together[row].tobytes()
    assert together[1].tobytes() == together[3].tobytes()
    assert together[0].tobytes() != together[1].tobytes()


def test_seeds_draw_the_noise_of_eta_too(api):
    together = api.result(**seeded(11, 5, 7, eta=0.7))
    for row, seed in enumerate([11, 5, 7]):
        assert api.result(**seeded(seed, eta=0.7)).tobytes() == together[row].tobytes()
    assert together.tobytes() != api.result(**seeded(11, 5, 7)).tobytes()


def test_seeded_noise_goes_on_where_a_part_ended(api):
    whole = api.result(**seeded(11, 5, eta=0.7))
    half = api.result(**seeded(11, 5, eta=0.7, end_step=3))
    rest = seeded(11, 5, eta=0.7, start_step=3, latents=half)
    del rest["shape"]
    assert api.result(**rest).tobytes() == whole.tobytes()


def test_seeds_make_normal_noise(api):
    """A scheduler of one tiny beta leaves the sample as it started."""
    scheduler = json.dumps({"_class_name": "DDIMScheduler", "trained_betas": [1e-6] * 1000, "clip_sample": False})
    wide = [1, 1, 128, 128]
    fields = {"conditions": text("1"), "scheduler_json": scheduler, "num_inference_steps": 1, "shape": wide}
    noise = [api.result(model="digits", seeds=[seed], **fields).ravel() for seed in (1, 2)]
    for one in noise:
        assert abs(one.mean()) < 0.05
        assert abs(one.std() - 1) < 0.05
        assert abs((np.abs(one) < 1).mean() - 0.6827) < 0.02
    assert abs(np.corrcoef(noise)[0, 1]) < 0.05


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_the_result_has_the_latents_dtype(api, dtype):
    fields, _ = of_golden("denoise", last=2)
    fields["latents"] = fields["latents"].astype(dtype)
    got = api.result(**fields)
    assert got.dtype == dtype
    fields["latents"] = fields["latents"].astype(np.float32)
    assert got.tobytes() == api.result(**fields).astype(dtype).tobytes()


def test_scheduler_override(api):
    own = api.result(**seeded(4))
    assert api.result(**seeded(4, scheduler_json=SCHEDULER)).tobytes() == own.tobytes()
    # What the request leaves out stands as the model has it.
    assert api.result(**seeded(4, scheduler_json=DDIM)).tobytes() == own.tobytes()
    spaced = json.dumps({"_class_name": "DDIMScheduler", "timestep_spacing": "leading"})
    events = list(api.denoise(**seeded(4, scheduler_json=spaced)))
    timesteps = [event.progress.timestep for event in events if event.HasField("progress")]
    assert timesteps == [830, 664, 498, 332, 166, 0]
    assert array_of(events[-1].result.sample).tobytes() != own.tobytes()


def test_a_model_without_a_scheduler_needs_one_in_the_request(api):
    call = Call(calls_of("sdxl")[""])
    given = {name: array for name, array in call.inputs.items() if name not in ("sample", "timestep")}
    fields = {"model": "sdxl", "latents": call.inputs["sample"], "conditions": given, "num_inference_steps": 2}
    code, message = refusal(api.denoise, **fields)
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "scheduler" in message
    result = api.result(**fields, scheduler_json=DDIM)
    assert result.shape == call.inputs["sample"].shape
    assert np.isfinite(result).all()


def test_the_loop_is_what_a_client_would_do(api, client):
    """One unguided step by ModelInfer and DDIM's formula in numpy."""
    latents = np.random.default_rng(0).standard_normal((2, 1, 16, 16), np.float32)
    output = infer(client, "digits", {"sample": latents, "timestep": np.array([999]), **text("3", "4")})
    steps = np.arange(1001, dtype=np.float64) / 1000
    bar = np.cos((steps + 0.008) / 1.008 * np.pi / 2) ** 2
    alphas = np.cumprod(1 - np.minimum(1 - bar[1:] / bar[:-1], 0.999))
    now, then = alphas[999], alphas[499]
    original = np.sqrt(now) * latents - np.sqrt(1 - now) * output
    epsilon = np.sqrt(now) * output + np.sqrt(1 - now) * latents
    expected = np.sqrt(then) * np.clip(original, -1, 1) + np.sqrt(1 - then) * epsilon
    fields = {"num_inference_steps": 2, "end_step": 1, "latents": latents, "conditions": text("3", "4")}
    np.testing.assert_allclose(api.result(model="digits", **fields), expected, atol=1e-4)


def test_cancel_stops_the_loop(api, server):
    steps = server.metric("unetd_denoise_steps", model="digits")
    call = api.denoise(**seeded(*range(8), num_inference_steps=1000))
    assert next(call).HasField("accepted")
    assert next(call).HasField("progress")
    call.cancel()
    server.wait_idle()
    assert server.metric("unetd_denoise_steps", model="digits") - steps < 500


def test_deadline_stops_the_loop(api, server):
    missed = server.metric("nv_inference_request_failure", model="digits")
    code, _ = refusal(api.denoise, **seeded(*range(8), num_inference_steps=1000), timeout=1)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    server.wait_idle()
    assert server.metric("nv_inference_request_failure", model="digits") == missed + 1


def test_a_slow_reader_gets_first_and_last(api, server):
    call = api.denoise(**seeded(1, num_inference_steps=200, guidance_scale=1.0, preview_every=1), timeout=PATIENCE)
    events = [next(call)]
    server.wait_idle()  # the loop does not wait for its reader
    events += call
    assert events[0].HasField("accepted")
    assert events[-1].HasField("result")
    steps = [event.progress.step for event in events if event.HasField("progress")]
    assert steps == sorted(steps)
