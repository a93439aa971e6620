#!/usr/bin/env python3
"""Has unetd become slower? Measures a short set against a peer and compares the ratios with those recorded last.

    scripts/bench --compare [--repeats 7] [--record]

Compared are ratios to a peer that ran in the same rounds, only with records of the same kind of CPU (AVX2, AVX-512),
case and peer, in bench/results/*.json: the latest counts. A ratio that fell by more than the noise, the larger
interquartile range of the two, is slower: exit 1. A case without a record is measured and told. --record writes what
was measured beside the others.
"""

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's modules are bench.NAME
from bench import machine, report, turns
from bench.workload import ROOT, Case

RESULTS = ROOT / "bench" / "results"
PEER = "onnxruntime"  # quick to start, steady, and it runs at AVX2's speed on AVX2 CPUs as we do
SET = [(Case("tiny", batch=2, latent=16), 50), (Case("sd15", batch=1, latent=32), 1)]  # with forwards a turn


@dataclass(frozen=True)
class Verdict:
    case: str
    peer: str
    now: float  # ratio of this run
    then: float  # of the record
    noise: float

    @property
    def slower(self):
        return self.then - self.now > self.noise

    @property
    def faster(self):
        return self.now - self.then > self.noise

    def __str__(self):
        word = "SLOWER" if self.slower else "faster" if self.faster else "the same"
        return (
            f"{word}: {self.case}: {self.peer} takes {self.now:.3f} times as long as unetd, recorded {self.then:.3f} "
            f"(noise {self.noise:.3f})"
        )


def records(folder=RESULTS):
    """Every result of this format, oldest first."""
    found = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        for result in content if isinstance(content, list) else [content]:
            if isinstance(result, dict) and result.get("format") == turns.FORMAT:
                found.append(result)
    return sorted(found, key=lambda result: result["date"])


def _rows(result):
    return {row["name"]: row for row in result["rows"] if row["name"] != "unetd"}


def last_row(found, result, peer):
    """The peer's row in the latest record of the same case and kind of CPU, or None."""
    kind = machine.cpu_kind(result["cpu"])
    for record in reversed(found):
        if record["case"] == result["case"] and machine.cpu_kind(record["cpu"]) == kind and peer in _rows(record):
            return _rows(record)[peer]
    return None


def verdict(result, peer, recorded):
    row = _rows(result)[peer]
    now, then = report.ratios(row), report.ratios(recorded)
    return Verdict(
        case=report.case_of(result).label,
        peer=row["title"],
        now=statistics.median(now),
        then=statistics.median(then),
        noise=max(report.spread(now), report.spread(then)),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    found = records()
    results, verdicts, unknown = [], [], []
    for case, per_turn in SET:
        result = turns.measure(case, [PEER], args.repeats, per_turn)
        report.show(result)
        results.append(result)
        recorded = last_row(found, result, PEER)
        if recorded is None:
            unknown.append(f"no record: {case.label} against {PEER} on a CPU with {machine.cpu_kind(result['cpu'])}")
        else:
            verdicts.append(verdict(result, PEER, recorded))
    print()
    for line in [*unknown, *verdicts]:
        print(line)
    if args.record:
        day = results[0]["date"].split()[0]
        name = f"compare-{machine.cpu_kind(results[0]['cpu'])}-{day}.json"
        (RESULTS / name).write_text(json.dumps(results, indent=1) + "\n")
        print(f"recorded in bench/results/{name}")
    return 1 if any(one.slower for one in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
