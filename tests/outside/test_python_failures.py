"""The Python package against a server that answers and fails as it is told: above all, when a call is made again."""

import concurrent.futures

import grpc
import numpy as np
import pytest
from python_package import import_unetd

CODE = grpc.StatusCode
SAMPLE = np.zeros((1, 1, 16, 16), np.float32)


@pytest.fixture(scope="module")
def unetd(tmp_path_factory):
    return import_unetd(tmp_path_factory.mktemp("package"))


class Failing(grpc.GenericRpcHandler):
    """Answers every call with the next of `failures`, (code, seconds of RetryInfo or None), then well."""

    def __init__(self, unetd):
        self._message = unetd.errors._protocol.message
        self.failures = []
        self.calls = 0
        self.elements = 1  # of the sample that it answers with

    def service(self, details):
        if details.method.endswith("Denoise"):
            return grpc.unary_stream_rpc_method_handler(lambda request, context: self._answer(context) and iter([]))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._answer(context))

    def _answer(self, context):
        self.calls += 1
        if self.failures:
            code, seconds = self.failures.pop(0)
            if seconds is not None:
                context.set_trailing_metadata([("grpc-status-details-bin", self._details(code, seconds))])
            context.abort(code, "as told")
        return self._message("unetd.v1.StepResponse")(
            variant="default",
            prev_sample=self._zeros(self.elements),
            pred_original_sample=self._zeros(0),
        ).SerializeToString()

    def _zeros(self, elements):
        return self._message("unetd.v1.Tensor")(datatype="FP32", shape=[elements], raw=bytes(4 * elements))

    def _details(self, code, seconds):
        status = self._message("google.rpc.Status")(code=code.value[0])
        info = self._message("google.rpc.RetryInfo")()
        info.retry_delay.nanos = int(seconds * 1e9)
        status.details.add().Pack(info)
        return status.SerializeToString()


@pytest.fixture
def failing(unetd):
    handler = Failing(unetd)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[handler])
    handler.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield handler
    server.stop(None).wait()


@pytest.fixture
def denoiser(unetd, failing):
    retry = unetd.Retry(attempts=3, first_delay=0.001)
    with unetd.Denoiser(failing.address, "digits", retry=retry) as denoiser:
        yield denoiser


@pytest.mark.parametrize("failure", [(CODE.UNAVAILABLE, None), (CODE.RESOURCE_EXHAUSTED, 0.01)])
def test_made_again(denoiser, failing, failure):
    failing.failures = [failure, failure]
    assert denoiser.step(SAMPLE).variant == "default"
    assert failing.calls == 3


@pytest.mark.parametrize("failure", [(CODE.UNAVAILABLE, None), (CODE.RESOURCE_EXHAUSTED, 0.01)])
def test_not_for_ever(unetd, denoiser, failing, failure):
    failing.failures = [failure] * 9
    with pytest.raises(unetd.UnetdError) as caught:
        denoiser.step(SAMPLE)
    assert (caught.value.code, caught.value.retry_after) == failure
    assert failing.calls == 3


@pytest.mark.parametrize("code", [code for code in CODE if code not in (CODE.OK, CODE.UNAVAILABLE)])
def test_raised_at_once(unetd, denoiser, failing, code):
    """RESOURCE_EXHAUSTED, too, where the server does not say when to try again: more memory will not come."""
    failing.failures = [(code, None)]
    with pytest.raises(unetd.UnetdError, match="as told") as caught:
        denoiser.step(SAMPLE)
    assert caught.value.code == code
    assert failing.calls == 1


def test_large_messages(denoiser, failing):
    """gRPC's own limit is 4 MiB."""
    failing.elements = 2 << 20
    assert denoiser.step(SAMPLE).prev_sample.shape == (2 << 20,)


def test_the_stream_ends_early(unetd, denoiser):
    with pytest.raises(unetd.errors.Internal, match="ended without a result"):
        denoiser.denoise(progress=False)


def test_a_denoising_is_never_started_twice(unetd, denoiser, failing):
    failing.failures = [(CODE.UNAVAILABLE, None)]
    with pytest.raises(unetd.errors.Unavailable):
        denoiser.denoise(progress=False)
    assert failing.calls == 1


def test_not_beyond_the_timeout(unetd, denoiser, failing):
    failing.failures = [(CODE.RESOURCE_EXHAUSTED, 0.9)] * 9
    with pytest.raises(unetd.errors.ResourceExhausted):
        denoiser.step(SAMPLE, timeout=0.5)
    assert failing.calls == 1


def test_details_of_a_stranger(unetd, denoiser, failing):
    failing._details = lambda code, seconds: b"\xff not a message"
    failing.failures = [(CODE.RESOURCE_EXHAUSTED, 1)]
    with pytest.raises(unetd.errors.ResourceExhausted) as caught:
        denoiser.step(SAMPLE)
    assert caught.value.retry_after is None


def test_delays(unetd):
    retry = unetd.Retry(attempts=9, first_delay=1, longest_delay=3)
    gone, full = unetd.errors.Unavailable("gone"), unetd.errors.ResourceExhausted("full", 10.0)
    for failed, longest in ((1, 1), (2, 2), (3, 3), (8, 3)):
        delays = {retry.delay(failed, gone) for _ in range(50)}
        assert longest / 2 <= min(delays) < max(delays) <= longest  # not all clients at the same moment
        assert 10 + longest / 2 <= retry.delay(failed, full) <= 10 + longest
    assert retry.delay(9, gone) is None
    assert unetd.Retry(attempts=1).delay(1, gone) is None
