"""Bad names, shapes and parameters: the right code, the field named, and nobody else harmed."""

import numpy as np
import pytest
from goldens import Call, calls_of
from tritonclient.grpc import service_pb2
from wire import expect, infer, infer_request

pytestmark = pytest.mark.usefixtures("still_right")

INT64_MAX = 2**63 - 1

# Names.


def test_empty_request(stub):
    expect(stub, service_pb2.ModelInferRequest(), "NOT_FOUND", "Request for unknown model: ''")


NAMES = {
    "nobody": "'nobody'",
    "digits\0": "digits\\x00",
    "../digits": "'../digits'",
    "x" * 65536: "'" + "x" * 64 + "'...",
    "\x1b[31m\n": "\\x1b[31m\\n",
    "модель": "'модель'",
}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:12])
def test_unknown_model(stub, request_, name):
    request_.model_name = name
    expect(stub, request_, "NOT_FOUND", "Request for unknown model", NAMES[name])


VERSIONS = {
    "3abc": "INVALID_ARGUMENT", "-1": "INVALID_ARGUMENT", "0": "INVALID_ARGUMENT", "+1": "INVALID_ARGUMENT",
    "1.0": "INVALID_ARGUMENT", "2": "NOT_FOUND", "99999999999999999999": "NOT_FOUND",
}  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_version(stub, request_, version):
    request_.model_version = version
    expect(stub, request_, VERSIONS[version], "version")


# Which inputs and outputs.


@pytest.mark.parametrize("name", ["sample", "timestep", "encoder_hidden_states"])
def test_missing_input(stub, digit, name):
    arrays = {key: array for key, array in digit.inputs.items() if key != name}
    expect(
        stub, infer_request("digits", arrays), "INVALID_ARGUMENT",
        "expected 3 inputs but got 2", f"missing required input(s) ['{name}']",
    )  # fmt: skip


EXTRA = ["hint", "class_labels", "timestep_cond", "text_embeds", "", "x" * 70000, "sample\0", "gligen.boxes"]


@pytest.mark.parametrize("name", EXTRA, ids=lambda name: ascii(name)[:12])
def test_extra_input(stub, digit, name):
    request = infer_request("digits", {**digit.inputs, name: np.zeros((2, 1), np.float32)})
    expect(stub, request, "INVALID_ARGUMENT", "unexpected inference input", "digits")


def test_duplicate_input(stub, digit, request_):
    request_.inputs.add().CopyFrom(request_.inputs[0])
    request_.raw_input_contents.append(request_.raw_input_contents[0])
    expect(stub, request_, "INVALID_ARGUMENT", f"'{request_.inputs[0].name}'", "more than once")


def test_too_many_inputs(stub, request_):
    for number in range(5000):
        request_.inputs.add(name=f"i{number}", datatype="FP32", shape=[1])
    expect(stub, request_, "INVALID_ARGUMENT", "inputs")


def test_outputs(stub, request_):
    request_.outputs.add(name="out_sample")
    request_.outputs.add(name="out_sample")
    expect(stub, request_, "INVALID_ARGUMENT", "'out_sample'", "more than once")
    del request_.outputs[:]
    request_.outputs.add(name="latents")
    expect(stub, request_, "INVALID_ARGUMENT", "'latents'", "'out_sample'")


def test_mid_residual_alone(stub):
    arrays = dict(Call(calls_of("residuals")["controlnet"]).inputs)
    downs = {name for name in arrays if name.startswith("down_block")}
    request = infer_request("residuals", {name: array for name, array in arrays.items() if name not in downs})
    expect(stub, request, "INVALID_ARGUMENT", "'mid_block_additional_residual'", "down_block_additional_residuals")
    del arrays["down_block_additional_residuals.2"]
    expect(stub, infer_request("residuals", arrays), "INVALID_ARGUMENT", "down_block_additional_residuals.2")


# Shapes.

