"""Sizes of messages: the limit to the byte, compressed or not, and uploads that break off."""

import subprocess
import sys
import time

import grpc
import pytest
from unetd_process import SANITIZED, Unetd
from wire import infer, infer_request, refusal

CODE = grpc.StatusCode
MIB = 1 << 20


def padded(digit, size):
    """A good request of exactly this size: its id is as long as it must be."""
    request = infer_request("digits", digit.inputs, id="x" * (size // 2))
    request.id += "x" * (size - request.ByteSize())
    assert request.ByteSize() == size
    return request


@pytest.fixture(scope="module")
def one_mib(tmp_path_factory):
    server = Unetd(tmp_path_factory.mktemp("one_mib"), server={"limits": {"message_mib": 1}})
    yield server
    assert server.stop() == 0, server.log()


@pytest.mark.parametrize("compression", grpc.Compression, ids=lambda compression: compression.name)
def test_message_at_the_limit(one_mib, digit, compression):
    stub = one_mib.stub()
    for size in (MIB - 1, MIB):
        assert stub.ModelInfer(padded(digit, size), compression=compression).outputs
    code, message = refusal(stub.ModelInfer, padded(digit, MIB + 1), compression=compression)
    assert code == CODE.RESOURCE_EXHAUSTED
    assert "larger than max" in message


def field(number, size):
    """A field of zeros in protobuf's bytes: a thousand times smaller when compressed."""
    length, left = b"", size
    while left:
        length += bytes([left & 127 | (128 if left > 127 else 0)])
        left >>= 7
    return bytes([number << 3 | 2]) + length + bytes(size)


# Where a large field of bytes is legal.
BOMBS = {
    "/inference.GRPCInferenceService/ModelInfer": field(7, 96 << 20),
    "/inference.GRPCInferenceService/ModelReady": field(1, 96 << 20),
    "/unetd.v1.Denoiser/Denoise": field(4, 96 << 20),
    "/unetd.v1.Admin/DescribeModel": field(1, 96 << 20),
    "/grpc.health.v1.Health/Check": field(1, 96 << 20),
}


@pytest.mark.parametrize("method", BOMBS)
def test_gzip_bombs(one_mib, digit, method):
    """Refused after a megabyte, not inflated whole."""
    before = one_mib.peak_mib()
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        channel = one_mib.channel()
        call = channel.unary_stream(method) if "Denoise" in method else channel.unary_unary(method)
        code, message = refusal(call, BOMBS[method], compression=compression)
        if "Health" not in method:  # gRPC's own service reads no compressed message at all
            assert code == CODE.RESOURCE_EXHAUSTED
            assert "larger than max" in message
    assert one_mib.peak_mib() - before < (192 if SANITIZED else 48)
    assert one_mib.stub().ModelInfer(infer_request("digits", digit.inputs)).outputs


def test_gzip_bomb_in_a_stream(one_mib, digit):
    before = one_mib.peak_mib()
    call = one_mib.channel().stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    good = infer_request("digits", digit.inputs).SerializeToString()
    bombs = [BOMBS["/inference.GRPCInferenceService/ModelInfer"], good]
    first, second = call(iter(bombs), compression=grpc.Compression.Gzip)
    assert b"larger than max" in first
    assert b"out_sample" in second
    assert one_mib.peak_mib() - before < (192 if SANITIZED else 48)


def test_the_default_limit(server):
    """256 MiB: one byte more is refused, and was never kept."""
    call = server.channel().unary_unary("/inference.GRPCInferenceService/ModelInfer")
    code, message = refusal(call, bytes((256 << 20) + 1))
    assert code == CODE.RESOURCE_EXHAUSTED
    assert "268435456" in message


UPLOAD = """
import sys, grpc
options = [("grpc.max_send_message_length", -1)]
channel = grpc.insecure_channel(sys.argv[1], options=options)
call = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
def messages():
    while True:
        yield bytes(64 << 20)
        print("sent", flush=True)
for answer in call(messages()):
    pass
"""


def test_kill_9_of_clients_in_the_middle_of_an_upload(server, digit):
    same = infer(server.triton(), "digits", digit.inputs)
    before = server.resident_mib()
    clients = [
        subprocess.Popen([sys.executable, "-c", UPLOAD, server.address], stdout=subprocess.PIPE) for _ in range(2)
    ]
    for process in clients:
        assert process.stdout.readline() == b"sent\n"
        time.sleep(0.05)
        process.kill()
        process.wait()
        process.stdout.close()
    server.wait_idle()
    assert infer(server.triton(), "digits", digit.inputs).tobytes() == same.tobytes()
    assert server.resident_mib() - before < 640  # the allocator may keep some, not all of it
