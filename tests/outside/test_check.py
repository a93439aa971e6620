"""The command line and `--check`: what is wrong is said at once, naming where."""

import json
import shutil
import struct

import numpy as np
import pytest
from conftest import PROCESSORS, variants
from goldens import GOLDEN, model_of, read_safetensors, write_safetensors
from unetd_process import BUILD, DIGITS, ROOT, run_unetd, write_config

CPU = BUILD / "lib" / "unetd" / "cpu.so"
ONE_LEVEL = GOLDEN / "unet" / "one_level"


def check(tmp_path, config):
    return run_unetd("--check", "--config", write_config(tmp_path, config))


def refused(tmp_path, config, *words):
    """Exit 1, one line on stderr that holds these words, and nothing on stdout."""
    done = check(tmp_path, config)
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("unetd: ")
    for word in words:
        assert word in line
    assert len(line) < 2000 and line.isprintable()


# The command line.


def test_help():
    done = run_unetd("--help")
    assert done.returncode == 0
    for word in ("--config", "--check", "--plugin-dir", "--version", "digits"):
        assert word in done.stdout


def test_version():
    done = run_unetd("--version")
    assert done.returncode == 0
    assert done.stdout.strip().startswith("unetd ")
    assert done.stdout.count(".") == 2


@pytest.mark.parametrize("arguments", [["--nothing"], ["--config"], ["stray"]])
def test_wrong_arguments(arguments):
    done = run_unetd(*arguments)
    assert done.returncode not in (0, 1)
    assert "--help" in done.stderr


# A good config.


def test_check_prints_every_binding(tmp_path):
    models = [{**DIGITS, "variants": variants(sdpa=97)}, model_of("sdxl")]
    done = check(tmp_path, {"models": models})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    text = done.stdout
    assert "model 'digits': UNet2DConditionModel" in text
    assert "model 'sdxl': UNet2DConditionModel" in text
    assert "variant 'sdpa': 97.0 % of the requests, 14 layers" in text
    layers = [line for line in text.splitlines() if "attn1" in line or "attn2" in line]
    assert sum("by default" in line for line in layers) >= 14
    for number, processor in enumerate(PROCESSORS.values(), 1):
        mine = [line for line in layers if f"by models[0].variants[{number}].processors[0]" in line]
        assert len(mine) == 14
        assert all(f"  {processor}" in line and "on cpu" in line for line in mine)
    assert "slice_size=1" in text
    assert text.count("kernel: ") >= 4 * 14
    assert "plan 16x16" in text
    assert "domain host" in text


def test_example_configs_parse(tmp_path):
    """What the examples name is not there; they must get as far as looking for it."""
    for example in sorted((ROOT / "config" / "examples").glob("*.json")):
        done = run_unetd("--check", "--config", example)
        if done.returncode:
            assert "unknown key" not in done.stderr
            assert "backend" in done.stderr or "models[0]" in done.stderr


# Configs that are not.

