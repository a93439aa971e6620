"""Denoiser of the Python package, against a running server."""

import signal
import subprocess
import sys
import threading

import grpc
import ml_dtypes
import numpy as np
import pytest
from denoising import SCHEDULER, seeded
from goldens import GOLDEN, assert_equal_to_diffusers, read_safetensors
from python_package import import_unetd
from unetd_process import PATIENCE, ROOT, wait_for

LONG = {"num_inference_steps": 1000, "shape": [8, 1, 16, 16], "seeds": range(8), "timeout": 10 * PATIENCE}
LONG["conditions"] = {"encoder_hidden_states": np.zeros((8, 4, 64), np.float32)}


@pytest.fixture(scope="module")
def unetd(tmp_path_factory):
    return import_unetd(tmp_path_factory.mktemp("package"))


@pytest.fixture
def denoiser(unetd, server):
    with unetd.Denoiser(server.address, "digits", timeout=PATIENCE) as denoiser:
        yield denoiser


def options(*seeds, **fields):
    """As `seeded`, without the model."""
    return {key: value for key, value in seeded(*seeds, **fields).items() if key != "model"}


def golden(name="denoise"):
    tensors, metadata = read_safetensors(GOLDEN / "digits" / f"{name}.safetensors")
    return {
        "latents": tensors["latents"],
        "conditions": {"encoder_hidden_states": tensors["conditions"]},
        "negative_conditions": {"encoder_hidden_states": tensors["negative_conditions"]},
        "num_inference_steps": int(metadata["num_inference_steps"]),
        "guidance_scale": float(metadata["guidance_scale"]),
        "guidance_rescale": float(metadata["guidance_rescale"]),
        "use_clipped_model_output": metadata["use_clipped_model_output"] == "true",
    }, tensors


# What is asked for.


def test_equal_to_diffusers(denoiser):
    fields, tensors = golden()
    result = denoiser.denoise(**fields)
    assert result.variant == "default"
    assert_equal_to_diffusers(result.sample, tensors["result"])


def test_the_options_are_the_fields_of_the_requests(unetd, api):
    for options_, request, more in (
        (unetd.DenoiseOptions, "DenoiseRequest", set()),
        (unetd.StepOptions, "StepRequest", {"sample"}),
    ):
        fields = {field.name for field in api.message(request).DESCRIPTOR.fields}
        named = {"scheduler_json" if name == "scheduler" else name for name in options_.__annotations__}
        assert named | {"model", "variant"} | more == fields


def test_unknown_option(denoiser):
    with pytest.raises(TypeError, match="unknown options: guidance; there are: .*guidance_scale"):
        denoiser.start(**options(1), guidance=3)


@pytest.mark.parametrize("kind", ["mapping", "name", "object"])
def test_scheduler(denoiser, api, kind):
    class Scheduler:  # of diffusers
        def to_json_string(self):
            return SCHEDULER

    scheduler = {"mapping": {"_class_name": "DDIMScheduler"}, "name": "DDIMScheduler", "object": Scheduler()}[kind]
    got = denoiser.denoise(**options(3), scheduler=scheduler, progress=False).sample
    assert got.tobytes() == api.result(**seeded(3)).tobytes()


def test_scheduler_that_is_not_there(unetd, denoiser):
    with pytest.raises(unetd.UnetdError, match="NobodyScheduler"):
        denoiser.denoise(**options(3), scheduler="NobodyScheduler", progress=False)


def test_one_seed(denoiser, api):
    got = denoiser.denoise(**{**options(4), "seeds": np.int64(4)}, progress=False).sample
    assert got.tobytes() == api.result(**seeded(4)).tobytes()


def test_variant(unetd, server):
    with unetd.Denoiser(server.address, "variants", "sliced") as denoiser:
        assert denoiser.denoise(**options(1), progress=False).variant == "sliced"
        denoiser.variant = "math"
        assert denoiser.denoise(**options(1), progress=False).variant == "math"


def test_the_config_of_the_checkpoint(unetd, server):
    """What RemoteUNet tells pipelines."""
    description = unetd.denoiser.Client(server.address).describe("digits")
    assert description.config_json == (ROOT / "config/digits/unet/config.json").read_text()


