"""The handle of a peer's process."""

import json
import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from bench.machine import peak_mib, wake_memory
from bench.peers import AVX2_ENVIRONMENT, PEERS


class PeerProcess:
    """Starts the peer and waits for its first answer: `ready_s` seconds from the start of the process."""

    def __init__(self, name, case, folder):
        self.name = name
        self.title = PEERS[name].title
        self.version = ", ".join(f"{part} {metadata.version(part)}" for part in PEERS[name].distributions)
        self._answer = Path(folder) / f"{name}.npy"
        script = Path(__file__).with_name("serve.py")
        command = [sys.executable, str(script), name, str(self._answer), *case.as_arguments()]
        environment = dict(os.environ, OMP_NUM_THREADS=str(case.threads))
        if case.isa:
            environment.update(AVX2_ENVIRONMENT)
        wake_memory()
        started = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._expect("ready")
        self.ready_s = time.perf_counter() - started
        self._expect("saved")

    def _expect(self, word):
        line = self._process.stdout.readline()
        if line.strip() != word:
            self.close()
            raise SystemExit(f"peer {self.name} ended before it was ready (exit {self._process.returncode})")

    def answer(self):
        import numpy as np

        return np.load(self._answer)

    def run(self, count):
        """Seconds of each of `count` forwards."""
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"peer {self.name} ended while it was measured")
        return json.loads(line)

    def peak_mib(self):
        return peak_mib(self._process.pid)

    def close(self):
        self._process.stdin.close()
        self._process.wait()
