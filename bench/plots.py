#!/usr/bin/env python3
"""Draws the recorded figures as SVG, readable on light and on dark pages.

    scripts/bench --plots [--folder bench/results] [FILE...]        unsaid: every JSON file of the folder

Of results of `scripts/bench --json`: unetd against its peers. Of `--operators`: time by kind of operator, and the
roofline, each operator's rate over what it moves against the limits measured with it. Of `--scaling`: time and memory.
A plot is FOLDER/NAME-*.svg beside the file NAME.json that it shows.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's modules are bench.NAME
from bench import operators, report, scaling, turns
from bench.workload import ROOT

INK = "#7d8590"  # on white and on black alike
OURS, OTHERS = "#2f81f7", "#9aa4af"
COLOURS = ["#2f81f7", "#db6d28", "#3fb950", "#a371f7", "#e5534b", "#c69026", "#57ab5a", "#768390"]


def _pyplot():
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "unetd", "savefig.transparent": True, "font.family": "sans-serif",
        "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK,
        "ytick.color": INK, "axes.titlecolor": INK, "axes.spines.top": False, "axes.spines.right": False,
        "grid.color": INK, "grid.alpha": 0.25, "legend.frameon": False, "legend.labelcolor": INK, "axes.titlesize": 10,
    })  # fmt: skip
    return pyplot


def _save(figure, path):
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    figure.clf()
    print(path)


def draw_peers(result, path):
    """A bar for each: its time in multiples of unetd's."""
    pyplot = _pyplot()
    rows = sorted(result["rows"], key=report.ratio)
    figure, axes = pyplot.subplots(figsize=(7.2, 0.7 + 0.42 * len(rows)))
    values = [report.ratio(row) for row in rows]
    colours = [OURS if row["name"] == "unetd" else OTHERS for row in rows]
    axes.barh([row["title"] for row in rows], values, color=colours, height=0.65)
    for y, (row, value) in enumerate(zip(rows, values)):
        text = f" {value:.2f}x  {report.seconds_text(statistics.median(row['seconds']))}"
        axes.text(value, y, text, va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, max(values) * 1.3)
    axes.set_title(f"time of a forward, unetd = 1: {report.case_of(result).label}\n{result['cpu']}")
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    _save(figure, path)


def draw_kinds(result, path):
    """Time by kind of operator."""
    pyplot = _pyplot()
    sorts = operators.by_sort(result["profile"]["operators"])
    total = sum(ms for ms, _, _ in sorts.values())
    figure, axes = pyplot.subplots(figsize=(7.2, 0.7 + 0.32 * len(sorts)))
    axes.barh(list(sorts), [ms for ms, _, _ in sorts.values()], color=OURS, height=0.65)
    for y, (ms, flops, _) in enumerate(sorts.values()):
        rate = f", {flops / ms / 1e6:.0f} GFLOP/s" if flops and ms else ""
        axes.text(ms, y, f" {ms:.1f} ms ({ms / total:.0%}{rate})", va="center")
    axes.invert_yaxis()
    axes.set_xlim(0, max(ms for ms, _, _ in sorts.values()) * 1.45)
    axes.set_xlabel("ms of a forward")
    axes.set_title(f"time by operator: {report.case_of(result).label}\n{result['cpu']}")
    _save(figure, path)


