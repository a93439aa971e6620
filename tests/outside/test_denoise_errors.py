"""What Denoise refuses: the right code, the field named, and the next request as ever."""

import grpc
import numpy as np
import pytest
from denoising import DDIM, seeded, text
from goldens import Call, calls_of
from wire import refusal

ERRORS = {
    "unknown model": ({"model": "nobody"}, "NOT_FOUND", "'nobody'"),
    "unknown variant": ({"variant": "nobody"}, "NOT_FOUND", "'nobody'"),
    "neither latents nor seeds": ({"shape": [], "seeds": []}, "INVALID_ARGUMENT", "latents"),
    "seeds missing": ({"seeds": []}, "INVALID_ARGUMENT", "seeds"),
    "too few seeds": ({"shape": [2, 1, 16, 16]}, "INVALID_ARGUMENT", ""),
    "too many seeds": ({"seeds": [1, 2]}, "INVALID_ARGUMENT", "seeds"),
    "shape of three": ({"shape": [1, 16, 16]}, "INVALID_ARGUMENT", "sample"),
    "shape of nine": ({"shape": [1] * 9}, "INVALID_ARGUMENT", "shape"),
    "negative shape": ({"shape": [1, 1, -16, 16]}, "INVALID_ARGUMENT", "sample"),
    "huge shape": ({"shape": [1, 1, 2**62, 2**62]}, "INVALID_ARGUMENT", "sample"),
    "too many rows": ({"shape": [9, 1, 16, 16]}, "INVALID_ARGUMENT", ""),
    "wrong channels": ({"shape": [1, 2, 16, 16]}, "INVALID_ARGUMENT", "sample"),
    "no conditions": ({"conditions": {}, "negative_conditions": {}}, "INVALID_ARGUMENT", "encoder_hidden_states"),
    "unwanted mask": ({"mask": np.zeros((1, 1, 16, 16), np.float32)}, "INVALID_ARGUMENT", "image_latents"),
    "unwanted picture": (
        {"concat_latents": np.zeros((1, 3, 16, 16), np.float32)},
        "INVALID_ARGUMENT",
        "concat_latents",
    ),
    "image of another shape": (
        {"image_latents": np.zeros((1, 1, 8, 8), np.float32)},
        "INVALID_ARGUMENT",
        "shape",
    ),
    "integer image": (
        {"image_latents": np.zeros((1, 1, 16, 16), np.int32), "shape": []},
        "INVALID_ARGUMENT",
        "image_latents",
    ),
    "start noise of another shape": (
        {"start_noise": np.zeros((1, 1, 8, 8), np.float32)},
        "INVALID_ARGUMENT",
        "start_noise",
    ),
    "unknown condition": ({"conditions": {**text("1"), "hint": np.zeros(1)}}, "INVALID_ARGUMENT", "'hint'"),
    "sample as condition": (
        {"conditions": {**text("1"), "sample": np.zeros((1, 1, 16, 16), np.float32)}},
        "INVALID_ARGUMENT",
        "'sample'",
    ),
    "guidance without negatives": ({"negative_conditions": {}}, "INVALID_ARGUMENT", "negative_conditions"),
    "negatives of another shape": ({"negative_conditions": text("1", "2")}, "INVALID_ARGUMENT", "negative_conditions"),
    "guidance NaN": ({"guidance_scale": float("nan")}, "INVALID_ARGUMENT", "guidance_scale"),
    "guidance infinite": ({"guidance_scale": float("inf")}, "INVALID_ARGUMENT", "guidance_scale"),
    "rescale above one": ({"guidance_rescale": 1.5}, "INVALID_ARGUMENT", "guidance_rescale"),
    "eta below zero": ({"eta": -0.1}, "INVALID_ARGUMENT", "eta"),
    "eta NaN": ({"eta": float("nan")}, "INVALID_ARGUMENT", "eta"),
    "negative steps": ({"num_inference_steps": -1}, "INVALID_ARGUMENT", "step"),
    "more steps than timesteps": ({"num_inference_steps": 1001}, "INVALID_ARGUMENT", "num_inference_steps"),
    "start after the end": ({"start_step": 6}, "INVALID_ARGUMENT", "start_step"),
    "negative start": ({"start_step": -1}, "INVALID_ARGUMENT", "start_step"),
    "end after the last": ({"end_step": 7}, "INVALID_ARGUMENT", "end_step"),
    "negative preview": ({"preview_every": -1}, "INVALID_ARGUMENT", "preview_every"),
    "noise without eta": ({"noise": np.zeros((6, 1, 1, 16, 16), np.float32)}, "INVALID_ARGUMENT", "noise"),
    "noise of another length": (
        {"noise": np.zeros((5, 1, 1, 16, 16), np.float32), "eta": 1.0},
        "INVALID_ARGUMENT",
        "noise",
    ),
    "integer latents": ({"latents": np.zeros((1, 1, 16, 16), np.int32), "shape": []}, "INVALID_ARGUMENT", ""),
    "scheduler not JSON": ({"scheduler_json": "{"}, "INVALID_ARGUMENT", "scheduler_json"),
    "scheduler deep": ({"scheduler_json": "[" * 100_000}, "INVALID_ARGUMENT", "scheduler_json"),
    "scheduler not an object": ({"scheduler_json": "[]"}, "INVALID_ARGUMENT", "scheduler_json"),
    "scheduler unknown": ({"scheduler_json": '{"_class_name": "Nobody"}'}, "UNIMPLEMENTED", "Nobody"),
    "scheduler key": ({"scheduler_json": '{"beta_start": "x"}'}, "INVALID_ARGUMENT", "beta_start"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(api, name):
    changes, expected, words = ERRORS[name]
    same = api.result(**seeded(4))
    code, message = refusal(api.denoise, **seeded(4, **changes))
    assert code == grpc.StatusCode[expected], message
    assert words in message
    assert api.result(**seeded(4)).tobytes() == same.tobytes()


@pytest.mark.parametrize("change", [{"raw": b"123"}, {"datatype": "FP31"}, {"shape": [2**62, 4]}])
def test_broken_tensors_are_named(api, change):
    request = api.denoise_request(**seeded(4))
    (condition,) = request.conditions
    for field, value in change.items():
        condition.ClearField(field)
        condition.MergeFrom(api.message("Tensor")(**{field: value}))
    code, message = refusal(api.call("Denoiser", "Denoise"), request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "conditions 'encoder_hidden_states'" in message


def test_a_unet_that_is_shown_a_picture_misses_it(api):
    call = Call(calls_of("x4_upscaler")[""])
    given = {name: array for name, array in call.inputs.items() if name not in ("sample", "timestep")}
    fields = {"conditions": given, "scheduler_json": DDIM, "latents": call.inputs["sample"]}
    code, message = refusal(api.denoise, model="x4_upscaler", **fields)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "'sample'" in message and "concat_latents" in message
    fields["latents"] = call.inputs["sample"][:, :4]
    code, message = refusal(api.denoise, model="x4_upscaler", **fields)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "concat_latents: expected floats [" in message and "takes 3 channels beside" in message