NOT_JSON = {
    "empty": "",
    "truncated": '{"models": [{"name": "digits"',
    "comment": '{"models": [] /* none */}',
    "trailing comma": '{"models": [],}',
    "deep": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "huge number": '{"server": {"limits": {"queue": 1e400}}}',
    "invalid UTF-8": b'{"models": "\xff\xfe"}',
    "NaN": '{"server": {"limits": {"queue": NaN}}}',
    "two values": "{} {}",
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_not_json(tmp_path, name):
    path = tmp_path / "bad.json"
    text = NOT_JSON[name]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = run_unetd("--check", "--config", path)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert len(done.stderr) < 2000


def test_no_such_file(tmp_path):
    for path in (tmp_path / "nothing.json", tmp_path, "/dev/zero"):
        done = run_unetd("--check", "--config", path)
        assert done.returncode == 1
        assert str(path) in done.stderr


def rule(**changes):
    return {"layers": "*", "processor": "AttnProcessor", **changes}


def with_rules(*rules, **model):
    return {"models": [{**DIGITS, "variants": [{"name": "one", "processors": list(rules)}], **model}]}


def with_variants(*listed):
    return {"models": [{**DIGITS, "variants": list(listed)}]}


FIRST = "models[0].variants[0].processors[0]"
CONFIGS = {
    "no models": ({}, ["models"]),
    "empty models": ({"models": []}, ["models"]),
    "model without a name": ({"models": [{"path": "x"}]}, ["models[0]", "name"]),
    "model without a path": ({"models": [{"name": "x"}]}, ["models[0]", "path"]),
    "same name twice": ({"models": [DIGITS, DIGITS]}, ["models[1].name", "'digits'"]),
    "odd name": ({"models": [{**DIGITS, "name": "../x"}]}, ["models[0].name", "'../x'"]),
    "unknown key": ({"modles": []}, ["modles", "models"]),
    "unknown server key": ({"server": {"adress": "x:1"}, "models": [DIGITS]}, ["server", "adress", "address"]),
    "unknown model key": ({"models": [{**DIGITS, "sheduler": "x"}]}, ["models[0]", "sheduler", "scheduler"]),
    "TLS comes later": ({"server": {"tls": {}}, "models": [DIGITS]}, ["server", "tls"]),
    "address": ({"server": {"address": "8001"}, "models": [DIGITS]}, ["server.address", "'8001'"]),
    "port": ({"server": {"address": "127.0.0.1:70000"}, "models": [DIGITS]}, ["server.address"]),
    "same address": (
        {"server": {"address": "127.0.0.1:9", "http_address": "127.0.0.1:9"}, "models": [DIGITS]},
        ["server.http_address"],
    ),
    "queue of zero": ({"server": {"limits": {"queue": 0}}, "models": [DIGITS]}, ["server.limits.queue", "got 0"]),
    "message too large": (
        {"server": {"limits": {"message_mib": 4096}}, "models": [DIGITS]},
        ["server.limits.message_mib", "4096"],
    ),
    "negative drain": ({"server": {"limits": {"drain_s": -1}}, "models": [DIGITS]}, ["server.limits.drain_s"]),
    "memory too small": ({"server": {"limits": {"memory_mib": 1}}, "models": [DIGITS]}, ["models[0]", "1.0 MiB"]),
    "log format": ({"server": {"log_format": "xml"}, "models": [DIGITS]}, ["server.log_format", "'xml'"]),
    "dtype": ({"models": [{**DIGITS, "dtype": "int8"}]}, ["models[0].dtype", "'int8'"]),
    "max_batch": ({"models": [{**DIGITS, "max_batch": 0}]}, ["models[0].max_batch"]),
    "shapes": ({"models": [{**DIGITS, "shapes": [[16, 0]]}]}, ["models[0].shapes[0]"]),
    "huge shapes": (
        {"server": {"limits": {"memory_mib": 256}}, "models": [{**DIGITS, "shapes": [[4096, 4096]]}]},
        ["models[0]"],
    ),
    "backend of a model": ({"models": [{**DIGITS, "backend": "nobody"}]}, ["models[0].backend", "'nobody'"]),
    "backend without a library": (
        {"backends": [{"name": "cpu"}, {"name": "nobody"}], "models": [DIGITS]},
        ["backends[1]", "nobody"],
    ),
    "backend twice": ({"backends": [{"name": "cpu"}, {"name": "cpu"}], "models": [DIGITS]}, ["backends[1].name"]),
    "backend option": (
        {"backends": [{"name": "cpu", "options": {"threds": 2}}], "models": [DIGITS]},
        ["backends[0]", "threds"],
    ),
    "threads": ({"backends": [{"name": "cpu", "options": {"threads": "many"}}], "models": [DIGITS]}, ["threads"]),
    # Variants.
    "weight below zero": (with_variants({"name": "a", "weight": -1}), ["models[0].variants[0].weight", "-1"]),
    "weights of zero": (with_variants({"name": "a", "weight": 0}), ["models[0].variants", "sum"]),
    "weights beyond a double": (
        with_variants({"name": "a", "weight": 1e308}, {"name": "b", "weight": 1e308}),
        ["models[0].variants", "sum"],
    ),
    "variant twice": (with_variants({"name": "a"}, {"name": "a"}), ["models[0].variants[1].name", "'a'"]),
    "variant without a name": (with_variants({}), ["models[0].variants[0]", "name"]),
    # Rules.
    "unknown processor": (with_rules(rule(processor="AttnProcesor")), [FIRST, "AttnProcesor", "AttnProcessor"]),
    "rule that matches nothing": (with_rules(rule(layers="down_blocks.7.*")), [FIRST, "down_blocks.7.*"]),
    "regex that would blow up": (with_rules(rule(layers="(a+)+$" + "*a" * 500)), [FIRST]),
    "no layers": (with_rules({"processor": "AttnProcessor"}), [FIRST, "layers"]),
    "unknown option": (with_rules(rule(slize_size=1)), [FIRST, "slize_size"]),
    "option of another processor": (with_rules(rule(slice_size=1)), [FIRST, "slice_size"]),
    "slice_size missing": (with_rules(rule(processor="SlicedAttnProcessor")), [FIRST, "slice_size"]),
    "slice_size of zero": (with_rules(rule(processor="SlicedAttnProcessor", slice_size=0)), [FIRST, "slice_size"]),
    "slice_size of text": (with_rules(rule(processor="SlicedAttnProcessor", slice_size="1")), [FIRST, "slice_size"]),
    "backend of a rule": (with_rules(rule(backend="nobody")), [FIRST, "nobody"]),
    "fallback": (with_rules(rule(fallback="math")), [FIRST, "fallback", "'math'"]),
    "processor for other layers": (
        with_rules(rule(processor="AttnAddedKVProcessor")),
        [FIRST, "AttnAddedKVProcessor"],
    ),
    "second rule": (with_rules(rule(), rule(processor="X")), ["models[0].variants[0].processors[1]", "'X'"]),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_config_errors(tmp_path, name):
    config, words = CONFIGS[name]
    refused(tmp_path, config, *words)


def test_duplicate_keys(tmp_path):
    text = json.dumps({"models": [DIGITS]})
    refused(tmp_path, text[:-1] + ', "models": []}', "models")


def test_byte_order_mark(tmp_path):
    refused(tmp_path, "\ufeff" + json.dumps({"models": [DIGITS]}), "byte order mark")


# Checkpoints that are damaged.


@pytest.fixture
def folder(tmp_path):
    copied = tmp_path / "unet"
    shutil.copytree(ONE_LEVEL, copied)
    return copied


def refused_model(tmp_path, folder, *words):
    refused(tmp_path, {"models": [{"name": "model", "path": str(folder)}]}, "models[0]", *words)


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
    refused_model(tmp_path, folder, str(folder), f"missing tensor '{name}'")
    write_safetensors(path, {**rest, name: tensors[name][:, :-1]})
    refused_model(tmp_path, folder, str(folder), f"tensor '{name}'", "[16,15,3,3]")
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
    refused(tmp_path, config, "models[0]", "beta_start")
    refused(tmp_path, {"models": [{**DIGITS, "scheduler": str(tmp_path / "nothing")}]}, "models[0]", "nothing")


# Plugins that are none.


def plugin(tmp_path, make):
    library = tmp_path / "odd.so"
    make(library)
    config = {"backends": [{"name": "cpu"}, {"name": "odd", "library": str(library)}], "models": [DIGITS]}
    refused(tmp_path, config, "odd.so")


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