def draw_roofline(result, path):
    """Each operator's rate over the operations for a byte that it must move, with the machine's two limits."""
    pyplot = _pyplot()
    peaks = result["peaks"]
    points = [
        (o["flops"] / o["bytes"], o["flops"] / o["ms"] / 1e6, o["ms"], o["sort"])
        for o in map(operators.numbers, result["profile"]["operators"])
        if o["flops"] and o["bytes"] and o["ms"]
    ]
    figure, axes = pyplot.subplots(figsize=(7.2, 4.4))
    sorts = [sort for sort in operators.by_sort(result["profile"]["operators"]) if sort in {p[3] for p in points}]
    for colour, sort in zip(COLOURS * len(sorts), sorts):
        mine = [p for p in points if p[3] == sort]
        sizes = [12 + 160 * p[2] / max(q[2] for q in points) for p in mine]
        axes.scatter(
            [p[0] for p in mine], [p[1] for p in mine], s=sizes, color=colour, alpha=0.6, label=sort, linewidths=0
        )
    low, high = min(p[0] for p in points) / 2, max(p[0] for p in points) * 2
    ridge = peaks["fma_gflops"] / peaks["read_gb_s"]
    edge = [low, ridge, high] if low < ridge < high else [low, high]
    axes.plot(edge, [min(peaks["fma_gflops"], x * peaks["read_gb_s"]) for x in edge], color=INK, linewidth=1.2)
    ceiling = (high, peaks["fma_gflops"])
    axes.annotate(f"multiply-adds: {peaks['fma_gflops']:.0f} GFLOP/s", ceiling, ha="right", va="bottom")
    if low < ridge:
        foot, right_of_it = (low, low * peaks["read_gb_s"]), {"xytext": (12, 0), "textcoords": "offset points"}
        axes.annotate(f"memory: {peaks['read_gb_s']:.0f} GB/s", foot, va="center", **right_of_it)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        which(lambda value, _: f"{value:.0f}" if f"{value:.0e}"[0] in "125" else "")
    axes.grid(True, which="major")
    axes.set_xlabel("FLOP a byte of operands and weights, each moved once")
    axes.set_ylabel("GFLOP/s (as direct algorithms count)")
    axes.legend(loc="lower right", markerscale=0.8)
    axes.set_title(f"operators of {report.case_of(result).label}; area: time\n{result['cpu']}")
    _save(figure, path)


def draw_scaling(result, path):
    """Time for a row and a pixel, and memory over the weights, as the input grows."""
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(1, len(result["series"]) + 1, figsize=(11, 3))
    for axes, (name, points) in zip(panels, result["series"].items()):
        cases = [report.case_of(point) for point in points]
        medians = [statistics.median(point["seconds"]) for point in points]
        per_unit = [median / scaling.units(case, name) for median, case in zip(medians, cases)]
        sizes = [getattr(case, name) for case in cases]
        base = per_unit[scaling.base_index(cases, name)]
        axes.plot(sizes, [value / base for value in per_unit], "o-", color=OURS)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.axhline(1, color=INK, linewidth=0.8, linestyle=":")
        axes.set_ylim(0, None)
        axes.set_xlabel({"batch": "batch", "latent": "side of the latent", "threads": "threads"}[name])
        axes.set_title({"batch": "time a row", "latent": "time a pixel", "threads": "time x threads"}[name])
    points = [point for points in result["series"].values() for point in points]
    cases = [report.case_of(point) for point in points]
    over = [point["peak_mib"] - result["weights_mib"] for point in points]
    axes = panels[-1]
    axes.scatter([case.batch * case.latent**2 for case in cases], over, color=OURS, s=18)
    axes.set_ylim(0, None)
    axes.set_xlabel("pixels of all rows")
    axes.set_title("peak MiB over the weights")
    _save(figure, path)


PLOTS = {
    turns.FORMAT: {"peers": draw_peers},
    operators.FORMAT: {"kinds": draw_kinds, "roofline": draw_roofline},
    scaling.FORMAT: {"scaling": draw_scaling},
}


def draw(path, folder):
    content = json.loads(path.read_text())
    if isinstance(content, dict):
        for name, plot in PLOTS.get(content.get("format"), {}).items():
            plot(content, folder / (path.stem + ("" if path.stem.endswith(name) else f"-{name}") + ".svg"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("files", nargs="*", type=Path)
    args = parser.parse_args()
    for path in args.files or sorted(args.folder.glob("*.json")):
        draw(path, args.folder)


if __name__ == "__main__":
    main()
