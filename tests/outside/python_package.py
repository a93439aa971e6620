"""The Python package, installed from what a clone has of it into a folder of the tests'."""

import importlib
import pathlib
import shutil
import subprocess
import sys

from unetd_process import ROOT


def copy_sources(folder):
    """The part of a clone that the package is made from; returns the package's folder."""
    made = shutil.ignore_patterns("services.*", "dist", "__pycache__")
    shutil.copytree(ROOT / "proto", folder / "proto")
    return pathlib.Path(shutil.copytree(ROOT / "client/python", folder / "client/python", ignore=made))


def pip_install(*arguments):
    """Without network: what the package needs is in this environment already."""
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, *map(str, arguments)], check=True)


def import_unetd(folder):
    """Installs the package in `folder` and imports it from there."""
    pip_install(copy_sources(folder / "clone"), "--target", folder / "site")
    sys.path.insert(0, str(folder / "site"))
    return importlib.import_module("unetd")
