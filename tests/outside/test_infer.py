"""Inference by tritonclient: equal to diffusers, in every datatype and form of contents."""

import queue

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton
from goldens import GOLDEN, Call, assert_equal_to_diffusers, calls_of
from unetd_process import DIGITS, PATIENCE, wait_for
from wire import DATATYPES, infer, infer_request, out_sample, triton_inputs

GOLDENS = [
    pytest.param(model.name, path, id=f"{model.name}.{call}".rstrip("."))
    for model in sorted((GOLDEN / "unet").iterdir())
    for call, path in calls_of(model.name).items()
]


@pytest.mark.parametrize("model,path", GOLDENS)
def test_equal_to_diffusers(client, model, path):
    call = Call(path)
    assert_equal_to_diffusers(infer(client, model, call.inputs), call.output)


def test_digits_equal_to_diffusers(client, digit):
    assert_equal_to_diffusers(infer(client, "digits", digit.inputs), digit.output)


def test_answer(client, digit):
    result = client.infer("digits", triton_inputs(digit.inputs), request_id="request-7", model_version="1")
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == ("digits", "1", "request-7")
    assert response.parameters["variant"].string_param == "default"
    assert len(response.outputs) == len(response.raw_output_contents) == 1
    assert not response.outputs[0].HasField("contents")
    assert list(response.outputs[0].shape) == list(digit.output.shape)
    assert len(response.raw_output_contents[0]) == 4 * digit.output.size


def test_asked_output(client, digit):
    outputs = [triton.InferRequestedOutput("out_sample")]
    same = infer(client, "digits", digit.inputs)
    assert infer(client, "digits", digit.inputs, outputs=outputs).tobytes() == same.tobytes()


def test_arguments_of_tritonclient_are_taken(client, digit):
    same = infer(client, "digits", digit.inputs)
    options = {"priority": 3, "timeout": 60_000_000, "client_timeout": PATIENCE}
    sequence = {"sequence_id": 7, "sequence_start": True, "sequence_end": True}
    assert infer(client, "digits", digit.inputs, **options, **sequence).tobytes() == same.tobytes()
    sequence["sequence_id"] = "seven"
    assert infer(client, "digits", digit.inputs, **sequence).tobytes() == same.tobytes()


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_requests(client, digit, compression):
    same = infer(client, "digits", digit.inputs)
    got = infer(client, "digits", digit.inputs, compression_algorithm=compression)
    assert got.tobytes() == same.tobytes()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_inputs(client, digit, dtype):
    rounded = {
        name: array.astype(dtype) if array.dtype == np.float32 else array for name, array in digit.inputs.items()
    }
    got = infer(client, "digits", rounded)
    assert got.dtype == dtype  # the sample's
    # Cast once at entry and once at the exit: the same bits as the rounded numbers in fp32.
    widened = {name: array.astype(np.float32) if array.dtype == dtype else array for name, array in rounded.items()}
    assert got.tobytes() == infer(client, "digits", widened).astype(dtype).tobytes()


def test_mixed_float_inputs(client, digit):
    states = digit.inputs["encoder_hidden_states"].astype(np.float16)
    got = infer(client, "digits", {**digit.inputs, "encoder_hidden_states": states})
    assert got.dtype == np.float32
    wide = infer(client, "digits", {**digit.inputs, "encoder_hidden_states": states.astype(np.float32)})
    assert got.tobytes() == wide.tobytes()


TIMESTEP_TYPES = [
    dtype for dtype, name in DATATYPES.items() if name not in ("BOOL", "INT8", "UINT8")
]  # 999 fits in these


@pytest.mark.parametrize("dtype", TIMESTEP_TYPES, ids=str)
def test_timestep_of_any_type(client, digit, dtype):
    timestep = np.array([100, 64]).astype(dtype)  # bfloat16 has both
    got = infer(client, "digits", {**digit.inputs, "timestep": timestep})
    same = infer(client, "digits", {**digit.inputs, "timestep": np.array([100, 64], np.int64)})
    assert got.tobytes() == same.tobytes()


