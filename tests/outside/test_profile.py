"""Admin.Profile and `unetctl profile`: what every operator of a forward takes."""

import contextlib
import json
import os
import re
import subprocess

import grpc
import pytest
from unetctl_process import command, digits, unetctl  # noqa: F401 (a fixture)
from unetd_process import PATIENCE, wait_for
from wire import Api, infer_request, out_sample, refusal

CODE = grpc.StatusCode
COUNTED = {"conv2d", "linear", "attention"}  # kinds with a number of operations
LONG = {"repeats": 100, "rows": 8, "height": 64, "width": 64}  # a profile of a minute or more


def asked(api, **fields):
    return api.message("ProfileRequest")(**{"model": "digits", **fields})


def profile(api, **fields):
    return api.call("Admin", "Profile")(asked(api, **fields), timeout=PATIENCE)


def test_every_operator_of_a_forward(api):
    answer = profile(api, model="variants", variant="sliced", rows=2, repeats=3)
    assert (answer.model, answer.variant, answer.rows, answer.repeats) == ("variants", "sliced", 2, 3)
    assert (answer.height, answer.width) == (16, 16)
    assert answer.shape.startswith("16x16 text=")
    assert answer.threads >= 1 and answer.cpu and answer.forward_ms > 0
    request = api.message("DescribeModelRequest")(model="variants", variant="sliced")
    description = api.call("Admin", "DescribeModel")(request)
    assert len(answer.operators) == description.plans[0].operators
    for op in answer.operators:
        assert op.name.startswith(op.kind)
        assert op.backend == "cpu" and op.kernel and op.layer
        assert op.section in ("condition", "schedule", "step")
        assert op.ms > 0 and op.calls == 1 and op.bytes > 0
        assert (op.flops > 0) == (op.kind in COUNTED), op.name
    kernels = {op.layer: op.kernel for op in answer.operators if op.kind == "attention"}
    assert kernels == {layer.name: layer.bindings[0].kernel for layer in description.layers}
    # Every 3x3 convolution of an image of 16x16 by its definition: a kernel's way of doing it is its own matter.
    found = re.compile(r"conv2d 3x3 stride 1 (\d+) -> (\d+) at 16x16$")
    for op in answer.operators:
        if match := found.match(op.name):
            assert op.flops == 2 * 2 * 256 * 9 * int(match[1]) * int(match[2])


def test_what_is_unsaid(api):
    answer = profile(api, model="variants")
    assert (answer.variant, answer.rows, answer.repeats) == ("sdpa", 1, 5)
    assert (answer.height, answer.width) == (16, 16)
    assert (profile(api, height=8, width=24, repeats=1).shape).startswith("8x24 ")


def test_inputs_of_every_sort_are_made_up(api):
    for model in api.call("Admin", "ListModels")(api.message("ListModelsRequest")()).models:
        assert profile(api, model=model.name, repeats=1, rows=2).operators[-1].section == "step"


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"model": "nobody"}, CODE.NOT_FOUND, "Request for unknown model: 'nobody' is not found"),
        ({"model": ""}, CODE.NOT_FOUND, "''"),
        ({"variant": "no\none"}, CODE.NOT_FOUND, r"model 'digits' has no variant 'no\none'; it has: default"),
        ({"rows": 9}, CODE.INVALID_ARGUMENT, "rows: expected 1 to 8 (max_batch of model 'digits'), or 0 for 1; got 9"),
        ({"rows": -1}, CODE.INVALID_ARGUMENT, "got -1"),
        ({"repeats": 101}, CODE.INVALID_ARGUMENT, "repeats: expected 1 to 100, or 0 for 5; got 101"),
        ({"repeats": -(2**31)}, CODE.INVALID_ARGUMENT, "got -2147483648"),
        ({"height": 16}, CODE.INVALID_ARGUMENT, "height and width: expected 1 or more of each"),
        ({"height": -16, "width": -16}, CODE.INVALID_ARGUMENT, "got -16 and -16"),
        ({"height": 2**31 - 1, "width": 2**31 - 1}, CODE.INVALID_ARGUMENT, "at most 4194304 pixels"),
    ],
)
def test_errors(api, still_right, fields, code, words):
    got, message = refusal(profile, api, **fields)
    assert (got, words in message) == (code, True), message
    assert message.isprintable()


def test_not_a_message(server):
    for bytes_ in (b"\xff" * 9, b"\x0a\x06digit"):
        code, _ = refusal(server.channel().unary_unary("/unetd.v1.Admin/Profile"), bytes_)
        assert code == CODE.INVALID_ARGUMENT


