"""Requests that share forwards of the UNet, with priorities and deadlines, on the cpu backend."""

import concurrent.futures

import grpc
import numpy as np
import pytest
from denoising import seeded
from unetd_process import DIGITS, PATIENCE, wait_for
from wire import Api, infer, infer_request, refusal, triton_inputs

CODE = grpc.StatusCode


@pytest.fixture
def sharing(start):
    """A server whose first forward of a request waits a moment for company."""
    batching = {"max_batch": 16, "max_queue_delay_microseconds": 20_000}
    return start([{**DIGITS, "dynamic_batching": batching}])


def at_once(calls):
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
        return [future.result(PATIENCE) for future in futures]


def loops():
    """Denoisings of several lengths, with and without guidance and noise."""
    for number in range(8):
        fields = {"num_inference_steps": 4 + number % 3, "guidance_scale": 1.0 + number % 2}
        yield seeded(*range(number, number + 1 + number % 3), **fields)


def rows(digit, first, last):
    return {
        name: array[first:last] if array.shape[0] == digit.rows else array for name, array in digit.inputs.items()
    }


def test_bits_are_those_alone(server, sharing, digit):
    api, client = Api(server.channel()), server.triton()
    alone = [api.result(**fields).tobytes() for fields in loops()]
    each = [infer(client, "digits", rows(digit, row, row + 1)).tobytes() for row in range(digit.rows)]

    calls = [lambda fields=fields: Api(sharing.channel()).result(**fields).tobytes() for fields in loops()]
    for row in range(digit.rows):
        one = rows(digit, row, row + 1)
        calls.append(lambda one=one: infer(sharing.triton(), "digits", one).tobytes())
    long = Api(sharing.channel()).denoise(**seeded(9, num_inference_steps=1000), timeout=PATIENCE)
    calls.append(lambda: [next(long), next(long), long.cancel()] and b"")
    assert at_once(calls) == [*alone, *each, b""]
    sharing.wait_idle()
    executions = sharing.metric("nv_inference_exec_count")
    requests = sharing.metric("unetd_batch_requests_sum")
    assert sharing.metric("unetd_batch_requests_count") == executions
    assert requests > executions  # some were shared
    assert sharing.metric("unetd_requests") == 0


def test_statistics_of_a_shared_forward(sharing, digit):
    client = sharing.triton()
    one = rows(digit, 0, 1)
    at_once([lambda: infer(sharing.triton(), "digits", one) for _ in range(8)])
    (model,) = client.get_inference_statistics("digits").model_stats
    batches = {batch.batch_size: batch for batch in model.batch_stats}
    assert model.inference_count == 8
    assert model.inference_stats.success.count == 8
    assert sum(batch.compute_infer.count for batch in batches.values()) == model.execution_count
    assert sum(size * batch.compute_infer.count for size, batch in batches.items()) == 8
    for batch in batches.values():
        for part in (batch.compute_input, batch.compute_infer, batch.compute_output):
            assert part.count == batch.compute_infer.count
            assert part.ns > 0
    assert sharing.metric("nv_inference_exec_count") == model.execution_count
    assert sharing.metric("unetd_batch_rows_sum") == 8


def test_an_inference_overtakes_a_loop(server, api, client, digit):
    loop = api.denoise(**seeded(*range(8), num_inference_steps=1000), timeout=PATIENCE)
    assert next(loop).HasField("accepted")
    infer(client, "digits", digit.inputs)
    assert server.busy()["running"] == 1  # the loop goes on
    loop.cancel()
    server.wait_idle()


@pytest.mark.parametrize("priority", [0, 1, 4, 8, 2**64 - 1])
def test_priority_is_taken(client, digit, priority):
    assert client.infer("digits", triton_inputs(digit.inputs), priority=priority).as_numpy("out_sample").any()


def test_bad_priority(stub, digit):
    for field, value in (("string_param", "1"), ("int64_param", -1), ("bool_param", True), ("double_param", 1.0)):
        request = infer_request("digits", digit.inputs)
        setattr(request.parameters["priority"], field, value)
        code, message = refusal(stub.ModelInfer, request)
        assert (code, message) == (CODE.INVALID_ARGUMENT, "request parameter 'priority': expected an integer >= 0")


def test_a_deadline_out_of_reach_is_refused_at_once(server, api):
    known = seeded(*range(8), num_inference_steps=4)
    api.result(**known)  # what a step takes is known from here on
    steps = server.metric("unetd_denoise_steps", model="digits")
    code, message = refusal(api.denoise, **{**known, "num_inference_steps": 1000}, timeout=0.15)
    assert code == CODE.DEADLINE_EXCEEDED
    if message.startswith("the deadline cannot be met"):  # else the client's own clock was first
        assert "1000 steps of " in message and message.endswith(" ms are left")
        assert server.metric("unetd_denoise_steps", model="digits") == steps
    wait_for(lambda: not server.busy(), "idle")


def test_batching_can_be_switched_off(start, digit):
    server = start([{**DIGITS, "dynamic_batching": {"max_batch": 1}}])
    one = rows(digit, 0, 1)
    bits = at_once([lambda: infer(server.triton(), "digits", one).tobytes() for _ in range(6)])
    assert set(bits) == {bits[0]}
    assert server.metric("nv_inference_exec_count") == 6
    assert server.metric("unetd_batch_requests_sum") == 6
    assert not server.triton().get_model_config("digits").config.HasField("dynamic_batching")


def test_batching_is_told(sharing):
    batching = sharing.triton().get_model_config("digits").config.dynamic_batching
    assert list(batching.preferred_batch_size) == [16]
    assert batching.max_queue_delay_microseconds == 20_000


def test_memory_of_strangers(start, digit):
    """The arena is what it was when the server was ready, whoever shares it."""
    server = start()
    arena = server.metric("unetd_memory_bytes", account="arena")
    one = rows(digit, 0, 1)
    at_once([lambda: infer(server.triton(), "digits", one) for _ in range(12)])
    at_once([lambda: Api(server.channel()).result(**seeded(1, 2)) for _ in range(8)])
    assert server.metric("unetd_memory_bytes", account="arena") == arena
    assert server.metric("unetd_memory_bytes", account="requests") == 0
    assert np.isfinite(infer(server.triton(), "digits", digit.inputs)).all()
