"""Values that no picture has: they stay in their row and their request, in a loop too."""

import json

import grpc
import numpy as np
import pytest
from denoising import seeded, text
from goldens import Call, calls_of
from wire import infer, infer_request, out_sample, refusal

pytestmark = pytest.mark.usefixtures("still_right")

ODD = {"NaN": np.nan, "infinity": np.inf, "minus infinity": -np.inf, "largest": 3.4e38, "denormal": 1e-42}
FINITE = {"denormal"}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("tensor", ["sample", "encoder_hidden_states"])
def test_one_odd_value_stays_in_its_row(client, digit, tensor, name):
    same = infer(client, "digits", digit.inputs)
    arrays = {**digit.inputs, tensor: digit.inputs[tensor].copy()}
    arrays[tensor][0].flat[3] = ODD[name]
    got = infer(client, "digits", arrays)
    assert got[1].tobytes() == same[1].tobytes()
    assert np.isfinite(got[0]).all() or name not in FINITE


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("variant", ["math", "sliced", "fused"])
def test_odd_texts_with_every_algorithm(client, digit, variant, name):
    """A softmax over NaN or infinity: its own row's business."""
    options = {"parameters": {"variant": variant}}
    same = infer(client, "variants", digit.inputs, **options)
    states = digit.inputs["encoder_hidden_states"].copy()
    states[1] = ODD[name]
    got = infer(client, "variants", {**digit.inputs, "encoder_hidden_states": states}, **options)
    assert got[0].tobytes() == same[0].tobytes()


@pytest.mark.parametrize("name", ODD)
def test_odd_latents_in_a_loop(api, name):
    latents = np.random.default_rng(3).standard_normal((2, 1, 16, 16), np.float32)
    fields = {"model": "digits", "num_inference_steps": 3, "conditions": text("1", "2")}
    same = api.result(latents=latents, **fields)
    latents[0, 0, 5, 5] = ODD[name]
    got = api.result(latents=latents, **fields)
    assert got[1].tobytes() == same[1].tobytes()
    assert np.isfinite(got[0]).all() or name not in FINITE


def test_odd_noise_in_a_loop(api):
    noise = np.random.default_rng(4).standard_normal((3, 2, 1, 16, 16)).astype(np.float32)
    fields = seeded(1, 2, num_inference_steps=3, eta=1.0)
    same = api.result(**fields, noise=noise)
    noise[1, 0] = np.nan
    got = api.result(**fields, noise=noise)
    assert got[1].tobytes() == same[1].tobytes()
    assert not np.isfinite(got[0]).any()


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan, -1e30, 0.5])
def test_odd_masks_stay_in_their_row(client, value):
    """A mask of floats weighs; with nothing but minus infinity there is no key left to attend to."""
    arrays = dict(Call(calls_of("masks")["both"]).inputs)
    arrays = {name: array.astype(np.float32) if "mask" in name else array for name, array in arrays.items()}
    same = infer(client, "masks", arrays)
    for name in ("attention_mask", "encoder_attention_mask"):
        arrays[name] = arrays[name].copy()
        arrays[name][0] = value
    got = infer(client, "masks", arrays)
    assert got[1:].tobytes() == same[1:].tobytes()


def test_mixed_timesteps_are_those_of_each_row(stub):
    """A batch of rows at different times, far ones too: each has the bits that it has alone."""
    times = [0, 999, -1, 10**9, 0.5, 1e-30, 2.0**60]
    rng = np.random.default_rng(5)
    arrays = {
        "sample": rng.standard_normal((len(times), 1, 16, 16), np.float32),
        "timestep": np.array(times, np.float64),
        "encoder_hidden_states": rng.standard_normal((len(times), 4, 64), np.float32),
    }
    together = out_sample(stub.ModelInfer(infer_request("digits", arrays)))
    for row in range(len(times)):
        one = {name: array[row : row + 1] for name, array in arrays.items()}
        assert out_sample(stub.ModelInfer(infer_request("digits", one)))[0].tobytes() == together[row].tobytes()


@pytest.mark.parametrize("rank", [9, 4096])
@pytest.mark.parametrize("field", ["latents", "noise", "conditions", "negative_conditions"])
def test_ranks_of_tensors(api, field, rank):
    request = api.denoise_request(**seeded(4, eta=1.0))
    tensor = getattr(request, field)
    tensor = tensor[0] if field.endswith("conditions") else tensor
    tensor.datatype, tensor.raw = "FP32", b"1234"
    tensor.shape[:] = [1] * rank
    code, message = refusal(api.call("Denoiser", "Denoise"), request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert field in message and f"{rank}" in message


def test_many_tensors(api):
    request = api.denoise_request(**seeded(4))
    for number in range(20_000):
        request.conditions.add(name=f"c{number}", datatype="FP32", shape=[1], raw=b"1234")
    code, message = refusal(api.call("Denoiser", "Denoise"), request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "conditions" in message and "20001" in message


SCHEDULERS = {
    "more timesteps than sense": {"num_train_timesteps": 10**9},
    "a float that is no integer": {"num_train_timesteps": 1.5},
    "beyond 64 bits": {"num_train_timesteps": 10**30},
    "none": {"num_train_timesteps": 0},
    "a boolean": {"num_train_timesteps": True},
    "negative beta": {"beta_start": -1},
    "huge beta": {"beta_end": 1e308},
    "null beta": {"beta_start": None},
    "offset": {"steps_offset": 10**9},
    "ratio": {"thresholding": True, "dynamic_thresholding_ratio": 2},
    "unknown word": {"prediction_type": "x" * 1000},
    "a list": {"beta_schedule": []},
    "megabytes": {"nobody": "x" * (8 << 20)},
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_scheduler_values(server, api, name):
    before = server.peak_mib()
    code, message = refusal(api.denoise, **seeded(4, scheduler_json=json.dumps(SCHEDULERS[name])))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "scheduler_json" in message and message.isprintable() and len(message) < 1000
    assert server.peak_mib() - before < 256


TEXTS = {"huge exponent": '{"beta_start": 1e400}', "huge integer": '{"steps_offset": ' + "9" * 400 + "}", "NUL": "\0"}


@pytest.mark.parametrize("name", TEXTS)
def test_scheduler_text(api, name):
    code, message = refusal(api.denoise, **seeded(4, scheduler_json=TEXTS[name]))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "scheduler_json" in message and message.isprintable()
