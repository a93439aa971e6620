"""unetd as a measured process: a server of its own, asked over gRPC."""

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench import machine, workload

BUILD = Path(os.environ.get("UNETD_BUILD_DIR", workload.ROOT / "build"))
MODEL = "unet"
PATIENCE_S = 300  # for a server to be ready
_WIRE_DTYPES = {"f": "FP32", "i": "INT64"}


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def config(case, address, http_address):
    model = {
        "name": MODEL,
        "path": str(workload.checkpoint(case.shape)),
        "dtype": case.dtype,
        "shapes": [[case.latent, case.latent]],
        "max_batch": case.batch,
    }
    if case.conv:
        model["conv"] = case.conv
    options = {"threads": case.threads}
    if case.isa:
        options["isa"] = case.isa
    return {
        "server": {"address": address, "http_address": http_address},
        "backends": [{"name": "cpu", "options": options}],
        "models": [model],
    }


class Unetd:
    """Starts the server and asks it once: `ready_s` seconds from the start of the process to that first answer."""

    name = title = "unetd"

    def __init__(self, case, folder, build=BUILD):
        import grpc
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        self._channel = None
        self.version = f"unetd {machine.revision()}"
        grpc_port, http_port = _free_ports(2)
        self.address = f"127.0.0.1:{grpc_port}"
        self._health = f"http://127.0.0.1:{http_port}/v2/health/ready"
        self._request = self._make_request(service_pb2, case)
        path = Path(folder) / "unetd.json"
        path.write_text(json.dumps(config(case, self.address, f"127.0.0.1:{http_port}")))
        self._log = Path(folder) / "unetd.log"
        machine.wake_memory()
        started = time.perf_counter()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [Path(build) / "bin" / "unetd", "--config", path], stdout=log, stderr=log
            )
        self._wait()
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(self.address, options=options)
        self._infer = service_pb2_grpc.GRPCInferenceServiceStub(self._channel).ModelInfer
        self._first = self._forward()
        self.ready_s = time.perf_counter() - started
        self._shape = workload.inputs(case)["sample"].shape

    @staticmethod
    def _make_request(service_pb2, case):
        request = service_pb2.ModelInferRequest(model_name=MODEL)
        for name, value in workload.inputs(case).items():
            request.inputs.add(name=name, shape=value.shape, datatype=_WIRE_DTYPES[value.dtype.kind])
            request.raw_input_contents.append(value.tobytes())
        return request

    def _wait(self):
        # Over HTTP: a gRPC channel that was refused once waits a second and more before it tries again.
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                last = self._log.read_text().strip().splitlines()[-1:] or [""]
                raise SystemExit(f"unetd ended with {self._process.returncode}: {last[0]}")
            try:
                with urllib.request.urlopen(self._health, timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.005)
        self.close()
        raise SystemExit(f"unetd was not ready within {PATIENCE_S} s")

    def _forward(self):
        import numpy as np

        return np.frombuffer(self._infer(self._request).raw_output_contents[0], dtype=np.float32)

    def answer(self):
        return self._first.reshape(self._shape)

    def run(self, count):
        """Seconds of each of `count` calls, as the client sees them."""
        seconds = []
        for _ in range(count):
            begin = time.perf_counter()
            self._forward()
            seconds.append(time.perf_counter() - begin)
        return seconds

    def peak_mib(self):
        return machine.peak_mib(self._process.pid)

    def close(self):
        if self._channel is not None:
            self._channel.close()
        self._process.terminate()
        self._process.wait()
