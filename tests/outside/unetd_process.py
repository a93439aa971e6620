"""Runs the real unetd on free ports, with a config of the test's own."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import grpc
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2_grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("UNETD_BUILD_DIR", ROOT / "build")).resolve()
EXECUTABLE = BUILD / "bin" / "unetd"
DIGITS = {"name": "digits", "path": str(ROOT / "config/digits/unet")}
# Under a sanitizer everything is slower and memory is kept back after it was freed.
SANITIZED = b"__asan_init" in EXECUTABLE.read_bytes() if EXECUTABLE.exists() else False
PATIENCE = 120 if SANITIZED else 60  # seconds for what should be there at once

_LISTENING = re.compile(r"listening on (\S+) \(gRPC\) and (\S+) \(HTTP\)")


def slow_to_load(side):
    """A model with seconds between listening and ready: a guest's kernels are tried once, on a large picture."""
    rule = {"layers": "*.attn2", "processor": "XFormersAttnProcessor"}
    side = side // 3 if SANITIZED else side
    return {**DIGITS, "shapes": [[side, side]], "variants": [{"name": "default", "processors": [rule]}]}


def wait_for(condition, what, seconds=PATIENCE):
    """Returns the first true value of condition()."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


def run_unetd(*arguments, cwd=None):
    """Runs unetd until it exits by itself; returns the completed process."""
    return subprocess.run(
        [EXECUTABLE, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=2 * PATIENCE
    )


def write_config(folder, config):
    path = folder / "unetd.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
    return path


def check(tmp_path, config):
    return run_unetd("--check", "--config", write_config(tmp_path, config))


def assert_refused(tmp_path, config, *words):
    """Exit 1, one line on stderr that holds these words, and nothing on stdout."""
    done = check(tmp_path, config)
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("unetd: ")
    for word in words:
        assert word in line
    assert len(line) < 2000 and line.isprintable()


class Unetd:
    """One server process; `wait` says until when: "ready", "listening" or None."""

    alive = []  # for the report of a failing test

    def __init__(self, folder, models=(DIGITS,), wait="ready", server=None, backends=None, env=None):
        server = {"address": "127.0.0.1:0", "http_address": "127.0.0.1:0", **(server or {})}
        config = {"server": server, "models": list(models)}
        if backends:
            config["backends"] = backends
        self.log_path = folder / "unetd.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [EXECUTABLE, "--config", write_config(folder, config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
            )
        Unetd.alive.append(self)
        self._channels = []
        if wait:
            match = wait_for(lambda: _LISTENING.search(self.log()) or self._died(), "listening")
            self.address, self.http_address = match.groups()
        if wait == "ready":
            wait_for(lambda: self.get("/v2/health/ready")[0] == 200 or self._died(), "ready")

    def log(self):
        return self.log_path.read_text(errors="replace")

    def _died(self):
        if self.process.poll() is not None:
            raise AssertionError(f"unetd exited with {self.process.returncode}:\n{self.log()}")

    # What talks to it.

    def channel(self, *options):
        """A gRPC channel of its own connection, without limits of the client's."""
        limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        own = ("grpc.use_local_subchannel_pool", 1)
        channel = grpc.insecure_channel(self.address, options=[*limits, own, *options])
        self._channels.append(channel)
        return channel

    def stub(self, *options):
        return service_pb2_grpc.GRPCInferenceServiceStub(self.channel(*options))

    def triton(self):
        client = triton.InferenceServerClient(self.address)
        self._channels.append(client)
        return client

    def get(self, path, method="GET"):
        """Returns status, headers and body of an HTTP request."""
        request = urllib.request.Request(f"http://{self.http_address}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()
        except urllib.error.URLError:
            return 0, {}, ""

    def metrics(self):
        return self.get("/metrics")[2]

    def metric(self, name, **labels):
        """The sum of all series of this name that have these labels."""
        total = 0.0
        for line in self.metrics().splitlines():
            match = re.fullmatch(r"([a-z_A-Z0-9]+)(?:\{(.*)\})? (\S+)", line)
            if match and match.group(1) == name:
                found = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match.group(2) or ""))
                if all(found.get(key) == value for key, value in labels.items()):
                    total += float(match.group(3))
        return total

    def resident_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024

    def busy(self):
        """What is held for requests: nothing, once all are answered."""
        gauges = {
            "pending": self.metric("nv_inference_pending_request_count"),
            "running": self.metric("unetd_requests_running"),
            "bytes": self.metric("unetd_memory_bytes", account="requests"),
        }
        return {name: value for name, value in gauges.items() if value}

    def wait_idle(self):
        wait_for(lambda: not self.busy(), "idle")

    # Its end.

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, seconds=PATIENCE):
        """Waits for the end; returns the exit code."""
        return self.process.wait(seconds)

    def close_clients(self):
        while self._channels:
            self._channels.pop().close()

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.close_clients()
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait_exit()
        finally:
            self.kill()

    def kill(self):
        self.close_clients()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self in Unetd.alive:
            Unetd.alive.remove(self)
