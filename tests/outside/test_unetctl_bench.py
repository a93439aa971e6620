"""unetctl bench against a real server."""

import json
import signal
import subprocess

import pytest
from unetctl_process import CONDITIONS, command, digits, unetctl  # noqa: F401 (a fixture)
from unetd_process import PATIENCE, wait_for

FEW = ["--requests", "6", "--concurrency", "1,3", "--tokens", "4", "--no-progress"]


@pytest.mark.parametrize("kind", ["infer", "step", "denoise"])
def test_each_kind_is_measured(digits, kind):
    loop = [] if kind == "infer" else ["--steps", "3", "--guidance", "2"]
    done = unetctl(digits, "bench", "--kind", kind, "--rows", "2", *FEW, *loop, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert (report["kind"], report["model"], report["rows"]) == (kind, "digits", 2)
    assert report["steps"] == (3 if kind == "denoise" else 1)
    assert report["size"] == [16, 16] and not report["interrupted"]
    assert [level["concurrency"] for level in report["levels"]] == [1, 3]
    for level in report["levels"]:
        assert (level["requests"], level["errors"]) == (6, 0)
        assert level["throughput"] == pytest.approx(level["requests_per_s"] * 2 * report["steps"])
        latency = level["latency_ms"]
        assert 0 < latency["min"] <= latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]


def test_the_table_has_a_line_for_each_concurrency(digits):
    done = unetctl(digits, "bench", *FEW)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["1", "3"]
    assert "rows/s" in lines[0] and "p99 ms" in lines[0]


def test_errors_and_mistakes(digits):
    for arguments, status, words in [
        (["--kind", "x"], 2, "x"),
        (["--concurrency", "0"], 2, "range"),
        (["--steps", "3"], 2, "--kind infer has no loop"),
        (["--variant", "none"], 3, "NOT_FOUND: "),
        (["--variant", "none", "--warmup", "0"], 3, "NOT_FOUND: "),
        (["--size", "3"], 2, "--size '3'"),
    ]:
        done = unetctl(digits, "bench", *FEW, *arguments)
        assert done.returncode == status, (arguments, done)
        assert words in done.stderr, (arguments, done.stderr)


def test_ctrl_c_reports_what_was_measured(digits):
    process = subprocess.Popen(
        command(digits, "bench", "--duration", "600", "--concurrency", "2,4", "--tokens", "4", "--json"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        before = digits.metric("nv_inference_request_success", model="digits")
        wait_for(
            lambda: digits.metric("nv_inference_request_success", model="digits") > before + 20, "some requests"
        )
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "unetctl: interrupted"
    report = json.loads(out)
    assert report["interrupted"] and len(report["levels"]) == 1
    assert report["levels"][0]["requests"] > 0 and report["levels"][0]["errors"] == 0
    digits.wait_idle()
