"""What is no message of the protocol at all: broken protobuf, HTTP/2, metadata and encodings."""

import socket

import grpc
import pytest
from unetd_process import PATIENCE
from wire import infer, refusal

pytestmark = pytest.mark.usefixtures("still_right")

INFER = "/inference.GRPCInferenceService/ModelInfer"


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
