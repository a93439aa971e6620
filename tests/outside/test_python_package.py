"""The Python package as pip installs it, from a clone, an editable clone and a source distribution."""

import subprocess
import sys
import zipfile

import pytest
from google.protobuf import descriptor_pool
from python_package import copy_sources, pip_install

# Prints where the package is from, and reads the messages.
USE = "import unetd; unetd.errors._protocol.message('unetd.v1.StepRequest'); print(unetd.__file__)"


def use(folder, code=USE):
    """Runs it with the packages of `folder`; returns the completed process."""
    return subprocess.run(
        [sys.executable, "-c", f"import site; site.addsitedir({str(folder)!r}); {code}"], capture_output=True, text=True
    )


@pytest.fixture
def clone(tmp_path):
    return copy_sources(tmp_path / "clone")


def test_install(clone, tmp_path):
    pip_install(clone, "--target", tmp_path / "site")
    installed = tmp_path / "site" / "unetd"
    assert (installed / "py.typed").exists()
    assert use(tmp_path / "site").stdout.strip() == str(installed / "__init__.py")


def test_editable_install(clone, tmp_path):
    pip_install("--editable", clone, "--prefix", tmp_path)
    (site,) = tmp_path.glob("lib/*/site-packages")
    assert use(site).stdout.strip() == str(clone / "src" / "unetd" / "__init__.py")


def test_source_distribution(clone, tmp_path):
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist"], cwd=clone, check=True)
    (archive,) = (clone / "dist").glob("*.tar.gz")
    pip_install(archive, "--target", tmp_path / "site")
    assert use(tmp_path / "site").returncode == 0


def test_messages_of_this_clone(clone, tmp_path):
    """What an earlier build left is made again."""
    left = clone / "src" / "unetd" / "services.binpb"
    left.write_bytes(b"of yesterday")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=clone, check=True)
    (wheel,) = (clone / "dist").glob("*.whl")
    assert b"StepRequest" in zipfile.ZipFile(wheel).read("unetd/services.binpb")


def test_only_the_remote_unet_needs_torch(clone, tmp_path):
    pip_install(clone, "--target", tmp_path / "site")
    blocked = "import sys; sys.modules['torch'] = sys.modules['diffusers'] = None; "
    assert use(tmp_path / "site", blocked + USE).returncode == 0
    assert "torch" in use(tmp_path / "site", blocked + "from unetd import RemoteUNet").stderr


def test_beside_tritonclient(clone, tmp_path):
    """Both have messages of the same names; the package keeps its own to itself."""
    pip_install(clone, "--target", tmp_path / "site")
    both = "import tritonclient.grpc; " + USE + "; unetd.errors._protocol.message('inference.ModelInferRequest')"
    done = use(tmp_path / "site", both)
    assert done.returncode == 0, done.stderr
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("unetd.v1.StepRequest")
