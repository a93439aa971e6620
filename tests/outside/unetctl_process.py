"""Runs the command-line client; its tests' server."""

import subprocess

import pytest
from unetd_process import BUILD, DIGITS, ROOT, Unetd

UNETCTL = BUILD / "bin" / "unetctl"
CONDITIONS = ["--conditions", str(ROOT / "config/digits/conditions.safetensors")]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A server with the digits model alone, in two variants that give the same bits or nearly so."""
    sliced = {"layers": "*", "processor": "SlicedAttnProcessor", "slice_size": 1}
    variants = [{"name": "baseline"}, {"name": "sliced", "processors": [sliced]}]
    unetd = Unetd(tmp_path_factory.mktemp("unetctl"), models=[{**DIGITS, "variants": variants}])
    yield unetd
    assert unetd.stop() == 0, unetd.log()


def command(server, *arguments):
    address = server if isinstance(server, str) else server.address
    return [UNETCTL, "--address", address, *map(str, arguments)]


def unetctl(server, *arguments):
    return subprocess.run(
        command(server, *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
