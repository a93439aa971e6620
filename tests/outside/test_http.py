"""The HTTP port: metrics and health; and the log."""

import json
import math
import re
import socket

import grpc
import numpy as np
import pytest
from wire import Api, infer, infer_request, refusal

SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)')


def parse(page):
    """Prometheus' text format, strictly: {name: (type, [(series, labels, value)])}."""
    families, seen = {}, set()
    assert page.endswith("\n")
    for line in page.splitlines():
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            assert words and name not in families
            families[name] = [None, []]
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind in ("counter", "gauge", "histogram") and families[name][0] is None
            families[name][0] = kind
        else:
            series, labels, value = SAMPLE.fullmatch(line).groups()
            name = re.sub(r"_(bucket|sum|count)$", "", series)
            family = families[series if series in families else name]
            assert (series, labels) not in seen
            seen.add((series, labels))
            family[1].append((series, dict(re.findall(r'(\w+)="(.*?)"', labels or "")), float(value)))
    return families


def test_metrics_parse(server, client, digit):
    infer(client, "digits", digit.inputs)
    status, headers, page = server.get("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    families = parse(page)
    for name, (kind, samples) in families.items():
        assert kind and samples, name
        for series, labels, value in samples:
            assert math.isfinite(value) and value >= 0
            if kind != "histogram":
                assert series == name
    counters = {"success", "failure"}
    assert {f"nv_inference_request_{name}" for name in counters} <= families.keys()
    for name in ("nv_inference_count", "nv_inference_exec_count", "nv_inference_pending_request_count"):
        assert any({"model": "digits", "version": "1"}.items() <= labels.items() for _, labels, _ in families[name][1])
    reasons = {labels["reason"] for _, labels, _ in families["nv_inference_request_failure"][1]}
    assert {"REJECTED", "CANCELED", "BACKEND", "OTHER"} <= reasons  # Triton's
    assert "unetd_memory_bytes" in families
    assert families["unetd_memory_limit_bytes"][1][0][2] > 1 << 30


def test_histograms_add_up(server, client, digit):
    infer(client, "digits", digit.inputs)
    families = parse(server.metrics())
    histograms = {name for name, (kind, _) in families.items() if kind == "histogram"}
    assert {"unetd_queue_seconds", "unetd_forward_seconds", "unetd_step_seconds"} <= histograms
    for name in histograms:
        buckets, counts = {}, {}
        for series, labels, value in families[name][1]:
            key = (labels["model"], labels["variant"])
            if series.endswith("_bucket"):
                buckets.setdefault(key, []).append((float(labels["le"]), value))
            elif series.endswith("_count"):
                counts[key] = value
        for key, listed in buckets.items():
            assert listed == sorted(listed)
            assert [value for _, value in listed] == sorted(value for _, value in listed)
            assert listed[-1] == (math.inf, counts[key])


def test_counters_count(server, client, digit):
    names = {
        "nv_inference_request_success": 1,
        "nv_inference_count": digit.rows,
        "nv_inference_exec_count": 1,
        "unetd_forward_seconds_count": 1,
    }
    before = {name: server.metric(name, model="digits") for name in names}
    spent = server.metric("nv_inference_request_duration_us", model="digits")
    infer(client, "digits", digit.inputs)
    assert {name: server.metric(name, model="digits") - before[name] for name in names} == names
    assert server.metric("nv_inference_request_duration_us", model="digits") > spent


def test_every_refusal_is_counted(server, stub, digit):
    """Those that the wire's own checks refuse, and those behind."""
    behind = infer_request("digits", {**digit.inputs, "timestep": np.array([np.nan])})
    on_the_wire = infer_request("digits", digit.inputs)
    on_the_wire.raw_input_contents[0] += b"!"
    for request in (behind, on_the_wire):
        before = server.metric("nv_inference_request_failure", model="digits")
        refusal(stub.ModelInfer, request)
        assert server.metric("nv_inference_request_failure", model="digits") == before + 1


def test_strangers_names_make_no_series(server, stub, digit):
    before = len(server.metrics().splitlines())
    for number in range(50):
        refusal(stub.ModelInfer, infer_request(f"stranger-{number}", digit.inputs))
        request = infer_request("digits", digit.inputs)
        request.parameters["variant"].string_param = f"stranger-{number}"
        refusal(stub.ModelInfer, request)
    page = server.metrics()
    assert "stranger" not in page
    assert len(page.splitlines()) <= before + 100  # one more set of series at most


def test_denoising_is_counted(server, client, api, digit):
    names = ["unetd_denoise_requests", "unetd_denoise_steps", "unetd_step_seconds_count"]
    before = [server.metric(name, model="digits") for name in names]
    states = {"encoder_hidden_states": digit.inputs["encoder_hidden_states"]}
    fields = {"conditions": states, "shape": [2, 1, 16, 16], "seeds": [1, 2], "num_inference_steps": 3}
    api.result(model="digits", **fields)
    after = [server.metric(name, model="digits") for name in names]
    assert [now - then for now, then in zip(after, before)] == [1, 3, 3]


def test_gauges_while_running_and_after(server, api, digit):
    states = {"encoder_hidden_states": np.repeat(digit.inputs["encoder_hidden_states"], 4, 0)}
    fields = {"shape": [8, 1, 16, 16], "seeds": range(8), "num_inference_steps": 1000}
    call = api.denoise(model="digits", conditions=states, **fields)
    next(call)
    busy = server.busy()
    assert busy["running"] == 1
    assert busy["bytes"] > 8 * 16 * 16 * 4
    call.cancel()
    server.wait_idle()


def test_health(server):
    status, headers, body = server.get("/v2/health/live")
    assert (status, json.loads(body)) == (200, {"live": True})
    assert headers["Content-Type"] == "application/json"
    status, _, body = server.get("/v2/health/ready")
    assert (status, json.loads(body)) == (200, {"ready": True})


def test_other_paths_and_methods(server):
    assert server.get("/")[0] == 404
    assert server.get("/../../etc/passwd")[0] in (400, 404)
    assert server.get("/metrics/")[0] == 404
    assert server.get("/metrics", method="HEAD")[:1] == (200,)
    assert server.get("/metrics", method="HEAD")[2] == ""
    assert server.get("/metrics", method="POST")[0] == 405
    assert server.get("/v2/health/ready", method="DELETE")[0] == 405


RANDOM = np.random.default_rng(7).integers(0, 256, 4096, np.uint8).tobytes()
GARBAGE = {
    "random": RANDOM,
    "long path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "many headers": b"GET /metrics HTTP/1.1\r\n" + b"".join(b"h%d: x\r\n" % i for i in range(5000)) + b"\r\n",
    "half a request": b"GET /metrics HT",
    "chunks": b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    "huge body": b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
}


@pytest.mark.parametrize("port", ["http", "grpc"])
@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_on_either_port(server, client, digit, name, port):
    """HTTP/1 on the gRPC port too: neither port falls over."""
    same = infer(client, "digits", digit.inputs)
    host, number = (server.http_address if port == "http" else server.address).rsplit(":", 1)
    with socket.create_connection((host, int(number))) as connection:
        connection.settimeout(1)
        try:
            connection.sendall(GARBAGE[name])
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except OSError:
            pass  # refused half-way, or kept waiting: both are the server's right
    assert server.get("/v2/health/ready")[0] == 200
    assert infer(client, "digits", digit.inputs).tobytes() == same.tobytes()


# The log.


def exercise(server, digit):
    infer(server.triton(), "digits", digit.inputs, request_id='line\nbreak "quoted" \x1b[31m')
    states = {"encoder_hidden_states": digit.inputs["encoder_hidden_states"]}
    fields = {"conditions": states, "shape": [2, 1, 16, 16], "seeds": [1, 2], "num_inference_steps": 3}
    Api(server.channel()).result(model="digits", id="loop", **fields)
    stub = server.stub()
    refusal(stub.ModelInfer, infer_request("nobody\n", digit.inputs, id="refused"))
    broken = infer_request("digits", digit.inputs, id="broken")
    broken.inputs[0].datatype = "FP31"
    refusal(stub.ModelInfer, broken)
    server.stop()


def test_json_log(start, digit):
    server = start(server={"log_format": "json"})
    exercise(server, digit)
    lines = [json.loads(line) for line in server.log().splitlines()]
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
    requests = {line["id"]: line for line in lines if "id" in line}
    assert len(requests) == 4
    ran = requests['line\nbreak "quoted" \x1b[31m']
    assert (ran["message"], ran["model"], ran["variant"], ran["status"]) == ("infer", "digits", "default", "OK")
    assert ran["shape"].startswith("2x 16x16")
    assert ran["run_ms"] > 0 and ran["queue_ms"] >= 0
    assert (requests["loop"]["message"], requests["loop"]["steps"]) == ("denoise", 3)
    assert requests["refused"]["status"] == "NOT_FOUND"
    assert requests["broken"]["status"] == "INVALID_ARGUMENT"
    assert "FP31" in requests["broken"]["error"]


def test_text_log(start, digit):
    server = start()
    exercise(server, digit)
    lines = server.log().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warning|error) ", line) for line in lines)
    assert "\x1b" not in server.log()
    assert sum(" infer " in line for line in lines) == 3
    assert sum(" denoise " in line and "status=OK" in line for line in lines) == 1


def test_log_level(start, digit):
    server = start(server={"log_level": "warning"}, wait=None)
    code = refusal_until_ready(server)
    assert code is None
    server.stop()
    assert server.log() == ""


def refusal_until_ready(server):
    """Without a log there is no port to read: the process is only seen to live."""
    try:
        server.process.wait(1)
    except Exception:
        return None
    return server.process.returncode
