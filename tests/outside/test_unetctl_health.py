"""unetctl health: what health checks of containers run."""

import socket
import subprocess

import pytest
from unetd_process import BUILD, PATIENCE, slow_to_load

UNETCTL = BUILD / "bin" / "unetctl"


def health(address, *arguments):
    return subprocess.run(
        [UNETCTL, "--address", address, "health", *arguments], capture_output=True, text=True, timeout=2 * PATIENCE
    )


@pytest.fixture
def held():
    """A port where nobody listens, held so that no other program gets it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held


@pytest.fixture
def nobody(held):
    return "127.0.0.1:%d" % held.getsockname()[1]


@pytest.mark.parametrize("arguments", [[], ["--service", "unetd.v1.Denoiser"], ["--wait", "10"]])
def test_a_server_that_serves(server, arguments):
    done = health(server.address, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "SERVING\n", "")


def test_a_service_that_is_not_there(server):
    done = health(server.address, "--service", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("unetctl: NOT_FOUND: ") and len(done.stderr.splitlines()) == 1


def test_nobody_there(nobody):
    done = health(nobody)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"unetctl: no answer from {nobody}: UNAVAILABLE: ")
    waited = health(nobody, "--wait", "0.3")
    assert waited.returncode == 1 and waited.stderr.endswith(", after 0.3 s\n")


def test_a_server_that_loads(start):
    server = start([slow_to_load(192)], wait="listening")
    done = health(server.address)
    assert (done.returncode, done.stderr) == (1, "unetctl: NOT_SERVING\n")
    assert health(server.address, "--wait", str(PATIENCE)).returncode == 0


def test_waiting_from_before_the_server_is_there(start, held, nobody):
    waiting = subprocess.Popen(
        [UNETCTL, "--address", nobody, "health", "--wait", str(PATIENCE)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(1)  # nobody is there: it does not give up
    held.close()
    server = start(server={"address": nobody}, wait=None)
    out, _ = waiting.communicate(timeout=PATIENCE)
    assert (waiting.returncode, out) == (0, "SERVING\n"), server.log()


def test_a_mistake_ends_with_2():
    assert health("127.0.0.1:1", "--wait", "long").returncode == 2
    assert health("127.0.0.1:1", "--wait", "-1").returncode == 2
