"""What a stranger may send: each gets the right code with the field named, and costs nobody else."""

import socket

import grpc
import ml_dtypes
import numpy as np
import pytest
from goldens import Call, calls_of
from tritonclient.grpc import service_pb2
from unetd_process import PATIENCE
from wire import infer, infer_request, out_sample, refusal

INFER = "/inference.GRPCInferenceService/ModelInfer"
INT64_MAX = 2**63 - 1


@pytest.fixture(scope="session")
def right_bits(shared, digit):
    bits = out_sample(shared.stub().ModelInfer(infer_request("digits", digit.inputs))).tobytes()
    shared.close_clients()
    return bits


@pytest.fixture(autouse=True)
def still_right(server, digit, right_bits):
    """Whatever came before: a good request gets the same bits as ever."""
    yield
    answer = server.stub().ModelInfer(infer_request("digits", digit.inputs), timeout=PATIENCE)
    assert out_sample(answer).tobytes() == right_bits


def expect(stub, request, code, *words):
    got, message = refusal(stub.ModelInfer, request, timeout=PATIENCE)
    assert got == grpc.StatusCode[code], message
    for word in words:
        assert word in message
    assert message.isprintable() and len(message) < 1000


@pytest.fixture
def request_(digit):
    return infer_request("digits", digit.inputs)


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


@pytest.mark.parametrize("number", [1, 2, 3])
def test_invalid_utf8(server, number):
    """In model_name, model_version and id: protobuf itself refuses the message."""
    call = server.channel().unary_unary(INFER)
    code, message = refusal(call, bytes([number << 3 | 2, 2]) + b"\xff\xfe")
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "inference.ModelInferRequest" in message


NO_MESSAGES = {
    "ones": b"\xff" * 100,
    "length beyond the end": b"\x0a\xff\xff\xff\xff\x0f",
    "cut short": b"\x2a\x05abc",
    "all bytes": bytes(range(256)),
    "gzip's first bytes": b"\x1f\x8b\x08",
    "gzip, then noise": b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\xff" * 64,
    "zlib's first byte": b"\x78",
}


@pytest.mark.parametrize("name", NO_MESSAGES)
@pytest.mark.parametrize("method", [INFER, "/unetd.v1.Denoiser/Denoise"])
def test_not_a_message(server, name, method):
    channel = server.channel()
    call = channel.unary_unary(method) if method == INFER else channel.unary_stream(method)
    code, message = refusal(call, NO_MESSAGES[name])
    assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND), message


def test_unknown_method(server):
    for method in ("/inference.GRPCInferenceService/Nothing", "/nobody.Nobody/Nothing", "/"):
        code, _ = refusal(server.channel().unary_unary(method), b"")
        assert code == grpc.StatusCode.UNIMPLEMENTED


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


# The wire below.


def test_strange_metadata(stub, request_):
    for metadata in ([("x-note", "a" * 4000)], [("x-note-bin", b"\xff\0\xfe")], [("triton_grpc_error", "maybe")]):
        assert stub.ModelInfer(request_, metadata=metadata, timeout=PATIENCE).outputs


def test_metadata_of_64_kib(stub, request_):
    code, _ = refusal(stub.ModelInfer, request_, metadata=[("x-note", "a" * 65536)], timeout=PATIENCE)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def http2_frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def raw_http2(server, *headers, data=b""):
    """One request in HTTP/2 frames of one's own; returns all that comes back."""
    base = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", INFER.encode()), (b":authority", b"x")]
    base += [(b"te", b"trailers"), (b"content-type", b"application/grpc")]
    block = b"".join(literal(*pair) for pair in [*base, *headers])
    host, port = server.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(4, 0, 0, b""))
        connection.sendall(http2_frame(1, 4, 1, block) + http2_frame(0, 1, 1, data))
        connection.settimeout(1)
        got = b""
        try:
            while piece := connection.recv(65536):
                got += piece
        except OSError:
            pass
    return got


def test_broken_base64_and_non_ascii_metadata(server):
    for header in ((b"x-note-bin", b"?!not base64"), (b"x-note", b"\xff\xfe\x01"), (b"grpc-timeout", b"-1S")):
        assert raw_http2(server, header, data=b"\0\0\0\0\0")


@pytest.mark.parametrize("encoding", [b"gzip", b"snappy", b"\xff"])
def test_wrong_encoding(server, encoding):
    """The message says it is compressed, and is not."""
    assert raw_http2(server, (b"grpc-encoding", encoding), data=b"\1\0\0\0\4abcd")


@pytest.mark.parametrize("data", [b"\0\xff\xff\xff\xff", b"\0\0\0\0\x10abc", b"\2\0\0\0\0", b"\0"])
def test_broken_frames(server, data):
    raw_http2(server, data=data)


def test_slow_request_line(server, client, digit):
    """Connections that say nothing, or half a word, hold nobody up."""
    host, port = server.address.rsplit(":", 1)
    idle = [socket.create_connection((host, int(port))) for _ in range(50)]
    for connection in idle:
        connection.sendall(b"PRI * HT")
    try:
        assert infer(client, "digits", digit.inputs).shape == digit.output.shape
    finally:
        for connection in idle:
            connection.close()