SHAPES = {
    "zero rows": ("sample", [0, 1, 16, 16]),
    "zero height": ("sample", [2, 1, 0, 16]),
    "negative": ("sample", [2, 1, -1, 16]),
    "largest": ("sample", [INT64_MAX, 1, 1, 1]),
    "smallest": ("sample", [-(2**63), 1, 1, 1]),
    "overflow to zero": ("sample", [2**32, 2**32, 1, 1]),
    "overflow to small": ("sample", [2**62 + 1, 4, 1, 1]),
    "overflow of bytes": ("sample", [2**62, 1, 1, 1]),
    "overflow beside zero": ("sample", [2**62, 2**62, 0, 2**62]),
    "rank 0": ("sample", []),
    "rank 3": ("sample", [2, 16, 16]),
    "rank 5": ("sample", [1, 2, 1, 16, 16]),
    "rank 4096": ("sample", [1] * 4096),
    "channels": ("sample", [1, 2, 16, 16]),
    "huge image": ("sample", [1, 1, 16384, 16384]),
    "rank of timestep": ("timestep", [2, 1]),
    "rank of states": ("encoder_hidden_states", [8, 64]),
    "context dim": ("encoder_hidden_states", [2, 2, 128]),
    "rows of states": ("encoder_hidden_states", [1, 8, 64]),
    "no tokens": ("encoder_hidden_states", [2, 0, 64]),
    "a million tokens": ("encoder_hidden_states", [2, 1_000_000, 64]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shape(stub, request_, name):
    tensor, shape = SHAPES[name]
    for number, sent in enumerate(request_.inputs):
        if sent.name == tensor:
            sent.shape[:] = shape
            elements = int(np.prod(shape, dtype=object)) if shape else 1
            if 0 <= elements < 10_000:  # else no message could hold it
                size = 8 if tensor == "timestep" else 4
                request_.raw_input_contents[number] = bytes(elements * size)
    expect(stub, request_, "INVALID_ARGUMENT", f"'{tensor}'")


def test_a_claimed_size_costs_nothing(server, stub, request_):
    before = server.peak_mib()
    for sent in request_.inputs:
        if sent.name == "sample":
            sent.shape[:] = [8, 1, 1 << 20, 1 << 20]
    for _ in range(20):
        expect(stub, request_, "INVALID_ARGUMENT", "input byte size mismatch for input 'sample'")
    assert server.peak_mib() - before < 64


@pytest.mark.parametrize("count", [3, 9])
def test_rows_do_not_match(stub, digit, count):
    arrays = {**digit.inputs, "sample": np.zeros((count, 1, 16, 16), np.float32)}
    expect(stub, infer_request("digits", arrays), "INVALID_ARGUMENT", f"{count}")
    arrays = {**digit.inputs, "timestep": np.arange(count)}
    expect(stub, infer_request("digits", arrays), "INVALID_ARGUMENT", "'timestep'")


def test_too_many_rows(stub):
    arrays = {
        "sample": np.zeros((9, 1, 16, 16), np.float32),
        "timestep": np.array([1]),
        "encoder_hidden_states": np.zeros((9, 4, 64), np.float32),
    }
    expect(stub, infer_request("digits", arrays), "INVALID_ARGUMENT", "batch-size must be <= 8")


def test_mask_of_another_length(stub):
    arrays = dict(Call(calls_of("masks")["both"]).inputs)
    for name in ("attention_mask", "encoder_attention_mask"):
        longer = {**arrays, name: np.repeat(arrays[name], 2, axis=1)}
        expect(stub, infer_request("masks", longer), "INVALID_ARGUMENT", f"'{name}'")


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (15, 17), (3, 40)])
def test_odd_images_are_served(client, size):
    arrays = {
        "sample": np.ones((1, 1, *size), np.float32),
        "timestep": np.array([1]),
        "encoder_hidden_states": np.zeros((1, 4, 64), np.float32),
    }
    assert np.isfinite(infer(client, "digits", arrays)).all()


# Parameters.

WRONG_PARAMETERS = {
    "variant": {"bool_param": True},
    "timeout": {"string_param": "soon"},
    "priority": {"double_param": 1},
    "sequence_id": {"bool_param": True},
    "sequence_start": {"int64_param": 1},
    "sequence_end": {"string_param": "true"},
}


@pytest.mark.parametrize("name", WRONG_PARAMETERS)
@pytest.mark.parametrize("unset", [False, True])
def test_parameter_of_the_wrong_type(stub, request_, name, unset):
    choice = {} if unset else WRONG_PARAMETERS[name]
    request_.parameters[name].CopyFrom(service_pb2.InferParameter(**choice))
    expect(stub, request_, "INVALID_ARGUMENT", f"'{name}'", "expected")


@pytest.mark.parametrize("name", ["nobody", "triton_x", "shared_memory_region", "", "x" * 70000, "\0"])
def test_unknown_parameter(stub, request_, name):
    request_.parameters[name].string_param = "x"
    expect(stub, request_, "INVALID_ARGUMENT", "unknown request parameter")


def test_negative_timeout(stub, request_):
    request_.parameters["timeout"].int64_param = -1
    expect(stub, request_, "INVALID_ARGUMENT", "'timeout'")


def test_ten_thousand_parameters(stub, request_):
    for number in range(10_000):
        request_.parameters[f"p{number}"].int64_param = number
    expect(stub, request_, "INVALID_ARGUMENT", "64", "10000")


def test_shared_memory(stub, request_):
    request_.inputs[0].parameters["shared_memory_region"].string_param = "region"
    request_.inputs[0].parameters["shared_memory_byte_size"].int64_param = 64
    del request_.raw_input_contents[0]
    expect(stub, request_, "UNIMPLEMENTED", "shared memory", f"'{request_.inputs[0].name}'")


def test_output_in_shared_memory(stub, request_):
    request_.outputs.add(name="out_sample").parameters["shared_memory_region"].string_param = "region"
    expect(stub, request_, "UNIMPLEMENTED", "shared memory", "'out_sample'")


def test_classification(stub, request_):
    request_.outputs.add(name="out_sample").parameters["classification"].int64_param = 3
    expect(stub, request_, "INVALID_ARGUMENT", "'classification'")
