"""Cancelling, at any moment and by any means: the request ends once, and is counted once."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest
from denoising import seeded
from unetd_process import PATIENCE, ROOT, SANITIZED, wait_for
from wire import Api, array_of, digits_inputs, infer_request, out_sample, refusal

pytestmark = pytest.mark.usefixtures("still_right")

CODE = grpc.StatusCode
LONG = 96 if SANITIZED else 224  # one forward of this side takes a second or so
COUNTED = ("nv_inference_request_success", "nv_inference_request_failure")


def counted(server):
    """Requests that have ended, as the metrics tell."""
    return sum(server.metric(name, model="digits") for name in COUNTED)


@pytest.fixture
def each_counted_once(server):
    """The test says how many requests it sent; each must end as one success or one failure."""
    sent = []
    before = counted(server)
    yield sent.append
    server.wait_idle()
    wait_for(lambda: counted(server) >= before + sum(sent), "every request to be counted")
    assert counted(server) == before + sum(sent)


def swept(count, seconds):
    """Delays from nothing to `seconds`, denser at the beginning."""
    return [seconds * (number / count) ** 2 for number in range(count)]


def test_cancel_an_inference_at_any_moment(server, stub, digit, right_bits):
    calls = []
    for delay in swept(120, 0.02):
        call = stub.ModelInfer.future(infer_request("digits", digit.inputs))
        time.sleep(delay)
        call.cancel()
        calls.append(call)
    server.wait_idle()
    assert all(call.done() for call in calls)
    for call in calls:
        if not call.cancelled():  # the answer was first: then it is whole
            assert out_sample(call.result()).tobytes() == right_bits


def test_cancel_a_loop_at_any_moment(server, api):
    """Before it is scheduled, in the queue, in a step, between steps, while it writes, when it is done."""
    request = seeded(4, num_inference_steps=8, preview_every=1)
    whole = array_of(list(api.denoise(**request))[-1].result.sample).tobytes()
    message = api.denoise_request(**request)
    denoise = api.call("Denoiser", "Denoise")
    for delay in swept(80, 0.1):
        call = denoise(message)
        time.sleep(delay)
        call.cancel()
        assert call.code() in (CODE.CANCELLED, CODE.OK)
    server.wait_idle()
    assert array_of(list(api.denoise(**request))[-1].result.sample).tobytes() == whole


@pytest.mark.parametrize("seen", ["accepted", "progress", "preview", "result"])
def test_cancel_a_loop_when_an_event_came(server, api, seen, each_counted_once):
    for _ in range(10):
        call = api.denoise(**seeded(4, num_inference_steps=4, preview_every=1))
        for event in call:
            if event.HasField(seen):
                break
        call.cancel()
    each_counted_once(10)


def test_cancel_loops_that_wait(server, api, each_counted_once):
    """Several in the queue; every second one goes."""
    first = api.denoise(**seeded(*range(8), num_inference_steps=400))
    assert next(first).HasField("accepted")
    calls = [api.denoise(**seeded(number, num_inference_steps=30)) for number in range(12)]
    wait_for(lambda: sum(server.busy().get(name, 0) for name in ("pending", "running")) == 13, "all to be there")
    for call in calls[::2]:
        call.cancel()
    for call in calls[1::2]:
        assert list(call)[-1].HasField("result")
    first.cancel()
    each_counted_once(13)


def test_cancel_twice_and_after_the_end(stub, digit, each_counted_once):
    call = stub.ModelInfer.future(infer_request("digits", digit.inputs))
    assert call.result(timeout=PATIENCE).outputs
    call.cancel()
    call.cancel()
    each_counted_once(1)


@pytest.mark.parametrize("method", ["ModelInfer", "Denoise"])
def test_deadlines_at_any_moment(server, stub, api, digit, method):
    """A deadline is a cancel that the server's own clock may see first."""
    request = api.denoise_request(**seeded(4, num_inference_steps=6))
    denoise = api.call("Denoiser", "Denoise")
    for seconds in swept(60, 0.06):
        try:
            if method == "Denoise":
                list(denoise(request, timeout=seconds))
            else:
                stub.ModelInfer(infer_request("digits", digit.inputs), timeout=seconds)
        except grpc.RpcError as error:
            assert error.code() == CODE.DEADLINE_EXCEEDED


