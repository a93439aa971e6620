"""Servers for the tests. Each test leaves its server as it found it, and that is checked."""

import signal

import pytest
from goldens import GOLDEN, Call, model_of
from unetd_process import DIGITS, EXECUTABLE, PATIENCE, Unetd
from wire import Api, infer_request, out_sample

PROCESSORS = {
    "math": "AttnProcessor",
    "fused": "FusedAttnProcessor2_0",
    "sliced": "SlicedAttnProcessor",
}


def variants(**weights):
    """Variants of one model: the default processors, and one each of the others."""
    listed = [{"name": "sdpa", "weight": weights.get("sdpa", 1)}]
    for name, processor in PROCESSORS.items():
        rule = {"layers": "*", "processor": processor}
        if name == "sliced":
            rule["slice_size"] = 1
        listed.append({"name": name, "weight": weights.get(name, 1), "processors": [rule]})
    return listed


def pytest_configure():
    if not EXECUTABLE.exists():
        pytest.exit(f"{EXECUTABLE} is not there: build it, or say where with UNETD_BUILD_DIR", 2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for server in Unetd.alive:
            report.sections.append((f"log of unetd {server.process.pid}", server.log()[-8000:]))


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """The server of most tests: the digits, the same with every processor, and all golden UNets."""
    folder = tmp_path_factory.mktemp("shared")
    goldens = sorted(path.name for path in (GOLDEN / "unet").iterdir())
    models = [DIGITS, {**DIGITS, "name": "variants", "variants": variants()}]
    models += [model_of(name) for name in goldens]
    server = Unetd(folder, models)
    yield server
    assert server.stop() == 0, server.log()[-8000:]


@pytest.fixture
def server(shared):
    yield shared
    shared.close_clients()
    shared.wait_idle()
    assert shared.process.poll() is None


@pytest.fixture
def client(server):
    return server.triton()


@pytest.fixture
def stub(server):
    return server.stub()


@pytest.fixture
def api(server):
    return Api(server.channel())


@pytest.fixture(scope="session")
def leaving():
    """Servers that were told to end, by the test's name; nobody waits for them but the last test."""
    servers = []
    yield servers
    try:
        codes = {name: server.wait_exit() for name, server in servers}
    finally:
        for _, server in servers:
            server.kill()
    bad = {name: code for name, code in codes.items() if code not in (0, -signal.SIGKILL)}
    assert not bad  # a test may have killed its server; any other end is a fault


@pytest.fixture
def start(tmp_path_factory, leaving, request):
    """Starts servers of the test's own."""

    def start(*arguments, **options):
        server = Unetd(tmp_path_factory.mktemp("unetd"), *arguments, **options)
        leaving.append((f"{request.node.name} {len(leaving)}", server))
        started.append(server)
        return server

    started = []
    yield start
    for server in started:
        server.close_clients()
        if server in Unetd.alive:
            Unetd.alive.remove(server)
        if server.process.poll() is None:
            server.signal(signal.SIGTERM)


@pytest.fixture(scope="session")
def digit():
    """One forward of the digits model, two rows."""
    return Call(GOLDEN / "digits" / "forward.safetensors")


@pytest.fixture
def request_(digit):
    return infer_request("digits", digit.inputs)


@pytest.fixture(scope="session")
def right_bits(shared, digit):
    bits = out_sample(shared.stub().ModelInfer(infer_request("digits", digit.inputs))).tobytes()
    shared.close_clients()
    return bits


@pytest.fixture
def still_right(server, digit, right_bits):
    """Whatever came before: a good request gets the same bits as ever."""
    yield
    answer = server.stub().ModelInfer(infer_request("digits", digit.inputs), timeout=PATIENCE)
    assert out_sample(answer).tobytes() == right_bits
