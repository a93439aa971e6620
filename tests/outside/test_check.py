"""The command line and `--check`: what is wrong with a config is said at once, naming where."""

import json

import pytest
from conftest import PROCESSORS, variants
from goldens import model_of
from unetd_process import DIGITS, ROOT, assert_refused, check, run_unetd


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
    "conv": ({"models": [{**DIGITS, "conv": "fast"}]}, ["models[0].conv", "'winograd'", "'fast'"]),
    "conv of another kind": ({"models": [{**DIGITS, "conv": 3}]}, ["models[0].conv"]),
    "conv of the backend": (
        {"backends": [{"name": "cpu", "options": {"conv": "auto"}}], "models": [DIGITS]},
        ["backends[0]", "conv", "threads or isa"],
    ),
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
    assert_refused(tmp_path, config, *words)


def test_duplicate_keys(tmp_path):
    text = json.dumps({"models": [DIGITS]})
    assert_refused(tmp_path, text[:-1] + ', "models": []}', "models")


def test_byte_order_mark(tmp_path):
    assert_refused(tmp_path, "\ufeff" + json.dumps({"models": [DIGITS]}), "byte order mark")
