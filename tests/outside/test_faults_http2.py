"""Clients that speak gRPC badly on purpose: frames of one's own, floods, broken and stalled uploads."""

import gzip
import socket
import threading
import zlib

import grpc
import pytest
from http2 import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INFER,
    NO_WINDOW,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Connection,
    frame,
    literal,
    message,
    status_of,
)
from tritonclient.grpc import service_pb2
from unetd_process import SANITIZED, wait_for
from wire import digits_inputs, infer_request, refusal

pytestmark = pytest.mark.usefixtures("still_right")

OK, INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED = 0, 3, 5, 8, 12
HEALTH = "/grpc.health.v1.Health/Check"
READY = "/inference.GRPCInferenceService/ServerReady"
CONTROL = {
    READY: b"",
    "/inference.GRPCInferenceService/ServerMetadata": b"",
    "/inference.GRPCInferenceService/ModelReady": service_pb2.ModelReadyRequest(name="digits").SerializeToString(),
    "/inference.GRPCInferenceService/ModelConfig": service_pb2.ModelConfigRequest(name="digits").SerializeToString(),
    "/unetd.v1.Admin/ListModels": b"",
    "/unetd.v1.Admin/DescribeModel": b"\x0a\x06digits",
}
ALL = [*CONTROL, INFER, "/unetd.v1.Denoiser/Denoise", HEALTH]
MEMORY = 512 if SANITIZED else 192  # MiB that any of these may cost for a while

# Messages.


