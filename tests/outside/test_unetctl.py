"""The command-line client against a real server."""

import json
import re

from unetctl_process import CONDITIONS, digits, unetctl  # noqa: F401 (a fixture)
from unetd_process import ROOT

QUICK = ["--steps", "3", "--guidance", "2.5", "--use-clipped-model-output"]


def test_models_are_listed_with_their_variants(digits):
    done = unetctl(digits, "models")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert re.match(r"digits +UNet2DConditionModel +yes +float32 +cpu +1\.\d+ M +16x16", lines[2])
    assert lines[2].endswith("baseline (50%), sliced (50%)")
    (model,) = json.loads(unetctl(digits, "models", "--json").stdout)["models"]
    assert model["in_channels"] == model["out_channels"] == 1
    assert model["scheduler"] == "DDIMScheduler"


def test_layers_tell_what_bound_them(digits):
    description = json.loads(unetctl(digits, "layers", "digits", "--json").stdout)
    assert len(description["layers"]) >= 4
    for layer in description["layers"]:
        assert layer["kind"] == {"1": "self", "2": "cross"}[layer["name"][-1]]
        baseline, sliced = layer["bindings"]
        assert (baseline["processor"], baseline["rule"]) == ("AttnProcessor2_0", "default")
        assert sliced["processor"] == "SlicedAttnProcessor"
        assert sliced["rule"] == "models[0].variants[1].processors[0]"
        assert baseline["backend"] == sliced["backend"] == "cpu"
        assert "SlicedAttnProcessor" in layer["legal_processors"]
    table = unetctl(digits, "layers", "--variant", "sliced").stdout
    assert len(table.splitlines()) == 2 + len(description["layers"])
    assert "baseline" not in table


def test_denoise_draws_every_variant(digits, tmp_path):
    png = tmp_path / "new" / "digits.png"
    done = unetctl(
        digits, "denoise", "--every-variant", *CONDITIONS, "--prompt", "3,7", *QUICK,
        "--png", str(png), "--json",
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["variant"] for row in report["variants"]] == ["baseline", "sliced"]
    for row in report["variants"]:
        assert row["steps"] == 3
        assert row["ms_per_step"] > 0
        assert row["plan_bytes"] > 0
        assert row["largest_difference"] < 1e-3
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert done.stderr.splitlines()[-1].startswith("sliced  3/3 steps")


def test_a_variant_may_have_conditions_of_its_own(digits, tmp_path):
    slanted = ROOT / "config/digits/slanted/conditions.safetensors"
    arguments = ["denoise", "-v", "baseline", "-v", "sliced", *CONDITIONS, "--prompt", "3", *QUICK, "--json"]
    done = unetctl(digits, *arguments, "--variant-conditions", f"sliced={slanted}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["variants"][1]["largest_difference"] > 0.05
    for wrong, words in [("sliced", "expected VARIANT=FILE"), (f"nobody={slanted}", "not among those that run")]:
        refused = unetctl(digits, *arguments, "--variant-conditions", wrong)
        assert refused.returncode == 2 and words in refused.stderr


def test_rows_do_not_depend_on_their_group(digits, tmp_path):
    samples = []
    for batch in ("1", "3"):
        path = tmp_path / f"{batch}.safetensors"
        done = unetctl(
            digits, "denoise", "--variant", "sliced", *CONDITIONS, "--prompt", "0,5,9", *QUICK,
            "--batch", batch, "--out-latents", str(path),
        )
        assert done.returncode == 0, done.stderr
        samples.append(path.read_bytes())
    assert samples[0] == samples[1]


def test_all_leaves_out_the_negative_prompt(digits):
    done = unetctl(digits, "denoise", *CONDITIONS, "--all", "--steps", "1", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["prompts"] == [str(digit) for digit in range(10)]
    assert len(report["variants"]) == 1
    assert report["variants"][0]["requests"] == 2  # ten rows for a model that takes eight


def test_errors_are_one_line_with_the_code(digits):
    for arguments, status, text in [
        (["layers", "nothing"], 3, "unetctl: NOT_FOUND: "),
        (["denoise", *CONDITIONS, "--prompt", "3", "--variant", "none"], 3, "NOT_FOUND: "),
        (["denoise", *CONDITIONS, "--prompt", "3", "--size", "4096x4096"], 3, ": "),
        (["denoise", *CONDITIONS, "--prompt", "x"], 1, "no prompt 'x'"),
        (["denoise", "--rows", "1"], 3, "INVALID_ARGUMENT: "),
    ]:
        done = unetctl(digits, *arguments)
        assert done.returncode == status, (arguments, done)
        assert text in done.stderr, (arguments, done.stderr)
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stdout == ""


def test_command_line_mistakes_end_with_2(digits):
    for arguments in [[], ["nonsense"], ["denoise", "--all"], ["denoise", "--steps", "0"]]:
        done = unetctl(digits, *arguments)
        assert done.returncode == 2, (arguments, done)
    assert unetctl(digits, "denoise", *CONDITIONS).returncode == 2
    assert unetctl(digits, "denoise", "--help").returncode == 0


def test_no_server_ends_with_4():
    done = unetctl("127.0.0.1:1", "models")
    assert done.returncode == 4
    assert done.stderr.startswith("unetctl: no answer from 127.0.0.1:1: UNAVAILABLE: ")


def test_processors_are_listed(digits):
    listed = json.loads(unetctl(digits, "processors", "--json").stdout)["processors"]
    names = [processor["name"] for processor in listed]
    assert {"AttnProcessor2_0", "CrossFrameAttnProcessor", "AttnProcessorNPU"} < set(names)
    table = unetctl(digits, "processors").stdout.splitlines()
    assert [line.split()[0] for line in table[2:]] == names
    one = unetctl(digits, "processors", "SlicedAttnProcessor").stdout
    assert "slice_size" in one and "AttnProcessor2_0" not in one
    failed = unetctl(digits, "processors", "Nobody")
    assert failed.returncode == 2 and "no processor 'Nobody'" in failed.stderr


def test_the_page_on_processors_is_what_unetctl_prints(digits):
    page = (ROOT / "docs" / "processors.md").read_text()
    assert page.endswith(unetctl(digits, "processors", "--markdown").stdout), (
        "docs/processors.md: replace what follows '## The processors' by `unetctl processors --markdown`"
    )


def test_each_processors_example_is_a_rule(digits):
    for processor in json.loads(unetctl(digits, "processors", "--json").stdout)["processors"]:
        rule = json.loads(processor["example"])
        assert rule["processor"] == processor["name"]
        known = {"layers", "processor", "backend", "weights"} | {o["name"] for o in processor["options"]}
        assert set(rule) <= known
        assert {o["name"] for o in processor["options"] if o["required"]} <= set(rule)
