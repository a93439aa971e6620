#!/usr/bin/env python3
"""One forward of a UNet: unetd and its peers, taking turns in one run.

    scripts/bench [--shape sd15|tiny] [--batch 1] [--latent 64] [--threads 2] [--repeats 5]
                  [--dtype float32|bfloat16] [--conv auto|direct|winograd] [--isa avx2]
                  [--peers NAME...] [--json FILE]

Weights are random, made once and kept outside the tree, as are the models exported for the peers. unetd is asked over
gRPC, a peer runs in a process of its own, with its inputs at hand. Printed for each: the median and range of its
seconds, how many times unetd's they are, the rate at which the work of a forward is done (counted as direct algorithms
do it, so that Winograd may pass the peak), peak resident memory, and the time from the start of the process to its
first answer. As many peers as fit into memory run at once beside unetd, the others after them.
"""

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's modules are bench.NAME
from bench import report, turns, workload
from bench.peers import PEERS, default_peers

PER_TURN = {"sd15": 1, "tiny": 50}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    workload.add_case_options(parser)
    parser.add_argument("--repeats", type=int, default=5, help="rounds (5)")
    parser.add_argument("--per-turn", type=int, help="forwards of a turn, whose median counts (sd15: 1, tiny: 50)")
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="unsaid: those of the dtype")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    case = workload.case_of(args)
    peers = default_peers(case) if args.peers is None else list(dict.fromkeys(args.peers))
    if case.isa and (free := [name for name in peers if not PEERS[name].capped]):
        parser.error(f"--isa {case.isa}: {', '.join(free)} cannot be capped")
    result = turns.measure(case, peers, args.repeats, args.per_turn or PER_TURN[case.shape])
    report.show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
