"""The parts of bench/ that measure nothing: plans, statistics, comparison, sentences."""

import argparse
import ast
import json
import os
import pathlib
import sys
from dataclasses import asdict

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from bench import compare, machine, operators, prepare, report, scaling, server, turns, workload
from bench.peers import PEERS, default_peers
from bench.workload import Case

ZEN5 = "AMD EPYC, family 26 model 2 (avx2 avx512f avx512_bf16)"
ZEN3 = "AMD EPYC, family 25 model 1 (avx2)"


def make_row(name, seconds, ours):
    figures = {"peak_mib": 100.0, "ready_s": 1.5, "difference": 1e-6, "version": f"{name} 1.0"}
    return {"name": name, "title": name, "seconds": seconds, "unetd_seconds": ours, **figures}


PEER_SECONDS, OUR_SECONDS = (4.0, 4.1, 3.9, 4.0, 4.0), (2.0, 2.0, 2.1, 2.0, 1.9)


def make_result(case=Case(), peer=PEER_SECONDS, ours=OUR_SECONDS, cpu=ZEN5, date="2026-01-01"):
    return {
        "format": turns.FORMAT,
        "date": date,
        "cpu": cpu,
        "case": asdict(case),
        "per_turn": 1,
        "together": [["onnxruntime"]],
        "flops": 8e11,
        "weights_mib": 3279.0,
        "peaks": {"fma_gflops": 500.0, "read_gb_s": 40.0},
        "rows": [make_row("unetd", list(ours), list(ours)), make_row("onnxruntime", list(peer), list(ours))],
    }


# ---- cases ----


@pytest.mark.parametrize("case", [Case(), Case("tiny", 2, 16, 1, "bfloat16", "direct", "avx2")])
def test_a_case_reaches_another_process(case):
    parser = argparse.ArgumentParser()
    workload.add_case_options(parser)
    assert workload.case_of(parser.parse_args(case.as_arguments())) == case


@pytest.mark.parametrize("words", [["--batch", "0"], ["--latent", "-8"], ["--dtype", "float64"], ["--isa", "sse"]])
def test_a_case_that_makes_no_sense_is_refused(words):
    parser = argparse.ArgumentParser()
    workload.add_case_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(words)


def test_unetd_is_told_of_the_case():
    config = server.config(Case("tiny", 2, 16, 1, "bfloat16", "direct", "avx2"), "a:1", "a:2")
    assert config["backends"] == [{"name": "cpu", "options": {"threads": 1, "isa": "avx2"}}]
    (model,) = config["models"]
    assert (model["dtype"], model["conv"], model["max_batch"], model["shapes"]) == ("bfloat16", "direct", 2, [[16, 16]])
    plain = server.config(Case(), "a:1", "a:2")
    assert "conv" not in plain["models"][0] and "isa" not in plain["backends"][0]["options"]


def test_inputs_are_the_same_each_time():
    pytest.importorskip("numpy")
    case = Case("tiny", batch=2, latent=16)
    first, second = workload.inputs(case), workload.inputs(case)
    assert first["encoder_hidden_states"].shape == (2, 77, 32)
    assert all((first[name] == second[name]).all() for name in first)


# ---- peers ----


def test_every_peer_has_its_function():
    for peer in PEERS.values():
        tree = ast.parse((workload.ROOT / "bench" / "peers" / f"{peer.module}.py").read_text())
        assert peer.start in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert set(peer.needs) <= set(prepare.MAKERS)


def test_peers_by_dtype_and_instructions():
    assert "onnxruntime" in default_peers(Case())
    assert "onnxruntime" not in default_peers(Case(isa="avx2"))  # it cannot be capped
    assert default_peers(Case(dtype="bfloat16")) == ["openvino-bf16"]


@pytest.mark.parametrize(
    "room, expected",
    [(100, [["a", "b", "c"]]), (70, [["a", "b"], ["c"]]), (55, [["a", "c"], ["b"]]), (10, [["a"], ["b"], ["c"]])],
)
def test_groups_fit_into_memory(room, expected):
    assert turns.groups(["a", "b", "c"], {"a": 30, "b": 40, "c": 25}, room) == expected


class FakeRunner:
    def __init__(self, name, log, seconds):
        self.name, self.log, self.seconds = name, log, iter(seconds)

    def run(self, count):
        self.log.append((self.name, count))
        return next(self.seconds)


def test_turns_alternate_and_the_first_does_not_count(monkeypatch):
    monkeypatch.setattr(turns, "REST_S", 0)
    log = []
    runners = [FakeRunner("a", log, [[9, 9, 9], [1, 5, 2], [3, 3, 4]]), FakeRunner("b", log, [[9], [6], [7]])]
    assert turns.take_turns(runners, repeats=2, per_turn=3) == {"a": [2, 3], "b": [6, 7]}
    assert log == [("a", 3), ("b", 3)] * 3


