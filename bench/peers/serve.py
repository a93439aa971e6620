#!/usr/bin/env python3
"""A peer in a process of its own. Prints "ready" after its first answer, which it writes to ANSWER; then reads counts,
runs so many forwards for each, and answers with their seconds as JSON.

    python bench/peers/serve.py PEER ANSWER [the options of bench/unet.py's case]
"""

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # not this folder, whose modules are bench.peers'
from bench import workload
from bench.peers import PEERS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("answer", type=Path)
    workload.add_case_options(parser)
    args = parser.parse_args()
    peer = PEERS[args.peer]
    channel, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    start = getattr(importlib.import_module(f"bench.peers.{peer.module}"), peer.start)
    forward = start(workload.case_of(args))
    first = forward()
    print("ready", file=channel, flush=True)

    import numpy as np

    np.save(args.answer, first)
    print("saved", file=channel, flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            begin = time.perf_counter()
            forward()
            seconds.append(time.perf_counter() - begin)
        print(json.dumps(seconds), file=channel, flush=True)


if __name__ == "__main__":
    main()
