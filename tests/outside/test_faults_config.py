"""Configs written to hurt: odd JSON, odd patterns, odd weights. Refused with the path, or served."""

import json

import pytest
from unetd_process import DIGITS, assert_refused, check, run_unetd

# JSON.


def with_limit(value):
    return '{"server": {"limits": {"queue": %s}}, "models": [%s]}' % (value, json.dumps(DIGITS))


HUGE = ["1e400", "-1e400", "9" * 400, "1e308", "18446744073709551616", "-9223372036854775809"]


@pytest.mark.parametrize("value", HUGE, ids=lambda value: value[:12])
def test_huge_numbers(tmp_path, value):
    assert_refused(tmp_path, with_limit(value), "unetd.json")


@pytest.mark.parametrize("value", ["4.5", '"4"', "true", "null", "[]", "{}", "-0.0"])
def test_numbers_of_the_wrong_kind(tmp_path, value):
    assert_refused(tmp_path, with_limit(value), "server.limits.queue")


NESTED_TWICE = {
    "server": '{"server": {"log_format": "text", "log_format": "json"}, "models": []}',
    "limits": '{"server": {"limits": {"queue": 1, "queue": 2}}, "models": []}',
    "variants": '{"models": [{"name": "a", "path": "b", "variants": [{"name": "c", "name": "d"}]}]}',
    "processors": '{"models": [{"variants": [{"processors": [{"layers": "*", "layers": "*"}]}]}]}',
}


@pytest.mark.parametrize("name", NESTED_TWICE)
def test_keys_twice_at_any_depth(tmp_path, name):
    assert_refused(tmp_path, NESTED_TWICE[name], name)


def rule(**changes):
    return {"layers": "*", "processor": "AttnProcessor", **changes}


def with_rules(*rules):
    return {"models": [{**DIGITS, "variants": [{"name": "one", "processors": list(rules)}]}]}


UNKNOWN = {
    "": {"nobody": 1},
    "server": {"server": {"nobody": 1}},
    "server.limits": {"server": {"limits": {"nobody": 1}}},
    "backends[0]": {"backends": [{"name": "cpu", "nobody": 1}]},
    "models[0]": {"models": [{**DIGITS, "nobody": 1}]},
    "models[0].variants[1]": {"models": [{**DIGITS, "variants": [{"name": "a"}, {"name": "b", "nobody": 1}]}]},
    "models[0].variants[0].processors[1]": with_rules(rule(), rule(nobody=1)),
}


@pytest.mark.parametrize("path", UNKNOWN)
def test_unknown_keys_are_named_with_their_path(tmp_path, path):
    assert_refused(tmp_path, {"models": [DIGITS], **UNKNOWN[path]}, path, "nobody")


@pytest.mark.parametrize("key", ["\0", "a\0b", "\x1b[31m", "\n", "x" * 100_000, "", "é" * 40_000])
def test_strange_keys_are_shown_safely(tmp_path, key):
    assert_refused(tmp_path, {"models": [{**DIGITS, key: 1}]}, "models[0]")


STRANGE = ["\0", "a\0b", "\x1b[31m", "x" * 100_000, "/dev/zero", "../" * 2000, ""]


@pytest.mark.parametrize("text", STRANGE, ids=lambda text: ascii(text)[:12])
def test_strange_names(tmp_path, text):
    assert_refused(tmp_path, {"models": [{**DIGITS, "name": text}]}, "models[0].name")


@pytest.mark.parametrize("text", [*STRANGE, "/proc/self/mem"], ids=lambda text: ascii(text)[:12])
def test_strange_paths(tmp_path, text):
    """They lead nowhere, or to what no one should read to its end."""
    done = check(tmp_path, {"models": [{**DIGITS, "path": text}]})
    assert done.returncode == 1 and "models[0]" in done.stderr
    if text not in ("", "/proc/self/mem"):
        done = check(tmp_path, {"models": [{**DIGITS, "scheduler": text}]})
        assert done.returncode == 1 and "models[0]" in done.stderr


