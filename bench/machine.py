"""The machine that figures come from: its CPU, free memory, and the rates that nothing can pass."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

from bench.workload import CACHE, ROOT


def _cpu_info():
    return Path("/proc/cpuinfo").read_text()


def cpu_model(info=None):
    """The model's name, family and number (a virtual machine's name may tell little), and the features that matter."""
    info = info or _cpu_info()

    def field(name):
        found = re.search(rf"^{name}\s*:\s*(.*)$", info, re.M)
        return found.group(1).strip() if found else "unknown"

    features = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if re.search(rf"\b{f}\b", info)]
    return f"{field('model name')}, family {field('cpu family')} model {field('model')} ({' '.join(features)})"


def cpu_kind(cpu):
    """avx512, avx2 or other: figures are compared only within a kind."""
    return "avx512" if "avx512f" in cpu else "avx2" if "avx2" in cpu else "other"


def available_mib():
    return int(re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M).group(1)) / 1024


def wake_memory():
    """Touches most of the free memory and gives it back.

    A virtual machine's host takes pages that lie idle, and to get them again takes a second for a GiB and more: without
    this it is whoever starts first that pays.
    """
    import numpy as np

    pages = np.empty(int(min(available_mib() * 0.7, 10 * 1024)) << 20, dtype=np.uint8)
    pages[::4096] = 1


def peak_mib(pid):
    """Most memory that the process has had resident, the pages of mapped files among it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024


def now():
    """The date of a result, in UTC; dates compare as text."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime())


def revision():
    """The tree's commit; "+" where files differ from it."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"], capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def peaks(threads, isa=None):
    """{"fma_gflops", "read_gb_s"} of so many threads, measured now; of the widest vectors or those of `isa`."""
    source, program = ROOT / "bench" / "peaks.cc", CACHE / "peaks"
    headers = [ROOT / "bench" / name for name in ("fma_peak.h", "spin_gang.h")]
    if not program.exists() or program.stat().st_mtime < max(f.stat().st_mtime for f in [source, *headers]):
        CACHE.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CXX", "g++")
        subprocess.run(
            [compiler, "-std=c++20", "-O2", "-pthread", f"-I{ROOT}", str(source), "-o", str(program)], check=True
        )
    done = subprocess.run([program, str(threads), *([isa] if isa else [])], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def better(first, second):
    """Of two measurements of peaks, the higher of each: a neighbour can only slow them."""
    return {name: max(first[name], second[name]) for name in first}