def test_others_keep_their_turns_and_their_bits(server, api, stub, digit, right_bits):
    inferences = server.metric("nv_inference_exec_count", model="digits")
    call = api.call("Admin", "Profile").future(asked(api, **LONG))
    wait_for(lambda: server.busy().get("running"), "the profile to run")
    for _ in range(3):
        answer = stub.ModelInfer(infer_request("digits", digit.inputs), timeout=PATIENCE)
        assert out_sample(answer).tobytes() == right_bits
    assert not call.done()
    assert server.metric("nv_inference_exec_count", model="digits") == inferences + 3
    call.cancel()
    server.wait_idle()


def test_deadlines_and_cancelling(server, api, still_right):
    code, _ = refusal(api.call("Admin", "Profile"), asked(api, **LONG), timeout=0.3)
    assert code == CODE.DEADLINE_EXCEEDED
    server.wait_idle()
    call = api.call("Admin", "Profile").future(asked(api, **LONG))
    wait_for(lambda: server.busy().get("running"), "the profile to run")
    call.cancel()
    server.wait_idle()


def test_it_waits_in_the_queue(start):
    server = start(server={"limits": {"queue": 1}})
    api = Api(server.channel())
    calls = [api.call("Admin", "Profile").future(asked(api, **LONG)) for _ in range(2)]
    wait_for(lambda: len(server.busy()) > 0 and server.metric("unetd_requests_running") == 2, "two by turns")
    code, message = refusal(profile, api)
    assert code == CODE.RESOURCE_EXHAUSTED and message.startswith("Exceeds maximum queue size"), message
    for call in calls:
        call.cancel()
    server.wait_idle()


# unetctl profile


def test_the_tables(digits):
    done = unetctl(digits, "profile", "--repeats", "2")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    lines = done.stdout.splitlines()
    assert re.match(r"model digits, variant baseline: 1 row of 16x16 text=\d+, \d+ threads?, \S", lines[0])
    assert re.match(r"forward \d+\.\d+ ms, its operators together \d+\.\d+ ms \(\d+\.\d%\): medians of 2; ", lines[1])
    kinds, operators = (part.splitlines() for part in done.stdout.split("\n\n")[1:])
    assert kinds[0].split() == ["kind", "ms", "share", "GFLOP/s", "GB/s", "calls"]
    assert COUNTED <= {line.split()[0] for line in kinds[2:]}
    assert kinds[-1].split()[0] == "all" and kinds[-1].split()[2] == "100.0%"
    assert operators[0].split() == ["ms", "share", "GFLOP/s", "MiB", "layer", "operator", "backend", "kernel"]
    times = [float(line.split()[0]) for line in operators[2:-1]]
    assert len(times) == 20 and times == sorted(times, reverse=True)
    assert re.match(r"the slowest 20 of \d+ operators; --top 0 shows all$", operators[-1])


def test_one_table_and_all_of_it(digits):
    report = json.loads(unetctl(digits, "profile", "digits", "-v", "sliced", "--json").stdout)
    assert report["variant"] == "sliced" and report["repeats"] == 5
    layers = {op["layer"] for op in report["operators"]}
    for by, lines in [("operator", len(report["operators"])), ("layer", len(layers) + 1)]:
        done = unetctl(digits, "profile", "digits", "--by", by, "--top", "0", "--repeats", "1")
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.split("\n\n")[1].splitlines()) == 2 + lines
    kinds = unetctl(digits, "profile", "--by", "kind", "--top", "1", "--rows", "2", "--size", "8x8").stdout
    assert "2 rows of 8x8 " in kinds and "\nlinear " in kinds and "\nconv2d " in kinds


def test_mistakes(digits):
    for arguments, status, words in [
        (["--by", "nothing"], 2, "--by"),
        (["--repeats", "0"], 2, "--repeats"),
        (["--size", "16"], 2, "expected HxW or CxHxW"),
        (["nobody"], 3, "the server has no model 'nobody'; it has: digits"),
        (["--variant", "nobody"], 3, "unetctl: NOT_FOUND: model 'digits' has no variant 'nobody'"),
        (["--rows", "9"], 3, "unetctl: INVALID_ARGUMENT: rows: expected 1 to 8"),
        (["--timeout", "0.2", "--rows", "8", "--size", "64x64", "--repeats", "100"], 3, "DEADLINE_EXCEEDED"),
    ]:
        done = unetctl(digits, "profile", *arguments)
        assert (done.returncode, done.stdout) == (status, ""), (arguments, done)
        assert words in done.stderr, (arguments, done.stderr)
    assert unetctl("127.0.0.1:1", "profile").returncode == 4


def test_a_terminal_is_told_what_it_waits_for(digits):
    ours, theirs = os.openpty()
    try:
        subprocess.run(command(digits, "profile", "--repeats", "1"), stdout=subprocess.PIPE, stderr=theirs, check=True)
    finally:
        os.close(theirs)
    shown = b""
    with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # which is how its text ends
        while part := terminal.read(4096):
            shown += part
    assert shown == b"\rprofiling digits: 3 forward passes\x1b[K\r\x1b[K"
