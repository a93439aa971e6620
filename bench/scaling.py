#!/usr/bin/env python3
"""How unetd's time and memory grow with the batch, the size of the image and the threads.

    scripts/bench --scaling [--shape sd15] [--quick] [--json FILE]

Every point is a server of its own (so that its peak memory is that point's), asked a few times. Time per row, per pixel
and per thread is compared with the series' base (batch 1, the model's own size, one thread): where it leaves it by more
than a tenth it is no longer linear, and whether the work per unit or the rate changed says why. --quick: fewer points,
of the tiny shape.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's modules are bench.NAME
from bench import machine, prepare, report, turns, workload
from bench.server import Unetd

FORMAT = "unetd-scaling 1"
LINEAR = 0.10  # what a time per unit may differ from the base's
TURNS = 3


def series(shape, quick):
    """{name: [cases]}, each with its base."""
    base = workload.Case(shape, latent=workload.SHAPES[shape]["sample_size"])
    latents = (8, 16, 32) if shape == "tiny" else (16, 32, 48, 64, 96, 128)
    threads = sorted({1, min(2, os.cpu_count() or 1)})
    return {
        "batch": [replace(base, batch=batch) for batch in ((1, 2) if quick else (1, 2, 4, 8))],
        "latent": [replace(base, latent=latent) for latent in (latents[:2] if quick else latents)],
        "threads": [replace(base, threads=count) for count in threads],
    }


def units(case, name):
    """What the time is divided by: rows, pixels, or the share of the work that a thread has."""
    return {"batch": case.batch, "latent": case.latent**2, "threads": 1 / case.threads}[name]


def point(case):
    prepare.ensure(case, [])
    with tempfile.TemporaryDirectory() as folder:
        server = Unetd(case, folder)
        try:
            per_turn = 20 if case.shape == "tiny" else 1
            seconds = turns.take_turns([server], TURNS, per_turn)[server.name]
            return {
                "case": asdict(case),
                "seconds": seconds,
                "flops": prepare.flops(case),
                "peak_mib": server.peak_mib(),
                "ready_s": server.ready_s,
            }
        finally:
            server.close()


def base_index(cases, name):
    """What the others of a series are compared with: its first, of sizes the model's own."""
    own = workload.SHAPES[cases[0].shape]["sample_size"]
    return next((i for i, case in enumerate(cases) if name == "latent" and case.latent == own), 0)


def explain(points, name):
    """A sentence for each point of a series whose time per unit is not the base's."""
    cases = [report.case_of(point) for point in points]
    medians = [statistics.median(point["seconds"]) for point in points]
    base = base_index(cases, name)
    noun = {"batch": "row", "latent": "pixel", "threads": "thread's share"}[name]

    def compared(values, i):
        per_unit = [value / units(case, name) for value, case in zip(values, cases)]
        return per_unit[i] / per_unit[base]

    for i, case in enumerate(cases):
        slower = compared(medians, i)
        if abs(slower - 1) <= LINEAR:
            continue
        work = 1.0 if name == "threads" else compared([point["flops"] for point in points], i)
        rate = work / slower
        reasons = []
        if abs(work - 1) > LINEAR / 2:
            reasons.append(f"its work is {work:.2f} times as much (attention grows with the square of the pixels)")
        if abs(rate - 1) > LINEAR / 2:
            reasons.append(f"the rate is {rate:.2f} times the base's")
        value = getattr(case, name)
        yield f"{name} {value}: {slower:.2f} times the base's time a {noun}: {', and '.join(reasons) or 'noise'}"


def lines(result):
    yield f"CPU: {result['cpu']}"
    weights = result["weights_mib"]
    for name, points in result["series"].items():
        yield f"{name}: {report.case_of(points[0]).shape}, weights {weights:.0f} MiB"
        yield (
            f"  {'':>8} {'median':>10} {'per unit':>12} {'GFLOP':>8} {'GFLOP/s':>8} {'peak MiB':>9} "
            f"{'over weights':>13}"
        )
        for one in points:
            case, median = report.case_of(one), statistics.median(one["seconds"])
            yield (
                f"  {getattr(case, name):8} {report.seconds_text(median):>10} {median / units(case, name):12.4g} "
                f"{one['flops'] / 1e9:8.4g} {one['flops'] / median / 1e9:8.0f} {one['peak_mib']:9.0f} "
                f"{one['peak_mib'] - weights:13.0f}"
            )
        told = list(explain(points, name)) or [f"linear within {LINEAR:.0%}"]
        for line in told:
            yield f"  {line}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=workload.SHAPES, default="sd15")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    shape = "tiny" if args.quick else args.shape
    measured = {}  # the base belongs to every series: measured once
    result = {"format": FORMAT, "date": machine.now(), "series": {}}
    result |= {"cpu": machine.cpu_model(), "weights_mib": workload.weights_mib(shape)}
    for name, cases in series(shape, args.quick).items():
        for case in cases:
            if case not in measured:
                print(case.label, file=sys.stderr)
                measured[case] = point(case)
        result["series"][name] = [measured[case] for case in cases]
    for line in lines(result):
        print(line)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
