"""Denoiser.Step with the shipped digits model: a loop of steps is Denoise."""

import concurrent.futures
import json

import grpc
import numpy as np
import pytest
from denoising import DDIM, GOLDENS, of_golden, seeded
from goldens import assert_equal_to_diffusers
from wire import array_of, refusal

SCHEDULERS = [
    "DDIM", "DDPM", "EulerDiscrete", "EulerAncestralDiscrete", "DPMSolverMultistep", "LCM", "PNDM", "UniPCMultistep",
    "HeunDiscrete", "TCD",
]  # fmt: skip


def scheduler(name):
    return json.dumps({"_class_name": f"{name}Scheduler"})


def step_fields(*seeds, **fields):
    request = seeded(*seeds, **fields)
    del request["shape"]
    return request


def states_of(answer):
    return [array_of(tensor) for tensor in answer.state]


@pytest.mark.parametrize("name", GOLDENS)
@pytest.mark.parametrize("step", [0, 13])
def test_equal_to_diffusers(api, name, step):
    """After step 13 the golden has no sample: there the loop, which is compared elsewhere, says what is right."""
    fields, tensors = of_golden(name, first=step, last=step + 1)
    expected = tensors["prev_sample.0"] if step == 0 else api.result(**fields)
    for gone in ("start_step", "end_step"):
        del fields[gone]
    if "noise" in fields:
        fields["noise"] = fields["noise"][0]
    sample = fields.pop("latents")
    answer = api.step(**fields, sample=sample, step_index=step)
    assert_equal_to_diffusers(array_of(answer.prev_sample), expected)
    assert answer.variant == "default"
    assert answer.step_ms > 0


@pytest.mark.parametrize("name", SCHEDULERS)
def test_steps_have_the_bits_of_the_loop(api, name):
    sample = np.random.default_rng(1).standard_normal((2, 1, 16, 16), np.float32)
    fields = {"scheduler_json": scheduler(name), "use_clipped_model_output": False}
    *events, end = api.denoise(**seeded(11, 5, **fields, preview_every=1, latents=sample))
    previews = [event.preview.sample for event in events if event.HasField("preview")]
    state = []
    for index, preview in enumerate(previews):
        answer = api.step(**step_fields(11, 5, **fields), sample=sample, step_index=index, state=state)
        sample, state = array_of(answer.prev_sample), states_of(answer)
        assert array_of(answer.pred_original_sample).tobytes() == array_of(preview).tobytes()
    assert sample.tobytes() == array_of(end.result.sample).tobytes()
    assert not state


def test_a_step_by_its_timestep(api):
    noise = np.random.default_rng(1).standard_normal((1, 1, 16, 16), np.float32)
    fields = step_fields(4, scheduler_json=DDIM, sample=noise)
    by_index = api.step(**fields, step_index=2)
    by_timestep = api.step(**fields, timestep=666.0)
    assert by_index.prev_sample == by_timestep.prev_sample
    code, message = refusal(api.step, **fields, timestep=600.0)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "666 (step 2)" in message and "499 (step 3)" in message


def test_the_answer_has_the_samples_datatype(api):
    noise = np.random.default_rng(1).standard_normal((1, 1, 16, 16), np.float32)
    half = api.step(**step_fields(4, sample=noise.astype(np.float16)))
    assert half.prev_sample.datatype == half.pred_original_sample.datatype == "FP16"


@pytest.fixture
def after_two(api):
    """The fields of step 2 of a multistep scheduler, with the state that it needs."""
    fields = step_fields(4, scheduler_json=scheduler("UniPCMultistep"), use_clipped_model_output=False)
    sample, state = np.random.default_rng(1).standard_normal((1, 1, 16, 16), np.float32), []
    for index in range(2):
        answer = api.step(**fields, sample=sample, step_index=index, state=state)
        sample, state = array_of(answer.prev_sample), states_of(answer)
    return {**fields, "sample": sample, "step_index": 2, "state": state}


def test_damaged_states_are_refused(api, after_two):
    random = np.random.default_rng(2)
    good = api.step(**after_two)
    for _ in range(200):
        state = [array.copy() for array in after_two["state"]]
        raw = state[random.integers(len(state))].reshape(-1).view(np.uint8)
        raw[random.integers(len(raw))] ^= 1 << random.integers(8)
        code, message = refusal(api.step, **{**after_two, "state": state})
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert message.startswith("state: ")
    assert api.step(**after_two).prev_sample == good.prev_sample


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"step_index": 3}, "it is for step 2, and this one is 3"),
        ({"step_index": 0}, "expected none for step 0"),
        ({"num_inference_steps": 7}, "a loop of 6 steps, and this one has 7"),
        ({"scheduler_json": scheduler("DDIM")}, "another scheduler config"),
        ({"sample": np.zeros((1, 1, 32, 32), np.float32)}, "a sample [1,1,16,16], and this one is [1,1,32,32]"),
    ],
)
def test_states_of_another_loop_are_refused(api, after_two, changes, words):
    code, message = refusal(api.step, **{**after_two, **changes})
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith("state: ") and words in message