@pytest.mark.parametrize("end", [b"", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
def test_broken_utf8(tmp_path, end):
    path = tmp_path / "bad.json"
    path.write_bytes(b'{"models": [{"name": "' + end + b'"')
    done = run_unetd("--check", "--config", path)
    assert done.returncode == 1
    assert str(path) in done.stderr and len(done.stderr) < 2000


def test_utf16(tmp_path):
    path = tmp_path / "bad.json"
    path.write_bytes(json.dumps({"models": [DIGITS]}).encode("utf-16"))
    done = run_unetd("--check", "--config", path)
    assert done.returncode == 1 and str(path) in done.stderr


def test_a_list_of_a_hundred_thousand_models(tmp_path):
    assert_refused(tmp_path, {"models": [DIGITS] * 100_000}, "models[1].name")


# Patterns. What would blow up would not be done within the time that a run has.

ADVERSARIAL = {
    "stars that nearly match": "*a*t*t*n*" * 200 + "b",
    "stars alone, then a letter": "*" * 10_000 + "b",
    "a*a*a*a*b": "*".join("a" * 5_000) + "*b",
    "dots": "*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.x",
    "every letter of a layer": "*" + "*".join("transformer_blocks") * 50 + "*z",
    "regular expression": "(a+)+$",
    "NUL": "*attn1\0",
    "a megabyte": "x" * (1 << 20),
    "empty": "",
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_patterns_that_match_nothing(tmp_path, name):
    assert_refused(tmp_path, with_rules(rule(layers=ADVERSARIAL[name])), "models[0].variants[0].processors[0]")


def test_patterns_that_match_in_many_ways(tmp_path):
    done = check(tmp_path, with_rules(rule(layers="*" * 5_000), rule(layers="*a*t*t*n*1*")))
    assert done.returncode == 0, done.stderr
    assert "AttnProcessor" in done.stdout


def test_ten_thousand_rules(tmp_path):
    """The last one wins, however many name the same layer."""
    last = rule(processor="SlicedAttnProcessor", slice_size=1)
    done = check(tmp_path, with_rules(*[rule()] * 10_000, last))
    assert done.returncode == 0, done.stderr
    layers = [line for line in done.stdout.splitlines() if "by models[0]" in line]
    assert layers and all("processors[10000]" in line and "SlicedAttnProcessor" in line for line in layers)


def test_the_same_layer_twice(tmp_path):
    name = "mid_block.attentions.0.transformer_blocks.0.attn1"
    second = rule(layers=name + ".processor", processor="FusedAttnProcessor2_0")
    done = check(tmp_path, with_rules(rule(layers=name), second))
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "by models[0]" in line]
    assert "FusedAttnProcessor2_0" in line and "processors[1]" in line


# Weights of variants.


def with_weights(*weights):
    """As JSON text, for what json.dumps cannot say."""
    listed = ",".join('{"name": "v%d", "weight": %s}' % pair for pair in enumerate(weights))
    return '{"models": [{"name": "digits", "path": %s, "variants": [%s]}]}' % (json.dumps(DIGITS["path"]), listed)


BAD_WEIGHTS = {
    "negative": (["-1", "2"], "models[0].variants[0].weight"),
    "negative beside a positive sum": (["100", "-1"], "models[0].variants[1].weight"),
    "all zero": (["0", "0.0", "-0.0"], "models[0].variants"),
    "beyond a double": (["1e400"], "unetd.json"),
    "sum beyond a double": (["1e308", "1e308"], "models[0].variants"),
    "NaN": (["NaN"], "unetd.json"),
    "infinity": (["Infinity"], "unetd.json"),
    "text": (['"90"'], "models[0].variants[0].weight"),
    "boolean": (["true"], "models[0].variants[0].weight"),
    "null": (["null"], "models[0].variants[0].weight"),
}


@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_bad_weights(tmp_path, name):
    weights, words = BAD_WEIGHTS[name]
    assert_refused(tmp_path, with_weights(*weights), words)


SHARES = [(["1", "3"], "25.0 %"), (["1e-308", "1e-308"], "50.0 %"), (["5e307"] * 2, "50.0 %"), (["0", "7"], "0.0 %")]


@pytest.mark.parametrize("weights,share", SHARES)
def test_weights_are_relative(tmp_path, weights, share):
    """Any sum will do, of whatever size."""
    done = check(tmp_path, with_weights(*weights))
    assert done.returncode == 0, done.stderr
    assert f"variant 'v0': {share}" in done.stdout


def test_variants_that_are_the_same(start):
    """A name of its own is all that a variant needs; two of the same content share what they have."""
    server = start([{**DIGITS, "variants": [{"name": f"v{number}"} for number in range(50)]}])
    one = start()
    assert server.resident_mib() < one.resident_mib() + 64
