"""ModelStreamInfer: by tritonclient, and by messages of one's own where a client must misbehave."""

import queue
import threading

import grpc
import numpy as np
import pytest
from goldens import Call, calls_of
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException
from unetd_process import PATIENCE, wait_for
from wire import infer, infer_request, out_sample, refusal, triton_inputs


class Stream:
    """tritonclient's stream with its answers in a queue."""

    def __init__(self, client, **options):
        self.client, self.answers = client, queue.Queue()
        client.start_stream(lambda result, error: self.answers.put((result, error)), **options)

    def send(self, arrays, model="digits", **options):
        self.client.async_stream_infer(model, triton_inputs(arrays), **options)

    def next(self):
        return self.answers.get(timeout=PATIENCE)


def test_answers_come_in_order(client, digit):
    same = infer(client, "digits", digit.inputs)
    stream = Stream(client)
    for number in range(40):  # more than the server reads ahead
        stream.send(digit.inputs, request_id=str(number))
    for number in range(40):
        result, error = stream.next()
        assert error is None
        response = result.get_response()
        assert response.id == str(number)
        assert response.parameters["triton_final_response"].bool_param
        assert response.parameters["variant"].string_param == "default"
        assert result.as_numpy("out_sample").tobytes() == same.tobytes()
    client.stop_stream()


def test_same_id_twice(client, digit):
    stream = Stream(client)
    stream.send(digit.inputs, request_id="twin")
    stream.send(digit.inputs, request_id="twin")
    answers = [stream.next()[0] for _ in range(2)]
    assert [answer.get_response().id for answer in answers] == ["twin", "twin"]
    client.stop_stream()


def test_models_may_differ_within_a_stream(client, digit):
    stream = Stream(client)
    for model in ("digits", "variants", "digits"):
        stream.send(digit.inputs, model=model)
    assert [stream.next()[0].get_response().model_name for _ in range(3)] == ["digits", "variants", "digits"]
    client.stop_stream()


def test_an_error_does_not_end_the_stream(client, digit):
    stream = Stream(client)
    stream.send({**digit.inputs, "sample": np.zeros((2, 1, 0, 16), np.float32)}, request_id="bad")
    stream.send(digit.inputs, request_id="good")
    result, error = stream.next()
    assert "sample" in error.message()
    assert stream.next()[0].get_response().id == "good"
    client.stop_stream()


def bad_then_good(digit):
    bad = infer_request("digits", {**digit.inputs, "unknown": np.zeros(1, np.float32)}, id="bad")
    return [bad, infer_request("digits", digit.inputs, id="good")]


def test_an_error_names_its_request_and_code(stub, digit):
    first, second = stub.ModelStreamInfer(iter(bad_then_good(digit)))
    assert "'unknown'" in first.error_message
    assert first.infer_response.id == "bad"
    assert first.infer_response.parameters["unetd_status_code"].string_param == "INVALID_ARGUMENT"
    assert not second.error_message
    assert second.infer_response.id == "good"


def test_an_error_ends_the_stream_if_asked(stub, digit):
    headers = [("triton_grpc_error", "true")]
    code, message = refusal(stub.ModelStreamInfer, iter(bad_then_good(digit)), metadata=headers)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "'unknown'" in message


def test_triton_grpc_error_by_tritonclient(client, digit):
    stream = Stream(client, headers={"triton_grpc_error": "true"})
    stream.send({**digit.inputs, "sample": np.zeros((9, 1, 16, 16), np.float32)})
    _, error = stream.next()
    assert error.status() == "StatusCode.INVALID_ARGUMENT"
    client.stop_stream()


def test_empty_stream(stub):
    assert list(stub.ModelStreamInfer(iter([]), timeout=PATIENCE)) == []


def test_half_close_still_answers(stub, digit):
    requests = [infer_request("digits", digit.inputs, id=str(number)) for number in range(5)]
    answers = list(stub.ModelStreamInfer(iter(requests), timeout=PATIENCE))  # closes its half at once
    assert [answer.infer_response.id for answer in answers] == list("01234")


def test_stream_deadline(stub, digit):
    def never_ends():
        yield infer_request("digits", digit.inputs)
        threading.Event().wait(PATIENCE)

    code, _ = refusal(stub.ModelStreamInfer, never_ends(), timeout=0.5)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED


def test_stop_stream_cancels(client, server, digit):
    stream = Stream(client)
    large = {**digit.inputs, "sample": np.zeros((2, 1, 160, 160), np.float32)}
    for _ in range(4):
        stream.send(large)
    wait_for(lambda: server.busy().get("running"), "running")
    client.stop_stream(cancel_requests=True)
    answers = [stream.next() for _ in range(stream.answers.qsize())]
    assert all(isinstance(error, InferenceServerException) for _, error in answers)
    server.wait_idle()


class SilentReader:
    """Sends for ever and never reads an answer."""

    def __init__(self, stub, request):
        self.sent, self.stop = 0, threading.Event()
        self.call = stub.ModelStreamInfer(self._requests(request))

    def _requests(self, request):
        while not self.stop.is_set():
            self.sent += 1
            yield request

    def end(self):
        self.stop.set()
        self.call.cancel()


def test_a_client_that_never_reads_costs_bounded_memory(server, client, digit):
    # Half a megabyte a request and an answer. Read without end, this would be gigabytes soon.
    arrays = dict(Call(calls_of("no_attention")[""]).inputs)
    arrays["sample"] = np.zeros((8, 4, 64, 64), np.float32)
    if "encoder_hidden_states" in arrays:
        arrays["encoder_hidden_states"] = np.zeros((8, *arrays["encoder_hidden_states"].shape[1:]), np.float32)
    request = infer_request("no_attention", arrays)
    same = infer(client, "digits", digit.inputs)
    before = server.resident_mib()
    readers = [SilentReader(server.stub(), request) for _ in range(2)]
    for reader in readers:
        wait_for(lambda: stalled(reader), "the server to stop reading")
    assert server.resident_mib() - before < 512
    assert infer(client, "digits", digit.inputs).tobytes() == same.tobytes()
    for reader in readers:
        reader.end()


def stalled(reader):
    sent = reader.sent
    threading.Event().wait(1)
    return sent and reader.sent == sent


def test_a_slow_reader_gets_every_answer(stub, digit):
    requests = [infer_request("digits", digit.inputs, id=str(number)) for number in range(30)]
    seen = []
    for answer in stub.ModelStreamInfer(iter(requests), timeout=PATIENCE):
        seen.append(answer.infer_response.id)
        threading.Event().wait(0.02)
    assert seen == [str(number) for number in range(30)]


def test_many_ids(stub, digit):
    """Ids leave nothing behind: many short requests on one stream, all refused."""
    requests = (service_pb2.ModelInferRequest(model_name="nobody", id=f"id-{i}") for i in range(5000))
    answers = stub.ModelStreamInfer(requests, timeout=PATIENCE)
    assert sum(1 for answer in answers if "'nobody'" in answer.error_message) == 5000


@pytest.mark.parametrize("rounds", [20])
def test_cancel_races_with_answers(stub, digit, rounds):
    for number in range(rounds):
        requests = [infer_request("digits", digit.inputs) for _ in range(6)]
        call = stub.ModelStreamInfer(iter(requests))
        for _ in range(number % 6):
            next(call)
        call.cancel()
