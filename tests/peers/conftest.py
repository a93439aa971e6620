"""One server of golden UNets for diffusers' pipelines, and the Python package that reaches it."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "outside"))
from goldens import model_of  # noqa: E402
from python_package import import_unetd  # noqa: E402
from unetd_process import Unetd  # noqa: E402

MATH = [{"layers": "*", "processor": "AttnProcessor"}]
VARIANTS = [{"name": "baseline"}, {"name": "math", "weight": 0, "processors": MATH}]
MODELS = ["sd15", "sdxl", "inpaint", "gligen", "lcm", "class_labels", "masks"]


@pytest.fixture(scope="session")
def unetd(tmp_path_factory):
    return import_unetd(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Unetd(tmp_path_factory.mktemp("server"), [model_of(name, variants=VARIANTS) for name in MODELS])
    yield server
    assert server.stop() == 0, server.log()[-8000:]


@pytest.fixture
def remote(unetd, server):
    """remote("sd15") is the golden UNet on the server; further arguments are RemoteUNet's."""
    made = []

    def remote(name, *arguments, **options):
        made.append(unetd.RemoteUNet(server.address, name, *arguments, **options))
        return made[-1]

    yield remote
    for unet in made:
        unet.close()