# Arrays.


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16, ">f4", np.float64])
def test_the_result_has_the_latents_dtype(denoiser, dtype):
    fields, _ = golden()
    latents = fields.pop("latents").astype(dtype)
    fields.update(end_step=2, progress=False)
    got = denoiser.denoise(latents=latents, **fields).sample
    expected = denoiser.denoise(latents=latents.astype(np.float32), **fields).sample
    assert got.dtype == (np.float16 if dtype == np.float16 else np.float32)  # NumPy has no bfloat16
    tolerance = {np.float16: 2e-3, ml_dtypes.bfloat16: 2e-2}.get(dtype, 0)
    assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()
    got[:] = 0  # it is the caller's


def test_arrays_that_are_not_contiguous(denoiser):
    fields, tensors = golden()
    wide = np.zeros((*fields["latents"].shape[:-1], 32), np.float32)
    wide[..., ::2] = fields["latents"]
    fields["latents"] = wide[..., ::2]
    assert_equal_to_diffusers(denoiser.denoise(**fields, progress=False).sample, tensors["result"])


def test_no_array(denoiser):
    with pytest.raises(TypeError, match="expected an array of numbers or bool, got <U5"):
        denoiser.denoise(latents=np.array(["seven"]), progress=False)


# What is told on the way.


def test_progress_bar(denoiser, capsys):
    denoiser.denoise(**options(1))
    last = capsys.readouterr().err.split("\r")[-1]
    assert "100%" in last and "6/6" in last and "it/s" in last and "timestep=" in last
    denoiser.denoise(**options(1), progress=False)
    assert capsys.readouterr().err == ""


def test_callbacks(denoiser):
    steps, previews = [], []
    fields = options(1, 2, start_step=2, latents=np.zeros((2, 1, 16, 16)), preview_every=3)
    del fields["shape"]
    denoiser.denoise(**fields, progress=False, on_progress=steps.append, on_preview=previews.append)
    assert [(one.step, one.total) for one in steps] == [(2, 4), (3, 4), (4, 4), (5, 4)]
    assert all(one.ms > 0 for one in steps)
    assert [one.step for one in previews] == [4]
    assert previews[0].sample.shape == (2, 1, 16, 16)
    previews.clear()
    denoiser.denoise(**options(1), progress=False, on_preview=previews.append)
    assert len(previews) == 6  # each, unless said otherwise


def test_events(unetd, denoiser):
    kinds = [type(event) for event in denoiser.start(**options(1), preview_every=6)]
    assert kinds == [unetd.Accepted, *[unetd.Progress] * 6, unetd.Preview, unetd.Result]


# One step at a time.


def test_steps_have_the_bits_of_the_loop(denoiser):
    fields, tensors = golden()
    sample, state = fields.pop("latents"), None
    fields.pop("num_inference_steps")
    for index in range(25):
        step = denoiser.step(sample, step_index=index, num_inference_steps=25, state=state, **fields)
        sample, state = step.prev_sample, step.state
        assert step.pred_original_sample.shape == sample.shape
        assert step.variant == "default" and step.step_ms > 0
    whole = denoiser.denoise(latents=tensors["latents"], num_inference_steps=25, progress=False, **fields).sample
    assert sample.tobytes() == whole.tobytes()


def test_the_state_of_a_step(denoiser):
    """A scheduler that remembers: Heun's second half of a step needs the first."""
    fields = {key: value for key, value in options(1).items() if key not in ("shape", "use_clipped_model_output")}
    fields["scheduler"] = "HeunDiscreteScheduler"
    start = 13 * np.random.default_rng(1).standard_normal((1, 1, 16, 16), np.float32)
    events = list(denoiser.start(latents=start, **fields))
    calls = len(events) - 2
    assert calls == 11
    sample, state = start, None
    for index in range(calls):
        step = denoiser.step(sample, step_index=index, state=state, **fields)
        sample, state = step.prev_sample, step.state
    assert isinstance(state, bytes)
    assert sample.tobytes() == events[-1].sample.tobytes()


def test_steps_stay_in_one_variant(unetd, server):
    drawn = set()
    for _ in range(12):
        with unetd.Denoiser(server.address, "variants") as denoiser:
            sample, fields = np.zeros((1, 1, 16, 16)), {"conditions": options(1)["conditions"]}
            ran = {denoiser.step(sample, step_index=index, **fields).variant for index in range(5)}
        assert len(ran) == 1
        drawn |= ran
    assert len(drawn) > 1  # but not the same for everybody


