#!/usr/bin/env python3
"""Records what `unetctl profile` tells of each operator, with the machine's own limits measured beside it.

    scripts/bench --operators FILE [--shape sd15] [--batch 1] [--latent 64] [--threads 2] [--conv direct] [--repeats 5]

Prints the time by kind of operator; FILE is what `scripts/bench --plots` draws the roofline of.
"""

import argparse
import collections
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's modules are bench.NAME
from bench import machine, prepare, report, workload
from bench.server import BUILD, MODEL, Unetd

FORMAT = "unetd-operators 1"


def profile(address, case, repeats):
    command = [BUILD / "bin" / "unetctl", "--address", address, "--timeout", "0", "profile", MODEL, "--json"]
    command += ["--rows", str(case.batch), "--repeats", str(repeats), "--size", f"{case.latent}x{case.latent}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"unetctl profile: {done.stderr.strip()}")
    return json.loads(done.stdout)


def sort_of(operator):
    """The kind, of convolutions with their kernel's size: "conv2d 3x3"."""
    kind, words = operator["kind"], operator["name"].split()
    return " ".join(words[:2]) if kind == "conv2d" and words[0] == "conv2d" and len(words) > 1 else kind


def numbers(operator):
    """Its sort, and its figures as numbers: in protobuf's JSON 64-bit ones are strings, and 0 may be left out."""
    figures = {field: float(operator.get(field, 0)) for field in ("ms", "flops", "bytes")}
    return {"sort": sort_of(operator), **figures}


def by_sort(operators):
    """{sort: (ms, flops, bytes)}, the longest first."""
    sums = collections.defaultdict(lambda: [0.0, 0.0, 0.0])
    for one in map(numbers, operators):
        for i, field in enumerate(("ms", "flops", "bytes")):
            sums[one["sort"]][i] += one[field]
    return dict(sorted(((sort, tuple(total)) for sort, total in sums.items()), key=lambda item: -item[1][0]))


def lines(result):
    profile = result["profile"]
    yield f"CPU: {result['cpu']}, {report.case_of(result).label}"
    yield f"a forward takes {float(profile['forward_ms']):.2f} ms; its operators, with a clock beside each:"
    for sort, (ms, flops, moved) in by_sort(profile["operators"]).items():
        rate = f"{flops / ms / 1e6:8.0f} GFLOP/s" if flops and ms else " " * 16
        yield f"  {sort:24} {ms:10.3f} ms {rate} {moved / ms / 1e6 if ms else 0:8.1f} GB/s"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    workload.add_case_options(parser)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    case = workload.case_of(args)
    prepare.ensure(case, [])
    with tempfile.TemporaryDirectory() as folder:
        before = machine.peaks(case.threads, case.isa)
        server = Unetd(case, folder)
        try:
            told = profile(server.address, case, args.repeats)
        finally:
            server.close()
    result = {
        "format": FORMAT,
        "date": machine.now(),
        "cpu": machine.cpu_model(),
        "case": asdict(case),
        "peaks": machine.better(before, machine.peaks(case.threads, case.isa)),
        "profile": told,
    }
    for line in lines(result):
        print(line)
    args.file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
