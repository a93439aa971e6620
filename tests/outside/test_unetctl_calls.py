"""unetctl predict and unetctl step against a real server."""

import json

import numpy as np
import pytest
from goldens import GOLDEN, Call, assert_equal_to_diffusers, read_safetensors, write_safetensors
from unetctl_process import CONDITIONS, digits, unetctl  # noqa: F401 (a fixture)

SUMMARY = {"name", "datatype", "shape", "min", "mean", "max", "std", "nan", "inf"}
STEPS = 6
LOOP = ["--steps", STEPS, "--guidance", "2.5", "--use-clipped-model-output", "--variant", "baseline"]


@pytest.fixture(scope="module")
def forward():
    return Call(GOLDEN / "digits" / "forward.safetensors")


@pytest.fixture
def noise(tmp_path):
    """The latents of two rows, as a file and as an array."""
    array = np.random.default_rng(3).standard_normal((2, 1, 16, 16)).astype(np.float32)
    np.save(tmp_path / "noise.npy", array)
    return tmp_path / "noise.npy", array


def run(server, *arguments):
    done = unetctl(server, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_predict_is_what_diffusers_computes(digits, forward, tmp_path):
    write_safetensors(tmp_path / "in.safetensors", forward.inputs)
    report = run(digits, "predict", "--inputs", tmp_path / "in.safetensors", "--out", tmp_path / "out.npy")
    out = np.load(tmp_path / "out.npy")
    assert_equal_to_diffusers(out, forward.output)
    (summary,) = report["outputs"]
    assert set(summary) == SUMMARY
    assert summary["shape"] == list(out.shape)
    assert summary["mean"] == pytest.approx(out.mean(dtype=np.float64), abs=1e-6)
    assert summary["std"] == pytest.approx(out.std(dtype=np.float64), abs=1e-6)
    assert report["variant"] in {"baseline", "sliced"}
    assert report["server"]["compute_ms"] > 0  # nobody else asks this server


def test_predict_takes_files_of_any_kind(digits, forward, tmp_path):
    arguments = []
    for name, array in forward.inputs.items():
        np.save(tmp_path / f"{name}.npy", array)
        arguments += ["-i", f"{name}={tmp_path / name}.npy"]
    for out in ("a.npy", "a.safetensors"):
        run(digits, "predict", "-v", "baseline", *arguments, "--out", tmp_path / out)
    written, _ = read_safetensors(tmp_path / "a.safetensors")
    assert written["out_sample"].tobytes() == np.load(tmp_path / "a.npy").tobytes()
    # float16 goes in, and out_sample has the sample's datatype
    np.save(tmp_path / "sample.npy", forward.inputs["sample"].astype(np.float16))
    run(digits, "predict", "-v", "baseline", *arguments, "--out", tmp_path / "b.npy")
    assert np.load(tmp_path / "b.npy").dtype == np.float16


def test_predict_with_prompts_prints_a_table(digits, noise):
    done = unetctl(digits, "predict", "-i", f"sample={noise[0]}", "-t", "500", *CONDITIONS, "-p", "3,7")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[2].split()[:3] == ["out_sample", "FP32", "[2,1,16,16]"]
    assert lines[3].startswith("model digits, variant ")
    assert lines[4].startswith("time ")


def test_predict_names_what_is_wrong(digits, noise, tmp_path):
    np.save(tmp_path / "fortran.npy", np.asfortranarray(noise[1]))
    (tmp_path / "text.npy").write_text("not numpy")
    sample = f"sample={noise[0]}"
    for arguments, status, words in [
        ([], 2, "no inputs"),
        (["-i", "sample"], 2, "expected NAME=FILE"),
        (["-i", f"sample={tmp_path}/none.npy"], 2, "does not exist"),
        (["-i", f"sample={tmp_path}/fortran.npy"], 1, "fortran.npy: npy 'fortran_order' is True"),
        (["-i", f"sample={tmp_path}/text.npy"], 1, "text.npy: not an npy file"),
        (["-i", sample, "--out", "x.txt"], 2, "ends in .safetensors or .npy"),
        (["-i", sample], 3, "INVALID_ARGUMENT: "),
        (["-i", sample, "-i", f"nonsense={noise[0]}", "-t", "1", *CONDITIONS, "-p", "1,2"], 3, "'nonsense'"),
        (["-i", sample, "-t", "1", *CONDITIONS, "-p", "1,2", "-v", "none"], 3, "NOT_FOUND: "),
    ]:
        done = unetctl(digits, "predict", *arguments)
        assert done.returncode == status, (arguments, done)
        assert words in done.stderr, (arguments, done.stderr)
        assert done.stdout == ""


@pytest.mark.parametrize(
    "scheduler", ["DDIMScheduler", "DPMSolverMultistepScheduler", "EulerAncestralDiscreteScheduler"]
)
def test_steps_one_by_one_are_the_loop(digits, noise, tmp_path, scheduler):
    path, _ = noise
    prompts = [*CONDITIONS, "--prompt", "3,7", "--scheduler", scheduler, "--seed", "5"]
    loop = [word for word in LOOP if scheduler == "DDIMScheduler" or "clipped" not in str(word)]
    run(digits, "denoise", *prompts, *loop, "--latents", path, "--out-latents", tmp_path / "loop.safetensors")
    sample, state = path, []
    for index in range(STEPS):
        files = [f"{tmp_path}/{name}{index}.safetensors" for name in ("x", "state")]
        report = run(
            digits, "step", "--sample", sample, *prompts, *loop, "--step-index", index, *state,
            "--out", files[0], "--out-state", files[1],
        )  # fmt: skip
        assert [tensor["name"] for tensor in report["outputs"]] == ["prev_sample", "pred_original_sample"]
        assert report["variant"] == "baseline" and report["step_ms"] > 0
        sample, state = files[0], ["--state", files[1]]
    last, _ = read_safetensors(tmp_path / f"x{STEPS - 1}.safetensors")
    whole, _ = read_safetensors(tmp_path / "loop.safetensors")
    assert last["prev_sample"].tobytes() == whole["baseline"].tobytes()


def test_step_names_what_is_wrong(digits, noise):
    prompts = [*CONDITIONS, "--prompt", "3,7"]
    for arguments, status, words in [
        ([], 2, "--sample is required"),
        (["-s", noise[0], "--step-index", "1", "-t", "3"], 2, "excludes"),
        (["-s", noise[0], *prompts, "--step-index", "99"], 3, "step_index"),
        (["-s", noise[0], *prompts, "--scheduler", "{"], 3, "scheduler_json"),
        (["-s", noise[0], *prompts, "--scheduler", "no/where.json"], 1, "cannot read no/where.json"),
        (["-s", noise[0], *CONDITIONS, "-p", "x"], 1, "no prompt 'x'"),
    ]:
        done = unetctl(digits, "step", *arguments)
        assert done.returncode == status, (arguments, done)
        assert words in done.stderr, (arguments, done.stderr)
        assert done.stdout == ""


def test_denoise_takes_latents_scheduler_and_previews(digits, noise, tmp_path):
    prompts = [*CONDITIONS, "--prompt", "3,7", *LOOP]
    once = run(
        digits, "denoise", *prompts, "--latents", noise[0], "--scheduler", "DDIMScheduler", "--eta", "0",
        "--previews-every", "2", "--previews", tmp_path / "on the way", "--no-progress",
        "--out-latents", tmp_path / "a.safetensors",
    )  # fmt: skip
    assert once["previews"] == [f"{tmp_path}/on the way/baseline-step000{step}.png" for step in (1, 3, 5)]
    for path in once["previews"]:
        with open(path, "rb") as file:
            assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    # Row by row: each request gets its own rows of the file.
    run(
        digits, "denoise", *prompts, "--latents", noise[0], "--scheduler", '{"_class_name": "DDIMScheduler"}',
        "--batch", "1", "--out-latents", tmp_path / "b.safetensors",
    )  # fmt: skip
    a, b = (read_safetensors(tmp_path / f"{name}.safetensors")[0]["baseline"] for name in "ab")
    assert a.tobytes() == b.tobytes()


def test_progress_is_said_or_not(digits):
    arguments = ["denoise", *CONDITIONS, "--prompt", "3", "--steps", "4"]
    lines = unetctl(digits, *arguments).stderr
    assert lines.count("\n") == 4 and "\x1b" not in lines
    assert unetctl(digits, *arguments, "--no-progress").stderr == ""
    assert "[####" in unetctl(digits, *arguments, "--progress").stderr
