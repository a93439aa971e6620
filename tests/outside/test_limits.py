"""Limits: the queue, deadlines, cancelling and memory."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import time

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tritonclient.grpc import service_pb2
from unetd_process import PATIENCE, ROOT, SANITIZED, Unetd, wait_for
from wire import Api, digits_inputs, infer, infer_request, out_sample, refusal

# One forward of this takes a second or more, whatever machine it is.
SIDE = 96 if SANITIZED else 224
CODE = grpc.StatusCode


def long_loop(server, steps=1000, timeout=None):
    """A denoising of a minute or so that has begun."""
    states = {"encoder_hidden_states": np.zeros((8, 4, 64), np.float32)}
    fields = {"shape": [8, 1, 16, 16], "seeds": range(8), "num_inference_steps": steps}
    call = Api(server.channel()).denoise(model="digits", conditions=states, timeout=timeout, **fields)
    assert next(call).HasField("accepted")
    return call


def failures(server, reason):
    return server.metric("nv_inference_request_failure", model="digits", reason=reason)


@pytest.fixture
def long_forward(server):
    """A forward that keeps the worker for seconds; ends cancelled."""
    call = server.stub().ModelInfer.future(infer_request("digits", digits_inputs(SIDE, 4)))
    wait_for(lambda: server.busy().get("running"), "running")
    yield call
    assert not call.done(), "the forward was too short for this test"
    call.cancel()


# The queue.


def retry_info(error):
    """The RetryInfo of google.rpc.Status in the trailers, in seconds."""
    file = descriptor_pb2.FileDescriptorProto(name="rpc.proto", package="google.rpc", syntax="proto3")
    file.dependency.extend(["google/protobuf/any.proto", "google/protobuf/duration.proto"])
    field = descriptor_pb2.FieldDescriptorProto

    def message(name, *fields):
        made = file.message_type.add(name=name)
        for number, (label, key, kind, type_name) in enumerate(fields, 1):
            made.field.add(name=key, number=number, label=label, type=kind, type_name=type_name)

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    message(
        "Status",
        (one, "code", field.TYPE_INT32, None),
        (one, "message", field.TYPE_STRING, None),
        (many, "details", field.TYPE_MESSAGE, ".google.protobuf.Any"),
    )
    message("RetryInfo", (one, "retry_delay", field.TYPE_MESSAGE, ".google.protobuf.Duration"))
    pool = descriptor_pool.DescriptorPool()
    for name in ("any", "duration"):
        module = __import__(f"google.protobuf.{name}_pb2", fromlist=["DESCRIPTOR"])
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    of = lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"google.rpc.{name}"))
    trailers = dict(error.trailing_metadata())
    status = of("Status").FromString(trailers["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    (detail,) = status.details
    assert detail.type_url == "type.googleapis.com/google.rpc.RetryInfo"
    delay = of("RetryInfo").FromString(detail.value).retry_delay
    return delay.seconds + delay.nanos / 1e9


def test_queue_full(start, digit):
    server = start(server={"limits": {"queue": 2}})
    same = infer(server.triton(), "digits", digit.inputs)
    loops = [long_loop(server) for _ in range(3)]  # one runs and two wait, a step each in turn
    request = infer_request("digits", digit.inputs)
    with pytest.raises(grpc.RpcError) as caught:
        server.stub().ModelInfer(request)
    assert caught.value.code() == CODE.RESOURCE_EXHAUSTED
    assert caught.value.details().startswith("Exceeds maximum queue size")
    assert 0 < retry_info(caught.value) <= 60
    assert failures(server, "REJECTED") == 1
    # A loop is refused the same way, and a place that gets free can be had.
    code, _ = refusal(long_loop, server)
    assert code == CODE.RESOURCE_EXHAUSTED
    loops.pop().cancel()
    wait_for(lambda: server.busy()["running"] == 2, "a free place")
    assert out_sample(server.stub().ModelInfer(request, timeout=PATIENCE)).tobytes() == same.tobytes()
    for call in loops:
        call.cancel()
    server.wait_idle()


def test_queue_timeout_comes_on_time(server, long_forward, digit):
    """The timeout fires while the long forward still runs, not when it ends."""
    missed = failures(server, "DEADLINE")
    request = infer_request("digits", digit.inputs)
    request.parameters["timeout"].int64_param = 50_000
    code, message = refusal(server.stub().ModelInfer, request)
    assert (code, message) == (CODE.DEADLINE_EXCEEDED, "Request timeout expired")
    assert failures(server, "DEADLINE") == missed + 1


def test_no_timeout_for_what_runs_in_time(server, digit):
    request = infer_request("digits", digit.inputs)
    for timeout in (0, 60_000_000, 2**63 - 1):  # 0: none
        request.parameters["timeout"].int64_param = timeout
        assert server.stub().ModelInfer(request).outputs


# Deadlines.


def test_deadline_while_queued(server, long_forward, digit):
    missed = failures(server, "DEADLINE") + failures(server, "CANCELED")
    code, _ = refusal(server.stub().ModelInfer, infer_request("digits", digit.inputs), timeout=0.2)
    assert code == CODE.DEADLINE_EXCEEDED
    wait_for(lambda: failures(server, "DEADLINE") + failures(server, "CANCELED") == missed + 1, "the server to know")
    wait_for(lambda: "pending" not in server.busy(), "its place to be free")


def test_deadline_while_running(server):
    missed = failures(server, "DEADLINE") + failures(server, "CANCELED")
    began = time.monotonic()
    request = infer_request("digits", digits_inputs(SIDE, 8))
    code, _ = refusal(server.stub().ModelInfer, request, timeout=0.5)
    assert code == CODE.DEADLINE_EXCEEDED
    server.wait_idle()
    assert failures(server, "DEADLINE") + failures(server, "CANCELED") == missed + 1
    stopped = time.monotonic() - began
    began = time.monotonic()
    server.stub().ModelInfer(infer_request("digits", digits_inputs(SIDE, 2)))
    assert stopped < 4 * (time.monotonic() - began)  # a quarter of the rows is no quicker than that


@pytest.mark.parametrize("timeout", [0, 1e-6, 0.001])
def test_deadline_that_has_passed(server, digit, timeout):
    for _ in range(5):
        request = infer_request("digits", digits_inputs(64))
        code, _ = refusal(server.stub().ModelInfer, request, timeout=timeout)
        assert code == CODE.DEADLINE_EXCEEDED


def test_deadline_far_away(server, digit):
    request = infer_request("digits", digit.inputs)
    for timeout in (None, 1e6, 1e8):
        assert server.stub().ModelInfer(request, timeout=timeout).outputs


# Cancelling.


def test_cancel_while_queued(server, long_forward, digit):
    canceled = failures(server, "CANCELED")
    queued = [server.stub().ModelInfer.future(infer_request("digits", digit.inputs)) for _ in range(4)]
    wait_for(lambda: server.busy().get("pending") == 4, "four in the queue")
    for call in queued[:3]:
        call.cancel()
    wait_for(lambda: server.busy().get("pending") == 1, "three places to be free")
    assert failures(server, "CANCELED") == canceled + 3
    queued[3].cancel()


def test_cancel_while_running(server, digit):
    """The worker is free at the next operator: what waits behind gets its turn."""
    canceled = failures(server, "CANCELED")
    call = server.stub().ModelInfer.future(infer_request("digits", digits_inputs(SIDE, 8)))
    wait_for(lambda: server.busy().get("running"), "running")
    behind = server.stub().ModelInfer.future(infer_request("digits", digit.inputs))
    wait_for(lambda: server.busy().get("pending"), "one behind")
    call.cancel()
    assert behind.result(timeout=PATIENCE).outputs
    server.wait_idle()
    assert failures(server, "CANCELED") == canceled + 1


def test_cancel_at_any_moment(server, digit):
    """Races with arrival, preparation, the run and the answer."""
    same = infer(server.triton(), "digits", digit.inputs)
    stub = server.stub()
    for number in range(150):
        call = stub.ModelInfer.future(infer_request("digits", digit.inputs))
        time.sleep(number % 30 * 0.0004)
        call.cancel()
    server.wait_idle()
    assert infer(server.triton(), "digits", digit.inputs).tobytes() == same.tobytes()


def test_kill_9_of_a_client_whose_request_runs(server):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import grpc\nfrom test_limits import *\n"
        "stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(sys.argv[2]))\n"
        "stub.ModelInfer(infer_request('digits', digits_inputs(SIDE, 8)))\n"
    )
    code = code.replace("import grpc\n", "import grpc\nfrom tritonclient.grpc import service_pb2_grpc\n")
    canceled = failures(server, "CANCELED")
    here = str(ROOT / "tests" / "outside")
    process = subprocess.Popen([sys.executable, "-c", code, here, server.address], env=dict(os.environ))
    wait_for(lambda: server.busy().get("running"), "running")
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.wait_idle()
    assert failures(server, "CANCELED") == canceled + 1


# Memory.


@pytest.fixture(scope="module")
def little_memory(tmp_path_factory):
    server = Unetd(tmp_path_factory.mktemp("memory"), server={"limits": {"memory_mib": 64}})
    yield server
    assert server.stop() == 0, server.log()


def test_memory_limit(little_memory, digit):
    server, stub = little_memory, little_memory.stub()
    same = infer(server.triton(), "digits", digit.inputs)
    before = server.peak_mib()
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(infer_request("digits", digits_inputs(512, 8)))
    assert caught.value.code() == CODE.RESOURCE_EXHAUSTED
    message = caught.value.details()
    assert "grpc-status-details-bin" not in dict(caught.value.trailing_metadata())  # no retry would help
    assert "server.limits.memory_mib" in message and "64.0 MiB" in message
    states = {"encoder_hidden_states": np.zeros((8, 4, 64), np.float32)}
    fields = {"conditions": states, "shape": [8, 1, 512, 512], "seeds": range(8)}
    code, message = refusal(Api(server.channel()).denoise, model="digits", **fields)
    assert code == CODE.RESOURCE_EXHAUSTED
    assert "memory_mib" in message
    assert server.peak_mib() - before < 64
    assert infer(server.triton(), "digits", digit.inputs).tobytes() == same.tobytes()
    used = sum(server.metric("unetd_memory_bytes", account=name) for name in ("weights", "arena", "requests", "plans"))
    assert used <= server.metric("unetd_memory_limit_bytes") == 64 << 20


def test_many_sizes_keep_memory_bounded(little_memory):
    """Each image size is a plan of its own: old ones go, and requests never fail for it."""
    client = little_memory.triton()
    for side in range(16, 40):
        assert infer(client, "digits", digits_inputs(side)).shape == (1, 1, side, side)
    assert little_memory.metric("unetd_plans_cached") <= 30


# Many at once.


def test_many_clients_at_once(server, digit):
    same = infer(server.triton(), "digits", digit.inputs).tobytes()
    states = {"encoder_hidden_states": digit.inputs["encoder_hidden_states"]}
    fields = {"conditions": states, "shape": [2, 1, 16, 16], "seeds": [1, 2], "num_inference_steps": 4}
    drawn = Api(server.channel()).result(model="digits", **fields).tobytes()

    def one(number):
        if number % 4 == 0:
            return Api(server.channel()).result(model="digits", **fields).tobytes() == drawn
        if number % 4 == 1:
            stub = server.stub()
            return refusal(stub.ModelInfer, service_pb2.ModelInferRequest(model_name="nobody"))[0] == CODE.NOT_FOUND
        return out_sample(server.stub().ModelInfer(infer_request("digits", digit.inputs))).tobytes() == same

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        assert all(pool.map(one, range(120)))