def test_one_timestep_for_all_rows(client, digit):
    one = infer(client, "digits", {**digit.inputs, "timestep": np.array([100])})
    two = infer(client, "digits", {**digit.inputs, "timestep": np.array([100, 100])})
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("dtype", DATATYPES, ids=str)
def test_mask_of_any_type(client, dtype):
    inputs = dict(Call(calls_of("masks")["both"]).inputs)
    inputs["attention_mask"] = inputs["attention_mask"].astype(dtype)
    inputs["encoder_attention_mask"] = inputs["encoder_attention_mask"].astype(dtype)
    assert_equal_to_diffusers(infer(client, "masks", inputs), Call(calls_of("masks")["both"]).output)


def test_labels_of_any_type(client):
    call = Call(calls_of("class_labels")["rows"])
    same = infer(client, "class_labels", call.inputs)
    for dtype in (np.int32, np.uint8, np.float32):
        labels = call.inputs["class_labels"].astype(dtype)
        got = infer(client, "class_labels", {**call.inputs, "class_labels": labels})
        assert got.tobytes() == same.tobytes()


CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


@pytest.mark.parametrize("datatype", CONTENTS)
def test_typed_contents(stub, datatype):
    """The mask in every type that has a field, beside typed floats and integers."""
    inputs = dict(Call(calls_of("masks")["both"]).inputs)
    dtype = next(dtype for dtype, name in DATATYPES.items() if name == datatype)
    inputs["attention_mask"] = inputs["attention_mask"].astype(dtype)
    raw = infer_request("masks", inputs)
    typed = infer_request("masks", inputs)
    del typed.raw_input_contents[:]
    for tensor in typed.inputs:
        field = getattr(tensor.contents, CONTENTS[tensor.datatype])
        field.extend(inputs[tensor.name].ravel().tolist())
    answer = stub.ModelInfer(typed)
    assert answer.raw_output_contents  # answers are raw, always
    assert out_sample(answer).tobytes() == out_sample(stub.ModelInfer(raw)).tobytes()


class Answers:
    """A callback of async_infer: collects (result, error)."""

    def __init__(self):
        self.queue = queue.Queue()

    def __call__(self, result, error):
        self.queue.put((result, error))

    def next(self):
        return self.queue.get(timeout=PATIENCE)


def test_async_infer(client, digit):
    same = infer(client, "digits", digit.inputs)
    answers = Answers()
    for number in range(8):
        client.async_infer("digits", triton_inputs(digit.inputs), answers, request_id=str(number))
    ids = set()
    for _ in range(8):
        result, error = answers.next()
        assert error is None
        ids.add(result.get_response().id)
        assert result.as_numpy("out_sample").tobytes() == same.tobytes()
    assert ids == set("01234567")


def test_async_infer_tells_errors(client, digit):
    answers = Answers()
    client.async_infer("nobody", triton_inputs(digit.inputs), answers)
    result, error = answers.next()
    assert result is None
    assert error.status() == "StatusCode.NOT_FOUND"
    assert "'nobody' is not found" in error.message()


def test_async_infer_cancelled(client, server, digit):
    canceled = server.metric("nv_inference_request_failure", model="digits", reason="CANCELED")
    large = {**digit.inputs, "sample": np.zeros((2, 1, 160, 160), np.float32)}
    answers = Answers()
    call = client.async_infer("digits", triton_inputs(large), answers)
    wait_for(lambda: server.busy().get("running"), "running")
    call.cancel()
    result, error = answers.next()
    assert result is None
    assert error.status() == "StatusCode.CANCELLED"
    server.wait_idle()
    # Stopped on the server too, not only forgotten by the client.
    assert server.metric("nv_inference_request_failure", model="digits", reason="CANCELED") == canceled + 1


@pytest.mark.parametrize("dtype,tolerance", [("float16", 2e-2), ("bfloat16", 1e-1)])
def test_half_precision_models(start, digit, dtype, tolerance):
    client = start([{**DIGITS, "dtype": dtype}]).triton()
    got = infer(client, "digits", digit.inputs)
    assert got.dtype == np.float32
    assert_equal_to_diffusers(got, digit.output, tolerance)
    assert np.abs(got - digit.output).max() > 0  # it is not fp32 in disguise
