"""Who is measured beside whom, and how: in turns, so that whatever else the machine does hits all alike."""

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict

from bench import machine, prepare, workload
from bench.peers import PEERS
from bench.peers.process import PeerProcess
from bench.server import Unetd

REST_S = 0.03  # between turns: threads that spin after a forward have gone to sleep
MARGIN_MIB = 1024  # of free memory, for the pages that forwards read
FORMAT = "unetd-bench 1"


def memory_mib(name, case, weights_mib):
    """About what a process takes at its peak."""
    factor = PEERS[name].memory if name in PEERS else 1.7
    pixels = case.batch * (case.latent / workload.SHAPES["sd15"]["sample_size"]) ** 2
    scale = 1.0 if case.shape == "sd15" else 0.05
    return 500 + factor * weights_mib + scale * pixels * (1500 if name == "eager-math" else 500)


def groups(names, sizes, room):
    """The peers in groups, each of which fits into `room` together; whoever fits nowhere is alone."""
    result = []
    for name in names:
        for group in result:
            if sum(sizes[other] for other in group) + sizes[name] <= room:
                group.append(name)
                break
        else:
            result.append([name])
    return result


def plan(names, case, available_mib):
    """The groups that fit beside unetd."""
    weights = workload.weights_mib(case.shape)
    sizes = {name: memory_mib(name, case, weights) for name in names}
    return groups(names, sizes, available_mib - memory_mib("unetd", case, weights) - MARGIN_MIB)


def take_turns(runners, repeats, per_turn):
    """{name: [seconds a turn]}; a turn is the median of `per_turn` forwards."""
    times = {runner.name: [] for runner in runners}
    for runner in runners:
        runner.run(per_turn)  # warm
    for repeat in range(repeats):
        for runner in runners:
            time.sleep(REST_S)
            times[runner.name].append(statistics.median(runner.run(per_turn)))
        print(f"\rround {repeat + 1}/{repeats}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return times


def difference(answer, expected):
    """The largest difference in standard deviations of what is expected."""
    import numpy as np

    return float(np.abs(answer.astype(np.float64) - expected).max() / expected.std())


def _row(runner, seconds, against, expected):
    return {
        "name": runner.name,
        "title": runner.title,
        "version": runner.version,
        "seconds": seconds,
        "unetd_seconds": against,  # of the same rounds
        "peak_mib": runner.peak_mib(),
        "ready_s": runner.ready_s,
        "difference": difference(runner.answer(), expected),
    }


def warm_peer(peer, case):
    """The page cache holds what its process will read: the model and the libraries."""
    for what in peer.needs or ("checkpoint",):
        prepare.warm(what, case)
    modules = ", ".join(peer.distributions)  # they are named alike
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)


def measure(case, peers, repeats, per_turn):
    """The result that --json writes. One unetd serves all groups, so its row holds every round."""
    prepare.ensure(case, ["answer"] + [need for name in peers for need in PEERS[name].needs])
    expected = prepare.answer(case)
    before = machine.peaks(case.threads, case.isa)
    together = plan(peers, case, machine.available_mib()) or [[]]
    if len(together) > 1:
        print(f"not all fit into memory: unetd beside {' then '.join('+'.join(g) for g in together)}", file=sys.stderr)
    rows, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        runners = []
        try:
            prepare.warm("checkpoint", case)
            server = Unetd(case, folder)
            runners.append(server)
            for group in together:
                for name in group:
                    warm_peer(PEERS[name], case)
                    runners.append(PeerProcess(name, case, folder))
                times = take_turns(runners, repeats, per_turn)
                ours += times[server.name]
                for peer in runners[1:]:
                    rows.append(_row(peer, times[peer.name], times[server.name], expected))
                    peer.close()
                del runners[1:]
            rows.insert(0, _row(server, ours, ours, expected))
        finally:
            for runner in runners:
                runner.close()
    return {
        "format": FORMAT,
        "date": machine.now(),
        "cpu": machine.cpu_model(),
        "case": asdict(case),
        "per_turn": per_turn,
        "together": together,
        "flops": prepare.flops(case),
        "weights_mib": workload.weights_mib(case.shape),
        "peaks": machine.better(before, machine.peaks(case.threads, case.isa)),
        "rows": rows,
    }