@pytest.mark.parametrize("encoding,compress", [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
@pytest.mark.parametrize("path", CONTROL)
def test_compressed_control_calls(server, path, encoding, compress):
    """Some libraries compress whatever they send, an empty message too."""
    data = message(compress(CONTROL[path]), compressed=True)
    assert status_of(server, path, (b"grpc-encoding", encoding), data=data) == OK


def test_a_channel_that_compresses_everything(server):
    """grpcio does so for whatever gets shorter by it."""
    channel = server.channel()
    for method in ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"):
        call = channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            request_serializer=lambda request: request.SerializeToString(),
        )
        request = getattr(service_pb2, f"{method}Request")(name="digits" * 100)
        code, message = refusal(call, request, compression=grpc.Compression.Gzip)
        assert code == grpc.StatusCode.NOT_FOUND
        assert message.startswith("Request for unknown model: 'digitsdigits")


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\0\x05ab"], ids=["none", "half a head", "half a message"])
@pytest.mark.parametrize("path", ALL)
def test_no_whole_message(server, path, data):
    """The client closes its half too soon: its mistake, not an internal error."""
    assert status_of(server, path, data=data) == INVALID_ARGUMENT


@pytest.mark.parametrize("path", ["/inference.GRPCInferenceService/ModelReady", "/unetd.v1.Admin/DescribeModel", INFER])
@pytest.mark.parametrize("payload", [b"\xff" * 10, b"\x0a\x02\xff\xfe"], ids=["ones", "invalid UTF-8"])
def test_not_a_message(server, path, payload):
    assert status_of(server, path, data=message(payload)) == INVALID_ARGUMENT


def test_two_messages_for_one_answer(server):
    assert status_of(server, READY, data=message(b"") * 2) == OK


def test_messages_far_over_the_limit(start, digit):
    """gRPC refuses a message when it has the whole of it: the quota ends the call before that."""
    server = start(server={"limits": {"message_mib": 1}})
    call = server.channel().unary_unary(INFER)
    for _ in range(2):
        code, _ = refusal(call, bytes(900 << 20))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert server.peak_mib() < 700
    assert server.stub().ModelInfer(infer_request("digits", digit.inputs)).outputs


@pytest.mark.parametrize("size", [200 << 20, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_claimed_size_costs_nothing(server, size):
    before = server.peak_mib()
    with Connection(server) as connection:
        for number in range(500):
            connection.call(stream=2 * number + 1, data=message(b"x", size=size), flags=0)
        assert status_of(server, READY, data=message(b"")) == OK
        assert server.peak_mib() - before < MEMORY


# Headers.


HEADERS_OF_STRANGERS = {
    "64 KiB": [(b"x-note", b"a" * 65536)],
    "a thousand": [(b"x-%d" % number, b"a" * 60) for number in range(1000)],
    "64 KiB of base64": [(b"x-note-bin", b"AAAA" * 16384)],
    "broken base64": [(b"x-note-bin", b"?!not base64")],
    "not ASCII": [(b"x-note", b"\xff\xfe\x01")],
    "negative timeout": [(b"grpc-timeout", b"-1S")],
    "long timeout": [(b"grpc-timeout", b"9" * 30 + b"H")],
}


@pytest.mark.parametrize("name", HEADERS_OF_STRANGERS)
def test_strange_headers(server, name):
    """Whether they are taken or refused: the call ends, and its neighbour does not notice."""
    block = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", READY.encode()), (b":authority", b"x")]
    block += [(b"te", b"trailers"), (b"content-type", b"application/grpc"), *HEADERS_OF_STRANGERS[name]]
    encoded = b"".join(literal(*pair) for pair in block)
    with Connection(server) as connection:
        connection.send(frame(HEADERS, 0, 1, encoded[:16000]))
        for at in range(16000, len(encoded), 16000):
            connection.send(frame(CONTINUATION, 0, 1, encoded[at : at + 16000]))
        connection.send(frame(CONTINUATION, END_HEADERS, 1) + frame(DATA, END_STREAM, 1, message(b"")))
        connection.status()
    assert status_of(server, READY, data=message(b"")) == OK


@pytest.mark.parametrize("encoding", [b"snappy", b"\xff", b"gzip, gzip", b"a" * 1000])
def test_unknown_encodings(server, encoding):
    data = message(b"abcd", compressed=True)
    assert status_of(server, READY, (b"grpc-encoding", encoding), data=data) in (INVALID_ARGUMENT, UNIMPLEMENTED, 13)


# Floods.


FLOODS = {
    "pings": frame(PING, 0, 0, b"12345678"),
    "settings": frame(SETTINGS, 0, 0, b"\0\3\0\0\0\5" * 100),
    "unknown frames": frame(77, 255, 0, b"x" * 1000),
    "windows": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood(server, name):
    before = server.peak_mib()
    with Connection(server) as connection:
        for _ in range(200):
            if not connection.send(FLOODS[name] * 100):  # the server may hang up
                break
        assert status_of(server, READY, data=message(b"")) == OK
    assert server.peak_mib() - before < MEMORY


def test_headers_without_end(server):
    with Connection(server) as connection:
        connection.send(frame(HEADERS, 0, 1, literal(b":path", b"/")))
        for number in range(5000):
            if not connection.send(frame(CONTINUATION, 0, 1, literal(b"x-%05d" % number, b"y" * 100))):
                break
        assert status_of(server, READY, data=message(b"")) == OK


def test_rapid_reset(server):
    """Calls that are taken back as fast as they come."""
    before = server.resident_mib()
    for _ in range(4):
        with Connection(server) as connection:
            for number in range(3000):
                stream = 2 * number + 1
                if not connection.call(stream=stream) or not connection.send(frame(RST_STREAM, 0, stream, CANCEL)):
                    break
    server.wait_idle()
    assert server.resident_mib() - before < 2 * MEMORY


# Uploads that stop, readers that do not read.


def test_uploads_that_break_off(server):
    good = message(infer_request("digits", digits_inputs(64, 8)).SerializeToString())

    def break_off():
        for _ in range(10):
            with Connection(server) as connection:
                for number in range(100):
                    connection.call(stream=2 * number + 1, data=good[:600], flags=0)
        server.wait_idle()

    break_off()
    before = server.resident_mib()
    break_off()
    assert server.resident_mib() - before < MEMORY


def test_a_message_that_comes_byte_by_byte(server, digit):
    """It holds nobody up, and is answered when it is there."""
    sent = message(infer_request("digits", digit.inputs).SerializeToString())
    with Connection(server) as slow:
        slow.call()
        for at in range(0, 200):
            slow.send(frame(DATA, 0, 1, sent[at : at + 1]))
        assert status_of(server, INFER, data=sent) == OK
        assert not server.busy()
        slow.send(frame(DATA, END_STREAM, 1, sent[200:]))
        assert slow.status() == OK


def test_reset_in_the_middle_of_an_upload(server, digit):
    sent = message(infer_request("digits", digit.inputs).SerializeToString())
    with Connection(server) as connection:
        for number in range(200):
            stream = 2 * number + 1
            connection.call(stream=stream, data=sent[: number % len(sent)], flags=0)
            connection.send(frame(RST_STREAM, 0, stream, CANCEL))
        assert status_of(server, INFER, data=sent) == OK


def test_answers_that_nobody_takes(server):
    """No window: answers stay unsent, but the requests have ended and their memory is free."""
    sent = message(infer_request("digits", digits_inputs(32, 8)).SerializeToString())
    done = server.metric("nv_inference_request_success", model="digits")
    before = server.resident_mib()
    with Connection(server, settings=NO_WINDOW) as connection:
        for number in range(8):
            connection.call(stream=2 * number + 1)
            connection.body(2 * number + 1, sent)
        wait_for(lambda: server.metric("nv_inference_request_success", model="digits") == done + 8, "eight answers")
        server.wait_idle()
        assert server.resident_mib() - before < MEMORY


# The HTTP port.


@pytest.mark.parametrize("count", [30])
def test_half_requests_hold_no_health_check_up(server, count):
    """Readiness is asked for by machines that soon lose patience."""
    host, port = server.http_address.rsplit(":", 1)
    idle = [socket.create_connection((host, int(port))) for _ in range(count)]
    answered = threading.Event()
    try:
        for connection in idle:
            connection.sendall(b"GET /metr")
        thread = threading.Thread(target=lambda: (server.get("/v2/health/ready"), answered.set()))
        thread.start()
        assert answered.wait(5)
    finally:
        for connection in idle:
            connection.close()
        thread.join()