# Its early end.


def test_cancel_from_another_thread(unetd, server, denoiser):
    running = denoiser.start(**LONG)
    began = threading.Event()
    errors = []

    def wait():
        try:
            running.result(on_progress=lambda _: began.set())
        except unetd.UnetdError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert began.wait(PATIENCE)
    running.cancel()
    thread.join(PATIENCE)
    assert [type(error) for error in errors] == [unetd.errors.Cancelled]
    server.wait_idle()


def test_leaving_the_with_cancels(unetd, server, denoiser):
    with denoiser.start(**LONG) as running:
        next(iter(running))
    with pytest.raises(unetd.errors.Cancelled):
        list(running)
    server.wait_idle()


def test_an_error_of_a_callback_cancels(unetd, server, denoiser):
    running = denoiser.start(**LONG)
    with pytest.raises(ZeroDivisionError):
        running.result(on_progress=lambda _: 1 / 0)
    with pytest.raises(unetd.errors.Cancelled):
        list(running)
    server.wait_idle()


def test_ctrl_c(unetd, server, tmp_path):
    code = f"""
import signal, sys; sys.path.insert(0, {str(unetd.__path__[0])!r} + "/..")
import numpy as np, unetd
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
say = lambda event: print(event.step, flush=True)
unetd.Denoiser({server.address!r}, "digits").denoise(
    num_inference_steps=1000, shape=[8, 1, 16, 16], seeds=range(8), on_progress=say,
    conditions={{"encoder_hidden_states": np.zeros((8, 4, 64))}})
"""
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=err)
        assert process.stdout.readline() == b"0\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)  # reads on: a closed pipe would end it, too
    assert "KeyboardInterrupt" in (tmp_path / "err").read_text()
    server.wait_idle()


def test_timeout(unetd, server, denoiser):
    with pytest.raises(unetd.errors.DeadlineExceeded) as caught:
        denoiser.denoise(**{**LONG, "timeout": 0.5}, progress=False)
    assert isinstance(caught.value, TimeoutError)
    server.wait_idle()


# Errors.


def test_every_status_has_its_class(unetd):
    codes = [one.code for one in unetd.UnetdError.__subclasses__()]
    assert len(codes) == len(set(codes))
    assert {*codes, grpc.StatusCode.OK} == set(grpc.StatusCode)


def test_invalid_argument(unetd, denoiser):
    with pytest.raises(unetd.errors.InvalidArgument, match="'latents'|latents") as caught:
        denoiser.denoise(**{**options(1), "latents": np.zeros((1, 7, 16, 16))}, progress=False)
    assert isinstance(caught.value, ValueError)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.retry_after is None


@pytest.mark.parametrize("model,variant", [("nobody", None), ("digits", "nobody")])
def test_not_found(unetd, server, model, variant):
    with unetd.Denoiser(server.address, model, variant) as denoiser:
        with pytest.raises(unetd.errors.NotFound, match="nobody"):
            denoiser.denoise(**options(1), progress=False)


def test_nobody_listens(unetd):
    retry = unetd.Retry(attempts=2, first_delay=0.01)
    with unetd.Denoiser("127.0.0.1:1", "digits", retry=retry) as denoiser:
        with pytest.raises(unetd.errors.Unavailable) as caught:
            denoiser.step(np.zeros((1, 1, 16, 16)))
        assert isinstance(caught.value, ConnectionError)
        with pytest.raises(unetd.errors.Unavailable):
            denoiser.denoise(**options(1), progress=False)


def test_queue_full(unetd, start):
    server = start(server={"limits": {"queue": 1}})
    with unetd.Denoiser(server.address, "digits") as denoiser:
        loops = [denoiser.start(**LONG) for _ in range(2)]  # one runs, one waits
        wait_for(lambda: server.busy().get("running") == 2, "two loops")
        with pytest.raises(unetd.errors.ResourceExhausted) as caught:
            denoiser.denoise(**options(1), progress=False)
        assert caught.value.retry_after == 0.5  # what Retry goes by
        for loop in loops:
            loop.cancel()
