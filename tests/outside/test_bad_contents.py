"""Bad contents and odd values of tensors."""

import ml_dtypes
import numpy as np
import pytest
from goldens import Call, calls_of
from tritonclient.grpc import service_pb2
from wire import expect, infer, infer_request

pytestmark = pytest.mark.usefixtures("still_right")

# Contents.


@pytest.mark.parametrize("change", [-1, 1, -4, 4, None])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_raw_size(stub, request_, number, change):
    raw = request_.raw_input_contents[number]
    request_.raw_input_contents[number] = b"" if change is None else raw[:change] if change < 0 else raw + bytes(change)
    name, size = request_.inputs[number].name, len(request_.raw_input_contents[number])
    words = f"input byte size mismatch for input '{name}' for model 'digits'. Expected {len(raw)}, got {size}"
    expect(stub, request_, "INVALID_ARGUMENT", words)


@pytest.mark.parametrize("datatype", ["FP64", "FP16", "BOOL", "INT64", "BYTES", "FP31", "fp32", "", "X" * 70000])
def test_wrong_datatype(stub, request_, datatype):
    number = [sent.name for sent in request_.inputs].index("sample")
    request_.inputs[number].datatype = datatype
    expect(stub, request_, "INVALID_ARGUMENT", "'sample'")


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.float64])
def test_samples_are_floats(stub, digit, dtype):
    """The right size for its datatype, which no sample has."""
    arrays = {**digit.inputs, "sample": digit.inputs["sample"].astype(dtype)}
    expect(stub, infer_request("digits", arrays), "INVALID_ARGUMENT", "'sample'", "FP32")


def test_raw_and_typed(stub, request_):
    request_.inputs[0].contents.fp32_contents.append(1)
    expect(stub, request_, "INVALID_ARGUMENT", f"'{request_.inputs[0].name}'", "both")


@pytest.mark.parametrize("count", [2, 4, 2000])
def test_raw_count(stub, request_, count):
    raw = list(request_.raw_input_contents)
    del request_.raw_input_contents[:]
    request_.raw_input_contents.extend([raw[i % 3] for i in range(count)])
    expect(stub, request_, "INVALID_ARGUMENT", "raw_input_contents", f"got {count}")


def typed(digit, name, datatype, **contents):
    """A request with typed contents, one of them replaced."""
    request = service_pb2.ModelInferRequest(model_name="digits")
    fields = {"timestep": ("INT64", "int64_contents")}
    for key, array in digit.inputs.items():
        known, field = fields.get(key, ("FP32", "fp32_contents"))
        sent = request.inputs.add(name=key, shape=array.shape, datatype=datatype if key == name else known)
        values = contents if key == name else {field: array.ravel().tolist()}
        for field, listed in values.items():
            getattr(sent.contents, field).extend(listed)
    return request


TYPED = {
    "FP16": ("sample", "FP16", {"fp32_contents": [0] * 512}, "raw_input_contents only"),
    "BF16": ("sample", "BF16", {"fp32_contents": [0] * 512}, "raw_input_contents only"),
    "too few": ("sample", "FP32", {"fp32_contents": [0] * 511}, "Expected 2048, got 2044"),
    "too many": ("sample", "FP32", {"fp32_contents": [0] * 513}, "Expected 2048, got 2052"),
    "none": ("sample", "FP32", {}, "Expected 2048, got 0"),
    "other field": ("sample", "FP32", {"fp64_contents": [0] * 512}, "another type"),
    "two fields": ("timestep", "INT64", {"int64_contents": [1, 2], "int_contents": [1, 2]}, "another type"),
    "INT8 300": ("timestep", "INT8", {"int_contents": [1, 300]}, "element 1 is 300"),
    "INT16 low": ("timestep", "INT16", {"int_contents": [-40000, 1]}, "element 0 is -40000"),
    "UINT8 256": ("timestep", "UINT8", {"uint_contents": [256, 1]}, "element 0 is 256"),
    "bytes": ("timestep", "INT64", {"bytes_contents": [b"12345678", b"12345678"]}, "another type"),
}


@pytest.mark.parametrize("name", TYPED)
def test_typed(stub, digit, name):
    tensor, datatype, contents, words = TYPED[name]
    expect(stub, typed(digit, tensor, datatype, **contents), "INVALID_ARGUMENT", f"'{tensor}'", words)


@pytest.mark.parametrize("value", [b"\xff\xff\xff\xff", b"\x10\0\0\0abc", b"\x01\0\0\0abcdef", b""])
def test_bytes_tensor(stub, digit, request_, value):
    request_.inputs.add(name="hint", datatype="BYTES", shape=[1])
    request_.raw_input_contents.append(value)
    expect(stub, request_, "INVALID_ARGUMENT", "'hint'")


# Values.


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_timestep_must_be_finite(stub, digit, value):
    for dtype in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16):
        arrays = {**digit.inputs, "timestep": np.array([1, value]).astype(dtype)}
        expect(stub, infer_request("digits", arrays), "INVALID_ARGUMENT", "timestep[1]")
    expect(stub, infer_request("digits", {**digit.inputs, "timestep": np.array([1e300, 1])}), "INVALID_ARGUMENT")


@pytest.mark.parametrize("timestep", [-1, 10**9, -(2**63), 0.5])
def test_any_finite_timestep(client, digit, timestep):
    arrays = {**digit.inputs, "timestep": np.array([timestep])}
    assert np.isfinite(infer(client, "digits", arrays)).all()  # as in diffusers: no range


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e-40, 3e38])
def test_odd_values_stay_in_their_row(client, digit, value):
    same = infer(client, "digits", digit.inputs)
    sample = digit.inputs["sample"].copy()
    sample[0] = value
    got = infer(client, "digits", {**digit.inputs, "sample": sample})
    assert got[1].tobytes() == same[1].tobytes()
    if value == 1e-40:
        assert np.isfinite(got).all()


@pytest.mark.parametrize("label", [-1, 10, 2**40])
def test_labels_in_range(stub, label):
    arrays = dict(Call(calls_of("class_labels")[""]).inputs)
    arrays["class_labels"] = np.array([0, label])
    expect(stub, infer_request("class_labels", arrays), "INVALID_ARGUMENT", "class_labels[1]", str(label))
    arrays["class_labels"] = np.array([0, 1.5], np.float32)
    expect(stub, infer_request("class_labels", arrays), "INVALID_ARGUMENT", "class_labels[1]")


def test_everything_masked(client):
    """No key left to attend to: the bias is finite, so all weigh the same; no NaN."""
    arrays = dict(Call(calls_of("masks")["both"]).inputs)
    for name in ("attention_mask", "encoder_attention_mask"):
        arrays[name] = np.zeros_like(arrays[name])
    assert np.isfinite(infer(client, "masks", arrays)).all()
