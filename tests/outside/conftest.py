"""Servers for the tests. Each test leaves its server as it found it, and that is checked."""

import signal

import pytest
from goldens import GOLDEN, Call, model_of
from unetd_process import DIGITS, EXECUTABLE, Unetd
from wire import Api

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


@pytest.fixture
def start(tmp_path_factory):
    """Starts servers of the test's own; they must all end well."""
    started = []

    def start(*arguments, **options):
        started.append(Unetd(tmp_path_factory.mktemp("unetd"), *arguments, **options))
        return started[-1]

    yield start
    for server in started:
        server.close_clients()
        if server.process.poll() is None:
            server.signal(signal.SIGTERM)
    try:
        codes = [server.wait_exit() for server in started]
    finally:
        for server in started:
            server.kill()
    assert all(code in (0, -signal.SIGKILL) for code in codes), codes  # a test may kill its server


@pytest.fixture(scope="session")
def digit():
    """One forward of the digits model, two rows."""
    return Call(GOLDEN / "digits" / "forward.safetensors")
