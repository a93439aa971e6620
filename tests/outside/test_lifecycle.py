"""How it starts and ends: signals, draining, ports, restarts."""

import resource
import signal
import socket
import threading

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2
from unetd_process import BUILD, DIGITS, EXECUTABLE, PATIENCE, ROOT, SANITIZED, run_unetd, slow_to_load, wait_for, write_config
from wire import Api, array_of, infer, infer_request, out_sample, refusal

CODE = grpc.StatusCode
LOADING = slow_to_load(288)


def denoising(server, steps):
    """A loop that has begun."""
    states = {"encoder_hidden_states": np.zeros((4, 4, 64), np.float32)}
    fields = {"shape": [4, 1, 16, 16], "seeds": range(4), "num_inference_steps": steps}
    call = Api(server.channel()).denoise(model="digits", conditions=states, **fields)
    assert next(call).HasField("accepted")
    return call


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_when_idle(start, number):
    server = start()
    server.signal(number)
    assert server.wait_exit() == 0
    assert f"stopping: {number.name}" in server.log()
    assert server.log().rstrip().endswith("stopped")


def test_what_runs_is_finished_and_nothing_new_is_taken(start, digit):
    server = start()
    stub = server.stub()
    stub.ServerLive(service_pb2.ServerLiveRequest())  # connected before it closes its door
    call = denoising(server, 50 if SANITIZED else 300)
    waiting = [stub.ModelInfer.future(infer_request("digits", digit.inputs)) for _ in range(3)]
    wait_for(lambda: server.metric("nv_inference_request_success") >= 1, "the first answer")
    server.signal(signal.SIGTERM)
    wait_for(lambda: server.get("/v2/health/ready")[0] == 503, "not ready")
    assert server.get("/v2/health/live")[0] == 200
    assert not stub.ServerReady(service_pb2.ServerReadyRequest()).ready
    code, message = refusal(stub.ModelInfer, infer_request("digits", digit.inputs))
    assert code == CODE.UNAVAILABLE
    assert "stopping" in message
    assert list(call)[-1].HasField("result")
    assert all(one.result(timeout=PATIENCE).outputs for one in waiting)
    assert server.wait_exit() == 0
    assert server.log().rstrip().endswith("stopped")


@pytest.mark.parametrize("twice", [False, True])
def test_drain_has_a_limit(start, twice):
    server = start(server={"limits": {"drain_s": 0.5}})
    call = denoising(server, 1000)
    server.signal(signal.SIGTERM)
    if twice:
        server.signal(signal.SIGTERM)
    code, message = refusal(lambda: call)
    assert code == CODE.UNAVAILABLE
    assert "stopping" in message
    assert server.wait_exit() == 0
    assert "some requests were cancelled" in server.log()


def test_open_stream_at_the_end(start, digit):
    """A stream that its client holds open keeps nobody alive."""
    server = start(server={"limits": {"drain_s": 1}})
    hold = threading.Event()

    def messages():
        yield infer_request("digits", digit.inputs)
        hold.wait(PATIENCE)

    call = server.stub().ModelStreamInfer(messages())
    assert next(call).infer_response.outputs
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    hold.set()
    refusal(lambda: call)


def test_while_loading(start, digit):
    server = start([LOADING], wait="listening")
    stub = server.stub()
    assert stub.ServerLive(service_pb2.ServerLiveRequest()).live
    assert not stub.ServerReady(service_pb2.ServerReadyRequest()).ready
    assert not stub.ModelReady(service_pb2.ModelReadyRequest(name="digits")).ready
    code, message = refusal(stub.ModelInfer, infer_request("digits", digit.inputs))
    assert code == CODE.UNAVAILABLE
    assert "'digits' is not at ready state" in message
    (model,) = stub.RepositoryIndex(service_pb2.RepositoryIndexRequest()).models
    assert (model.name, model.state) == ("digits", "LOADING")
    assert not stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(ready=True)).models
    api = Api(server.channel())
    assert not api.call("Admin", "ListModels")(api.message("ListModelsRequest")()).models
    assert "unetd_ready 0" in server.metrics()
    assert server.get("/v2/health/ready")[0] == 503, "it was ready too soon for this test"
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert "ready: " not in server.log()


