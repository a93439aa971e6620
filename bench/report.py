"""The table of a result, and the few statistics that everything here uses."""

import statistics

from bench.workload import Case


def ratios(row):
    """How many times as long as unetd's forward the row's took, round by round."""
    return [theirs / ours for theirs, ours in zip(row["seconds"], row["unetd_seconds"], strict=True)]


def ratio(row):
    """Of the medians: less moved by one slow round than any ratio."""
    return statistics.median(row["seconds"]) / statistics.median(row["unetd_seconds"])


def quartiles(values):
    """(first, third); of a single value that value."""
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def spread(values):
    """The interquartile range."""
    first, third = quartiles(values)
    return third - first


def seconds_text(seconds):
    return f"{seconds:.3f} s" if seconds >= 0.1 else f"{seconds * 1e3:.3f} ms"


def case_of(result):
    return Case(**result["case"])


def lines(result):
    """The table as text lines."""
    peaks = result["peaks"]
    case = case_of(result)
    yield f"CPU: {result['cpu']}"
    yield (
        f"     {case.threads} threads reach {peaks['fma_gflops']:.0f} GFLOP/s of multiply-adds (fp32) "
        f"and read {peaks['read_gb_s']:.1f} GB/s"
    )
    rounds = len(result["rows"][-1]["seconds"])  # the first row, unetd's, has those of every group
    turn = "" if result["per_turn"] == 1 else f", a round the median of {result['per_turn']} forwards"
    yield f"{case.label}: {result['flops'] / 1e9:.4g} GFLOP a forward, {rounds} rounds{turn}"
    if len(result["together"]) > 1:
        yield "measured beside unetd in turn: " + "; then ".join(", ".join(g) for g in result["together"])
    wide = max(len(row["title"]) for row in result["rows"])
    yield (
        f"  {'':{wide}} {'median':>10} {'range':>24} {'ratio':>6} {'GFLOP/s':>8} {'of peak':>8} {'peak MiB':>9} "
        f"{'ready s':>8} {'difference':>10}"
    )
    for row in result["rows"]:
        median = statistics.median(row["seconds"])
        rate = result["flops"] / median / 1e9
        span = f"{seconds_text(min(row['seconds']))} to {seconds_text(max(row['seconds']))}"
        yield (
            f"  {row['title']:{wide}} {seconds_text(median):>10} {span:>24} {ratio(row):6.2f} {rate:8.0f} "
            f"{rate / peaks['fma_gflops']:8.0%} {row['peak_mib']:9.0f} {row['ready_s']:8.2f} {row['difference']:10.1e}"
        )
    yield (
        "  ratio: time as multiples of unetd's in the same rounds; difference: the largest from diffusers eager, in "
        "standard deviations of its output"
    )
    for row in result["rows"]:
        yield f"  {row['title']}: {row['version']}"


def show(result):
    for line in lines(result):
        print(line)