def test_each_peer_is_compared_with_its_own_rounds(monkeypatch):
    """Two peers that do not fit together: one unetd, whose seconds are told apart."""
    numpy = pytest.importorskip("numpy")
    closed, now = [], iter(range(1, 100))

    class Runner:
        version, ready_s = "1.0", 1.0

        def __init__(self, name):
            self.name = self.title = name

        def run(self, count):
            return [next(now)] * count

        def answer(self):
            return numpy.array([0.0, 2.5])

        def peak_mib(self):
            return 1.0

        def close(self):
            closed.append(self.name)

    monkeypatch.setattr(turns, "REST_S", 0)
    monkeypatch.setattr(turns, "Unetd", lambda case, folder: Runner("unetd"))
    monkeypatch.setattr(turns, "PeerProcess", lambda name, case, folder: Runner(name))
    monkeypatch.setattr(turns, "warm_peer", lambda peer, case: None)
    monkeypatch.setattr(turns, "plan", lambda names, case, available: [[name] for name in names])
    for name, value in {"ensure": None, "warm": None, "flops": 5, "answer": numpy.array([0.0, 2.0])}.items():
        monkeypatch.setattr(prepare, name, lambda *_, value=value: value)
    monkeypatch.setattr(machine, "peaks", lambda threads, isa: {"fma_gflops": next(now)})
    result = turns.measure(Case(), ["openvino", "eager"], repeats=1, per_turn=1)
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == ["unetd", "openvino", "eager"]
    # 1: the peaks; 2, 3: warming; 4, 5: the round. 6, 7 and 8, 9: the same of the second peer.
    assert (rows["openvino"]["unetd_seconds"], rows["openvino"]["seconds"]) == ([4], [5])
    assert (rows["eager"]["unetd_seconds"], rows["eager"]["seconds"]) == ([8], [9])
    assert rows["unetd"]["seconds"] == [4, 8]
    assert rows["eager"]["difference"] == pytest.approx(0.5)  # of a standard deviation of 1
    assert result["peaks"] == {"fma_gflops": 10}  # the higher of before and after
    assert closed == ["openvino", "eager", "unetd"]


def test_equal_weights_are_kept_once(tmp_path, monkeypatch):
    monkeypatch.setattr(workload, "CACHE", tmp_path)
    contents = {"sd15-b1-64": b"same", "sd15-b2-64": b"same", "sd15-b1-32": b"diff", "tiny-b1-16": b"same"}
    for folder, content in contents.items():
        (tmp_path / folder / "onnx").mkdir(parents=True)
        (tmp_path / folder / "onnx" / "unet.bin").write_bytes(content)

    def inode(folder):
        return os.stat(tmp_path / folder / "onnx" / "unet.bin").st_ino

    for folder in ("sd15-b2-64", "sd15-b1-32", "tiny-b1-16"):
        prepare.share_weights(tmp_path / folder / "onnx")
    assert inode("sd15-b2-64") == inode("sd15-b1-64")
    assert len({inode("sd15-b1-64"), inode("sd15-b1-32"), inode("tiny-b1-16")}) == 3


# ---- figures ----


def test_cpu_kinds():
    info = "cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\nflags\t\t: fma avx2 avx512f avx512_bf16\n"
    assert machine.cpu_model(info) == ZEN5
    assert [machine.cpu_kind(cpu) for cpu in (ZEN5, ZEN3, "a Pi")] == ["avx512", "avx2", "other"]


def test_a_ratio_is_of_medians_and_a_spread_of_quartiles():
    row = make_row("peer", [4.0, 40.0, 4.2], [2.0, 2.1, 20.0])
    assert report.ratio(row) == pytest.approx(2.0)
    assert report.spread([1.0, 2.0, 3.0, 4.0, 100.0]) == pytest.approx(2.0)
    assert report.spread([5.0]) == 0


def test_the_table_tells_all():
    text = "\n".join(report.lines(make_result()))
    for words in (ZEN5, "sd15, batch 1, 64x64", "500 GFLOP/s", "2.000 s", "2.00", "400", "80%", "onnxruntime 1.0"):
        assert words in text
    assert "in turn" not in text
    split = make_result() | {"together": [["openvino"], ["compile"]]}
    assert "measured beside unetd in turn: openvino; then compile" in "\n".join(report.lines(split))


# ---- comparison ----


def test_the_latest_record_of_the_same_case_and_kind_counts(tmp_path):
    case = Case("tiny", 2, 16)
    records = [
        make_result(case, date="2026-02-02", peer=(5.0,) * 5),
        make_result(case, date="2026-01-01", peer=(3.0,) * 5),
        make_result(case, date="2026-03-03", peer=(9.0,) * 5, cpu=ZEN3),
        make_result(Case(), date="2026-04-04", peer=(8.0,) * 5),
    ]
    (tmp_path / "one.json").write_text(json.dumps(records[0]))
    (tmp_path / "two.json").write_text(json.dumps(records[1:]))
    (tmp_path / "other.json").write_text(json.dumps({"format": "something else"}))
    found = compare.records(tmp_path)
    assert len(found) == 4
    assert compare.last_row(found, make_result(case), "onnxruntime")["seconds"] == [5.0] * 5
    assert compare.last_row(found, make_result(case), "openvino") is None
    assert compare.last_row(found, make_result(Case("sd15", 8)), "onnxruntime") is None