def test_load_that_fails(tmp_path):
    server = {"address": "127.0.0.1:0", "http_address": "127.0.0.1:0"}
    models = [DIGITS, {"name": "missing", "path": str(tmp_path / "nothing")}]
    done = run_unetd("--config", write_config(tmp_path, {"server": server, "models": models}))
    assert done.returncode == 1
    assert "listening on" in done.stderr
    assert "models[1]" in done.stderr
    assert str(tmp_path / "nothing") in done.stderr


def test_strange_signals_are_ignored(start, digit):
    server = start()
    for number in (signal.SIGUSR1, signal.SIGPIPE):
        server.signal(number)
    assert infer(server.triton(), "digits", digit.inputs).shape == digit.output.shape
    loading = start([LOADING], wait="listening")
    loading.signal(signal.SIGUSR1)
    wait_for(lambda: loading.get("/v2/health/ready")[0] == 200, "ready")


@pytest.mark.parametrize("key", ["address", "http_address"])
def test_port_in_use(tmp_path, key):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = {"address": "127.0.0.1:0", "http_address": "127.0.0.1:0", key: address}
        done = run_unetd("--config", write_config(tmp_path, {"server": server, "models": [DIGITS]}))
    assert done.returncode == 1
    assert f"server.{key}: cannot listen on '{address}'" in done.stderr


def test_two_servers_do_not_share_a_port(start, tmp_path):
    first = start()
    server = {"address": first.address, "http_address": "127.0.0.1:0"}
    done = run_unetd("--config", write_config(tmp_path, {"server": server, "models": [DIGITS]}))
    assert done.returncode == 1
    assert "server.address" in done.stderr


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_restart_on_the_same_port_gives_the_same_bits(start, digit, end):
    first = start()
    request = infer_request("digits", digit.inputs)
    stub = first.stub(("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200))
    bits = out_sample(stub.ModelInfer(request)).tobytes()
    first.process.send_signal(end)
    first.wait_exit()
    second = start(server={"address": first.address, "http_address": first.http_address})
    assert second.address == first.address
    # The same channel finds the new process.
    assert out_sample(stub.ModelInfer(request, wait_for_ready=True, timeout=PATIENCE)).tobytes() == bits


def test_restart_gives_the_same_loop(start):
    samples = set()
    for _ in range(2):
        last = list(denoising(start(), 5))[-1]
        samples.add(array_of(last.result.sample).tobytes())
    assert len(samples) == 1


def test_ipv6(start, digit):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    server = start(server={"address": "[::1]:0"})
    assert server.address.startswith("[::1]:") and not server.address.endswith(":0")
    assert infer(server.triton(), "digits", digit.inputs).shape == digit.output.shape


def test_ipv6_of_the_http_port(tmp_path):
    """Debian's civetweb has none: said so rather than guessed at."""
    server = {"address": "127.0.0.1:0", "http_address": "[::1]:0"}
    done = run_unetd("--config", write_config(tmp_path, {"server": server, "models": [DIGITS]}))
    assert done.returncode == 1
    assert "server.http_address" in done.stderr and "IPv6" in done.stderr


def test_many_connections(digit, start):
    """The soft limit of descriptors that a shell gives is raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (96, hard))
    try:
        server = start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    host, port = server.address.rsplit(":", 1)
    connections = [socket.create_connection((host, int(port))) for _ in range(200)]
    assert infer(server.triton(), "digits", digit.inputs).shape == digit.output.shape
    for connection in connections:
        connection.close()


def test_shipped_config():
    """Without --config: the digits, wherever the build lies in the source tree."""
    done = run_unetd("--check", cwd="/")
    if BUILD.parent == ROOT:
        assert done.returncode == 0, done.stderr
        assert "model 'digits'" in done.stdout
    else:
        assert done.returncode == 1
        assert "--config" in done.stderr


def test_paths_are_relative_to_the_config(tmp_path):
    (tmp_path / "digits").symlink_to(ROOT / "config/digits")
    config = write_config(tmp_path, {"models": [{"name": "digits", "path": "digits/unet"}]})
    done = run_unetd("--check", "--config", config, cwd="/")
    assert done.returncode == 0, done.stderr
    assert EXECUTABLE.is_absolute()