def test_close_a_channel_with_calls_of_all_kinds(server, digit, api):
    """What a client leaves behind when it goes without a word."""
    for number in range(6):
        channel = server.channel()
        theirs = Api(channel)
        stub = server.stub()
        hold = threading.Event()

        def messages(hold=hold):
            for _ in range(20):
                yield infer_request("digits", digit.inputs)
            hold.wait(PATIENCE)

        calls = [stub.ModelInfer.future(infer_request("digits", digits_inputs(48, 4))) for _ in range(4)]
        calls.append(theirs.denoise(**seeded(4, num_inference_steps=500)))
        calls.append(stub.ModelStreamInfer(messages()))
        time.sleep(number * 0.02)
        hold.set()
        server.close_clients()
        for call in calls:
            wait_for(call.done, "every call to end")
    server.wait_idle()


# Killed clients.

CLIENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
import grpc
from tritonclient.grpc import service_pb2_grpc
from denoising import *
from wire import *
channel = grpc.insecure_channel(sys.argv[2])
{}
"""


def killed_client(server, code, ready):
    """Runs code with `channel` in a process of its own; kills it once ready() holds."""
    arguments = [sys.executable, "-c", CLIENT.format(code), str(ROOT / "tests" / "outside"), server.address]
    process = subprocess.Popen(arguments, env=dict(os.environ))
    try:
        wait_for(ready, "the client to get there")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_kill_9_in_the_middle_of_a_loop(server, each_counted_once):
    steps = lambda: server.metric("unetd_denoise_steps", model="digits")
    before = steps()
    code = "for event in Api(channel).denoise(**seeded(*range(8), num_inference_steps=1000, preview_every=1)): pass"
    killed_client(server, code, lambda: steps() > before + 3)
    server.wait_idle()
    assert steps() < before + 900
    each_counted_once(1)


def test_kill_9_of_a_client_that_reads_no_answers(server):
    """Answers are on their way, and more requests in the queue."""
    code = (
        "stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)\n"
        "request = infer_request('digits', digits_inputs(64, 8))\n"
        "def messages():\n    while True: yield request\n"
        "call = stub.ModelStreamInfer(messages())\ntime.sleep(600)\n"
    )
    before = server.metric("nv_inference_request_success", model="digits")
    killed_client(
        server, code, lambda: server.metric("nv_inference_request_success", model="digits") >= before + 2
    )
    server.wait_idle()


def test_kill_9_while_queued(server, api):
    first = api.denoise(**seeded(*range(8), num_inference_steps=1000))
    assert next(first).HasField("accepted")
    code = (
        "stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)\n"
        f"calls = [stub.ModelInfer.future(infer_request('digits', digits_inputs({LONG}, 8))) for _ in range(5)]\n"
        "time.sleep(600)\n"
    )
    killed_client(server, code, lambda: server.busy().get("pending", 0) + server.busy().get("running", 0) >= 6)
    wait_for(lambda: server.busy().get("pending", 0) + server.busy().get("running", 0) <= 1, "their places to be free")
    first.cancel()


def test_neighbours_of_cancelled_requests(server, api, digit):
    """Many come and go; those that stay get the bits that they get alone."""
    request = seeded(3, num_inference_steps=6)
    alone = api.result(**request).tobytes()
    stop = threading.Event()

    def come_and_go():
        stub, theirs = server.stub(), Api(server.channel())
        while not stop.is_set():
            calls = [stub.ModelInfer.future(infer_request("digits", digit.inputs))]
            calls.append(theirs.denoise(**seeded(5, num_inference_steps=6)))
            time.sleep(random.uniform(0, 0.02))
            for call in calls:
                call.cancel()

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert all(api.result(**request).tobytes() == alone for _ in range(6))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_refusals_are_counted_once(stub, digit, each_counted_once):
    request = infer_request("digits", digit.inputs)
    request.inputs[0].datatype = "FP31"
    for _ in range(5):
        assert refusal(stub.ModelInfer, request)[0] == CODE.INVALID_ARGUMENT
    each_counted_once(5)