@pytest.mark.parametrize("peer, word", [(4.0, "the same"), (4.05, "the same"), (3.6, "SLOWER"), (4.8, "faster")])
def test_slower_is_what_passes_the_noise(peer, word):
    recorded = make_result()["rows"][1]  # a ratio of 2 with an interquartile range of 0.1
    verdict = compare.verdict(make_result(peer=(peer,) * 5, ours=(2.0,) * 5), "onnxruntime", recorded)
    assert str(verdict).startswith(word + ":")
    assert verdict.slower == (word == "SLOWER")


# ---- scaling and operators ----


def make_point(case, seconds, flops):
    return {"case": asdict(case), "seconds": [seconds], "flops": flops, "peak_mib": 4000.0, "ready_s": 1.0}


def test_scaling_says_where_it_is_not_linear_and_why():
    points = [
        make_point(Case(latent=32), 0.25, 1.0e11),
        make_point(Case(latent=64), 1.0, 4.0e11),
        make_point(Case(latent=128), 6.0, 2.4e12),
        make_point(Case(latent=16), 0.125, 2.5e10),
    ]
    large, small = scaling.explain(points, "latent")
    assert large.startswith("latent 128: 1.50 times") and "its work is 1.50 times" in large and "rate" not in large
    assert small.startswith("latent 16: 2.00 times") and "the rate is 0.50 times" in small and "work" not in small


def test_scaling_that_is_linear_says_nothing():
    points = [make_point(Case(batch=batch), 1.05 * batch, 1e11 * batch) for batch in (1, 2, 4)]
    assert list(scaling.explain(points, "batch")) == []
    threads = [make_point(Case(threads=1), 2.0, 1e11), make_point(Case(threads=2), 1.5, 1e11)]
    (line,) = scaling.explain(threads, "threads")
    assert line.startswith("threads 2: 1.50 times the base's time")


def test_points_of_a_series_share_the_base():
    planned = scaling.series("sd15", quick=False)
    base = Case()
    assert base in planned["batch"] and base in planned["latent"]
    assert {case.latent for case in planned["latent"]} >= {16, 128}
    assert {case.batch for case in planned["batch"]} >= {1, 8}


def make_operator(kind, name, ms, flops, moved):
    return {"kind": kind, "name": name, "ms": ms, "flops": str(flops), "bytes": str(moved)}


OPERATORS = [
    make_operator("conv2d", "conv2d 3x3 stride 1 4 -> 320 at 64x64", 2.0, 400_000_000, 1_000_000),
    make_operator("conv2d", "conv2d 1x1 stride 1 320 -> 320 at 64x64", 0.5, 1_000_000, 500_000),
    make_operator("conv2d", "conv2d 3x3 stride 1 320 -> 320 at 64x64", 1, 600_000_000, 1_000_000),
    {"name": "group_norm 320 at 64x64", "kind": "group_norm", "ms": 0.75, "bytes": "300"},
]


def test_operators_by_sort():
    sums = operators.by_sort(OPERATORS)
    assert list(sums) == ["conv2d 3x3", "group_norm", "conv2d 1x1"]
    assert sums["conv2d 3x3"] == (3.0, 1e9, 2e6)
    assert sums["group_norm"] == (0.75, 0.0, 300.0)


def test_plots_are_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="scripts/bench installs matplotlib, scripts/test does not")
    from bench import plots

    case = asdict(Case())
    profiled = {"format": operators.FORMAT, "cpu": ZEN5, "case": case}
    profiled["peaks"] = {"fma_gflops": 500.0, "read_gb_s": 40.0}
    profiled["profile"] = {"forward_ms": 4.25, "operators": OPERATORS}
    points = [make_point(Case(latent=latent), latent**2 / 4096, 1e9 * latent**2) for latent in (32, 64)]
    grown = {"format": scaling.FORMAT, "cpu": ZEN5, "weights_mib": 3279.0}
    grown["series"] = {"batch": points[1:], "latent": points, "threads": points[1:]}
    for name, content in {"unet": make_result(), "zen5": profiled, "scaling": grown, "none": {}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        plots.draw(tmp_path / f"{name}.json", tmp_path)
    drawn = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    assert set(drawn) == {"unet-peers.svg", "zen5-kinds.svg", "zen5-roofline.svg", "scaling.svg"}
    assert "onnxruntime" in drawn["unet-peers.svg"] and "memory: 40 GB/s" in drawn["zen5-roofline.svg"]
