"""The queue under pressure: full, flooded, timed out, and with requests of every priority."""

import threading
import time

import grpc
import pytest
from denoising import seeded
from tritonclient.grpc import service_pb2
from unetd_process import PATIENCE, SANITIZED, Unetd, wait_for
from wire import Api, digits_inputs, infer_request, out_sample, refusal

CODE = grpc.StatusCode
LONG = 96 if SANITIZED else 224  # one forward of this side takes a second or so
QUEUE = 4


@pytest.fixture(scope="module")
def little_queue(tmp_path_factory):
    server = Unetd(tmp_path_factory.mktemp("queue"), server={"limits": {"queue": QUEUE}})
    yield server
    assert server.stop() == 0, server.log()[-8000:]


@pytest.fixture
def queue(little_queue, digit, right_bits):
    """A server with a short queue, which must end idle and right."""
    yield little_queue
    little_queue.close_clients()
    little_queue.wait_idle()
    answer = little_queue.stub().ModelInfer(infer_request("digits", digit.inputs), timeout=PATIENCE)
    assert out_sample(answer).tobytes() == right_bits
    little_queue.close_clients()


@pytest.fixture
def worker_held(queue):
    """One forward runs for as long as the test needs."""
    call = queue.stub().ModelInfer.future(infer_request("digits", digits_inputs(LONG, 8)))
    wait_for(lambda: queue.busy().get("running"), "running")
    yield call
    assert not call.done(), "the forward was too short for this test"
    call.cancel()


def good(digit, **parameters):
    request = infer_request("digits", digit.inputs)
    for name, value in parameters.items():
        request.parameters[name].int64_param = value
    return request


def filled(queue, digit, **parameters):
    """Requests that fill the queue to the last place, all waiting."""
    stub = queue.stub()
    calls = [stub.ModelInfer.future(good(digit, **parameters)) for _ in range(QUEUE)]
    wait_for(lambda: queue.busy().get("pending") == QUEUE, "a full queue")
    return calls


def test_the_limit_is_exact(queue, digit, worker_held):
    """One runs, as many as the limit wait, the next is refused; a place that gets free is had at once."""
    calls = filled(queue, digit)
    for _ in range(3):
        code, message = refusal(queue.stub().ModelInfer, good(digit))
        assert code == CODE.RESOURCE_EXHAUSTED
        assert f"{QUEUE}" in message
    calls.pop().cancel()
    wait_for(lambda: queue.busy().get("pending") == QUEUE - 1, "a free place")
    calls.append(queue.stub().ModelInfer.future(good(digit)))
    wait_for(lambda: queue.busy().get("pending") == QUEUE, "a full queue")
    assert refusal(queue.stub().ModelInfer, good(digit))[0] == CODE.RESOURCE_EXHAUSTED
    worker_held.cancel()
    assert all(call.result(timeout=PATIENCE).outputs for call in calls)
    worker_held.done = lambda: False  # it was ended on purpose


def test_bad_requests_do_not_queue(queue, digit, worker_held):
    """They are refused for what is wrong with them, not for the full queue, and take no place."""
    calls = filled(queue, digit)
    request = good(digit)
    request.model_name = "nobody"
    assert refusal(queue.stub().ModelInfer, request)[0] == CODE.NOT_FOUND
    request = good(digit)
    request.inputs[0].datatype = "FP31"
    assert refusal(queue.stub().ModelInfer, request)[0] == CODE.INVALID_ARGUMENT
    assert queue.busy()["pending"] == QUEUE
    for call in calls:
        call.cancel()


def test_control_calls_beside_a_full_queue(queue, digit, worker_held):
    calls = filled(queue, digit)
    stub = queue.stub()
    assert stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=PATIENCE).ready
    assert stub.ModelReady(service_pb2.ModelReadyRequest(name="digits"), timeout=PATIENCE).ready
    assert stub.ModelStatistics(service_pb2.ModelStatisticsRequest(), timeout=PATIENCE).model_stats
    assert queue.get("/v2/health/ready")[0] == 200
    for call in calls:
        call.cancel()


def test_timeouts_of_a_full_queue_fire_while_a_long_forward_runs(queue, digit, worker_held):
    calls = filled(queue, digit, timeout=50_000)
    for call in calls:
        assert call.code() == CODE.DEADLINE_EXCEEDED
        assert call.details() == "Request timeout expired"
    wait_for(lambda: not queue.busy().get("pending"), "an empty queue")
    for call in filled(queue, digit):  # all places can be had again
        call.cancel()


def test_timeouts_race_with_cancels_and_the_worker(queue, digit):
    stub = queue.stub()
    for number in range(60):
        call = stub.ModelInfer.future(good(digit, timeout=1 + number * 100))
        if number % 2:
            time.sleep(number * 0.0001)
            call.cancel()
        assert call.code() in (CODE.OK, CODE.CANCELLED, CODE.DEADLINE_EXCEEDED)


@pytest.mark.parametrize("priority", [1, 2**31, 2**32, 2**63 - 1])
def test_any_priority(queue, digit, right_bits, priority):
    request = good(digit)
    for field in ("int64_param", "uint64_param"):
        request.parameters["priority"].CopyFrom(service_pb2.InferParameter(**{field: priority}))
        answer = queue.stub().ModelInfer(request, timeout=PATIENCE)
        assert out_sample(answer).tobytes() == right_bits


def flood(server, digit, stop, priority):
    """Sends as fast as answers come, whatever they are."""
    stub = server.stub()
    while not stop.is_set():
        try:
            stub.ModelInfer(good(digit, priority=priority), timeout=PATIENCE)
        except grpc.RpcError as error:
            assert error.code() == CODE.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("theirs,ours", [(1, 0), (0, 1), (1, 9)])
def test_a_flood_starves_nobody(queue, digit, theirs, ours):
    """Others' requests of whatever priority: ours comes to its end, and so does a loop."""
    stop = threading.Event()
    threads = [threading.Thread(target=flood, args=(queue, digit, stop, theirs)) for _ in range(QUEUE - 1)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert queue.stub().ModelInfer(good(digit, priority=ours), timeout=PATIENCE).outputs
        assert list(Api(queue.channel()).denoise(**seeded(1), timeout=PATIENCE))[-1].HasField("result")
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_flood_over_the_limit(queue, digit, right_bits):
    """More clients than places: each answer is right or a refusal, and none is lost."""
    right, refused = [], []

    def client(number):
        stub = queue.stub()
        for _ in range(12):
            try:
                answer = stub.ModelInfer(good(digit, priority=number % 3), timeout=PATIENCE)
                right.append(out_sample(answer).tobytes() == right_bits)
            except grpc.RpcError as error:
                refused.append(error.code() == CODE.RESOURCE_EXHAUSTED and "queue size" in error.details())

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4 * QUEUE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(right) and all(refused)
    assert right and refused
    assert len(right) + len(refused) == 12 * len(threads)


def test_a_hundred_thousand_ids(server, stub, still_right):
    """Ids are kept nowhere: on one stream, and no memory grows with them."""

    def requests(count):
        return (service_pb2.ModelInferRequest(model_name="nobody", id=f"id-{i}-{'x' * 100}") for i in range(count))

    def answered(count):
        return sum("'nobody'" in answer.error_message for answer in stub.ModelStreamInfer(requests(count)))

    assert answered(5_000) == 5_000
    before = server.resident_mib()
    assert answered(100_000) == 100_000
    assert server.resident_mib() - before < (256 if SANITIZED else 64)
