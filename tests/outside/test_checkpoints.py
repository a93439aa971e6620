"""Damaged checkpoints, schedulers and plugins: refused at load, naming file and tensor."""

import json
import shutil
import struct

import numpy as np
import pytest
from goldens import GOLDEN, read_safetensors, write_safetensors
from unetd_process import BUILD, DIGITS, assert_refused, check, run_unetd, write_config

CPU = BUILD / "lib" / "unetd" / "cpu.so"
ONE_LEVEL = GOLDEN / "unet" / "one_level"


@pytest.fixture
def folder(tmp_path):
    copied = tmp_path / "unet"
    shutil.copytree(ONE_LEVEL, copied)
    return copied


def refused_model(tmp_path, folder, *words):
    assert_refused(tmp_path, {"models": [{"name": "model", "path": str(folder)}]}, "models[0]", *words)


def change_weights(folder, change):
    path = folder / "diffusion_pytorch_model.safetensors"
    path.write_bytes(change(path.read_bytes()))
    return path


def test_the_copy_is_good(tmp_path, folder):
    assert check(tmp_path, {"models": [{"name": "model", "path": str(folder)}]}).returncode == 0


@pytest.mark.parametrize("size", [0, 7, 8, 100, 5000])
def test_truncated_weights(tmp_path, folder, size):
    path = change_weights(folder, lambda data: data[:size])
    refused_model(tmp_path, folder, path.name)


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**40, 3])
def test_header_length(tmp_path, folder, length):
    path = change_weights(folder, lambda data: struct.pack("<Q", length) + data[8:])
    refused_model(tmp_path, folder, path.name)


def test_trailing_bytes(tmp_path, folder):
    path = change_weights(folder, lambda data: data + b"more")
    refused_model(tmp_path, folder, path.name)


def test_missing_and_misshapen_tensors(tmp_path, folder):
    path = folder / "diffusion_pytorch_model.safetensors"
    tensors, _ = read_safetensors(path)
    name = "mid_block.resnets.0.conv1.weight"
    rest = {key: value for key, value in tensors.items() if key != name}
    write_safetensors(path, rest)
    refused_model(tmp_path, folder, path.name, f"missing tensor '{name}'")
    write_safetensors(path, {**rest, name: tensors[name][:, :-1]})
    refused_model(tmp_path, folder, path.name, f"tensor '{name}'", "[16,15,3,3]")
    write_safetensors(path, {**rest, name: tensors[name].astype(np.int32)})
    refused_model(tmp_path, folder, str(folder), f"'{name}'", "is int32")


def test_overlapping_tensors(tmp_path, folder):
    def overlap(data):
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        first, second = [key for key in header if key != "__metadata__"][:2]
        length = header[second]["data_offsets"][1] - header[second]["data_offsets"][0]
        begin = header[first]["data_offsets"][0]
        header[second]["data_offsets"] = [begin, begin + length]
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + size :]

    path = change_weights(folder, overlap)
    refused_model(tmp_path, folder, path.name)


def test_pickle_files_are_refused_with_advice(tmp_path, folder):
    (folder / "diffusion_pytorch_model.safetensors").rename(folder / "diffusion_pytorch_model.bin")
    refused_model(tmp_path, folder, "pickle", "safe_serialization=True")


def test_no_weights(tmp_path, folder):
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    refused_model(tmp_path, folder, str(folder), "diffusion_pytorch_model[.variant].safetensors")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"_class_name": "AutoencoderKL"}', '{"in_channels": -1}'])
def test_broken_unet_config(tmp_path, folder, text):
    (folder / "config.json").write_text(text)
    refused_model(tmp_path, folder, "config.json")


def test_broken_scheduler(tmp_path):
    path = tmp_path / "scheduler_config.json"
    path.write_text('{"_class_name": "DDIMScheduler", "beta_start": "small"}')
    config = {"models": [{**DIGITS, "scheduler": str(path)}]}
    assert_refused(tmp_path, config, "models[0]", "beta_start")
    assert_refused(tmp_path, {"models": [{**DIGITS, "scheduler": str(tmp_path / "nothing")}]}, "models[0]", "nothing")


# Plugins that are none.


def plugin(tmp_path, make):
    library = tmp_path / "odd.so"
    make(library)
    config = {"backends": [{"name": "cpu"}, {"name": "odd", "library": str(library)}], "models": [DIGITS]}
    assert_refused(tmp_path, config, "odd.so")


PLUGINS = {
    "missing": lambda path: None,
    "text": lambda path: path.write_text("not a library"),
    "empty": lambda path: path.write_bytes(b""),
    "a folder": lambda path: path.mkdir(),
    "first bytes of one": lambda path: path.write_bytes(CPU.read_bytes()[:40]),
    "no backend": lambda path: shutil.copy("/lib/x86_64-linux-gnu/libm.so.6", path),
    "world-writable": lambda path: (shutil.copy(CPU, path), path.chmod(0o777)),
}


@pytest.mark.parametrize("name", PLUGINS)
def test_plugin(tmp_path, name):
    plugin(tmp_path, PLUGINS[name])


def test_empty_plugin_folder(tmp_path):
    config = write_config(tmp_path, {"models": [DIGITS]})
    done = run_unetd("--check", "--config", config, "--plugin-dir", tmp_path)
    assert done.returncode == 1
    assert "cpu" in done.stderr