def test_states_of_the_wrong_size_are_refused(api, after_two):
    header, *tensors = after_two["state"]
    nothing = np.zeros(0, np.uint8)
    wrong = [
        [header, *tensors[:-1]], [header, *tensors, tensors[-1]], tensors, [header[:8], *tensors], [nothing],
        [header, *tensors[:-1], tensors[-1].astype(np.float16)], [header.astype(np.int8), *tensors],
    ]  # fmt: skip
    for state in wrong:
        code, message = refusal(api.step, **{**after_two, "state": state})
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert message.startswith("state: ")
    code, message = refusal(api.step, **{**after_two, "state": [nothing] * 1000})
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 65 tensors, got 1000" in message


ERRORS = {
    "unknown model": ({"model": "nobody"}, "NOT_FOUND", "'nobody'"),
    "unknown variant": ({"variant": "nobody"}, "NOT_FOUND", "'nobody'"),
    "no sample": ({"sample": None}, "INVALID_ARGUMENT", "sample"),
    "sample of three": ({"sample": np.zeros((1, 16, 16), np.float32)}, "INVALID_ARGUMENT", "sample"),
    "integer sample": ({"sample": np.zeros((1, 1, 16, 16), np.int32)}, "INVALID_ARGUMENT", "sample"),
    "step after the last": ({"step_index": 6}, "INVALID_ARGUMENT", "step_index: expected 0 to 5"),
    "negative step": ({"step_index": -1}, "INVALID_ARGUMENT", "step_index"),
    "both": ({"step_index": 1, "timestep": 832.0}, "INVALID_ARGUMENT", "timestep"),
    "timestep NaN": ({"timestep": float("nan")}, "INVALID_ARGUMENT", "timestep"),
    "timestep infinite": ({"timestep": float("inf")}, "INVALID_ARGUMENT", "timestep"),
    "negative steps": ({"num_inference_steps": -1}, "INVALID_ARGUMENT", "num_inference_steps"),
    "no conditions": ({"conditions": {}, "negative_conditions": {}}, "INVALID_ARGUMENT", "encoder_hidden_states"),
    "eta above one": ({"eta": 1.1}, "INVALID_ARGUMENT", "eta"),
    "no seeds": ({"seeds": [], "eta": 1.0}, "INVALID_ARGUMENT", "seeds"),
    "noise of a loop": ({"noise": np.zeros((1, 1, 1, 16, 16), np.float32), "eta": 1.0}, "INVALID_ARGUMENT", "noise"),
    "image without a mask": (
        {"image_latents": np.zeros((1, 1, 16, 16), np.float32)},
        "INVALID_ARGUMENT",
        "image_latents",
    ),
    "scheduler unknown": ({"scheduler_json": '{"_class_name": "Nobody"}'}, "UNIMPLEMENTED", "Nobody"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(api, name):
    changes, expected, words = ERRORS[name]
    fields = step_fields(4, sample=np.ones((1, 1, 16, 16), np.float32))
    same = api.step(**fields)
    code, message = refusal(api.step, **{**fields, **changes})
    assert code == grpc.StatusCode[expected], message
    assert words in message
    assert api.step(**fields).prev_sample == same.prev_sample


def test_clients_beside_each_other_get_their_own_bits(api):
    """Their steps may share a forward; a step of one waits for nobody's state."""

    def loop(seed):
        fields = step_fields(seed, scheduler_json=scheduler("DPMSolverMultistep"), use_clipped_model_output=False)
        sample, state = np.random.default_rng(seed).standard_normal((1, 1, 16, 16), np.float32), []
        for index in range(6):
            answer = api.step(**fields, sample=sample, step_index=index, state=state)
            sample, state = array_of(answer.prev_sample), states_of(answer)
        return sample.tobytes()

    alone = [loop(seed) for seed in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert list(pool.map(loop, range(6))) == alone


def test_a_client_that_leaves_frees_its_step(api, server):
    """Behind a long loop, so that the step still waits or runs when its client goes."""
    loop = api.denoise(**seeded(*range(8), num_inference_steps=1000))
    assert next(loop).HasField("accepted")
    request = api.request("StepRequest", **step_fields(4, sample=np.ones((1, 1, 16, 16), np.float32)))
    calls = [api.call("Denoiser", "Step").future(request) for _ in range(4)]
    for call in calls:
        call.cancel()
    loop.cancel()
    server.wait_idle()
    assert api.step(**step_fields(4, sample=np.ones((1, 1, 16, 16), np.float32))).variant == "default"


def test_a_deadline_stops_a_step(api):
    fields = step_fields(4, sample=np.ones((1, 1, 16, 16), np.float32))
    code, _ = refusal(api.step, **fields, timeout=1e-6)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
