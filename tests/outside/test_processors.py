"""Every processor by a rule of the config: what `--check` shows, what is served, what is refused."""

import json
import re

import grpc
import numpy as np
import pytest
from goldens import GOLDEN, Call, assert_equal_to_diffusers, model_of, read_safetensors, write_safetensors
from unetd_process import BUILD, Unetd, assert_refused, check
from wire import Api, infer, infer_request, refusal

FOLDER = GOLDEN / "processors"
BACKENDS = [{"name": "cpu", "options": {"threads": 1}}, {"name": "memory_efficient"}]
KV = FOLDER / "custom_diffusion.kv.weights.safetensors"
ALL = FOLDER / "custom_diffusion.all.weights.safetensors"
FIRST = "models[0].variants[0].processors[0]"


def rule(processor, layers="*", **options):
    return {"layers": layers, "processor": processor, **options}


# Variant: its one rule, and the golden call that it answers.
PLAIN = {
    "base": (rule("AttnProcessor2_0"), "AttnProcessor2_0.masks"),
    "math": (rule("AttnProcessor"), "AttnProcessor"),
    "fused": (rule("FusedAttnProcessor2_0"), "FusedAttnProcessor2_0.masks"),
    "sliced": (rule("SlicedAttnProcessor", slice_size=1), "SlicedAttnProcessor.1.masks"),
    "xformers": (rule("XFormersAttnProcessor", attention_op=None), "XFormersAttnProcessor.masks"),
    "npu": (rule("AttnProcessorNPU"), "AttnProcessorNPU.masks"),
    "npu-turned": (rule("AttnProcessorNPU", mask="diffusers"), "AttnProcessorNPU.diffusers.masks"),
    "frames": (rule("CrossFrameAttnProcessor2_0"), "CrossFrameAttnProcessor2_0.frames"),
    "frames-math": (
        rule("CrossFrameAttnProcessor", batch_size=3),
        "CrossFrameAttnProcessor.3.frames",
    ),
    "custom": (rule("CustomDiffusionAttnProcessor", weights=str(ALL)), "CustomDiffusionAttnProcessor"),
    "custom-sdpa": (
        rule("CustomDiffusionAttnProcessor2_0", weights=str(ALL), train_kv=True),
        "CustomDiffusionAttnProcessor2_0",
    ),
    "custom-xformers": (
        rule("CustomDiffusionXFormersAttnProcessor", weights=str(KV)),
        "CustomDiffusionXFormersAttnProcessor",
    ),
}
ADDED = {
    "math": (rule("AttnAddedKVProcessor"), "AttnAddedKVProcessor.encoder_mask"),
    "sdpa": (rule("AttnAddedKVProcessor2_0"), "AttnAddedKVProcessor2_0.rows"),
    "sliced": (rule("SlicedAttnAddedKVProcessor", slice_size=3), "SlicedAttnAddedKVProcessor.3"),
    "xformers": (rule("XFormersAttnAddedKVProcessor"), "XFormersAttnAddedKVProcessor.rows"),
}


def variants(table):
    return [{"name": name, "processors": [entry[0]]} for name, entry in table.items()]


def models():
    return [
        model_of("processors", variants=variants(PLAIN)),
        model_of("deepfloyd_if", variants=variants(ADDED)),
    ]


@pytest.fixture(scope="module")
def bound(tmp_path_factory):
    server = Unetd(tmp_path_factory.mktemp("processors"), models(), backends=BACKENDS)
    yield server
    assert server.stop() == 0, server.log()[-8000:]


CASES = [("processors", name, entry[1]) for name, entry in PLAIN.items()]
CASES += [("deepfloyd_if", name, entry[1]) for name, entry in ADDED.items()]


@pytest.mark.parametrize("model,variant,golden", CASES)
def test_equal_to_its_namesake(bound, model, variant, golden):
    call = Call(FOLDER / f"{golden}.safetensors")
    got = infer(bound.triton(), model, call.inputs, parameters={"variant": variant})
    assert_equal_to_diffusers(got, call.output)


def test_check_shows_options_weights_and_backends(tmp_path):
    done = check(tmp_path, {"backends": BACKENDS, "models": models()})
    assert done.returncode == 0, done.stderr

    def lines(variant, rule_path):
        return [line for line in done.stdout.splitlines() if f"by {rule_path}" in line and variant in line]

    of = {name: f"models[0].variants[{i}].processors[0]" for i, name in enumerate(PLAIN)}
    (layer, *_) = lines("", of["sliced"])
    assert "SlicedAttnProcessor (slice_size=1)" in layer and "sliced on cpu" in layer
    (layer, *_) = lines("", of["xformers"])
    assert "(attention_op=null)" in layer and "memory_efficient on memory_efficient" in layer
    (layer, *_) = lines("", of["npu-turned"])
    assert "(mask=diffusers)" in layer and "sdpa on cpu" in layer  # it is float32
    (layer, *_) = lines("", of["frames-math"])
    assert "(batch_size=3)" in layer
    trained = lines("", of["custom-sdpa"])
    assert trained and all("attn2" in line for line in trained)  # the file holds no other
    assert "train_kv=true, train_q_out=true, out_bias=true" in trained[0]
    assert json.dumps(str(ALL)) in trained[0]
    added = [line for line in done.stdout.splitlines() if "AttnAddedKVProcessor2_0" in line]
    assert added and all("by models[1].variants[1]" in line for line in added)


def config(*rules, model="processors", **settings):
    listed = [{"name": "one", "processors": list(rules)}]
    return {"backends": BACKENDS, "models": [model_of(model, variants=listed, **settings)]}


REFUSED = {
    "added on plain": (config(rule("AttnAddedKVProcessor2_0")), ["add_k_proj", "AttnProcessor2_0"]),
    "plain on added": (config(rule("AttnProcessor2_0"), model="deepfloyd_if"), ["AttnAddedKVProcessor2_0"]),
    "frames on added": (config(rule("CrossFrameAttnProcessor"), model="deepfloyd_if"), ["image"]),
    "no weights": (config(rule("CustomDiffusionAttnProcessor")), [".weights", "train_kv"]),
    "weights of nobody": (config(rule("AttnProcessor", weights=str(KV))), [".weights", "trained"]),
    "a pickle": (
        config(rule("CustomDiffusionAttnProcessor", weights="custom_diffusion.bin")),
        [".weights", "custom_diffusion.bin", ".safetensors"],
    ),
    "no such file": (
        config(rule("CustomDiffusionAttnProcessor", weights="nowhere.safetensors")),
        [".weights", "nowhere.safetensors"],
    ),
    "not in the file": (
        config(rule("CustomDiffusionAttnProcessor", "*.attn1", weights=str(KV))),
        [".weights", "'*.attn1'", "custom_diffusion.kv.weights.safetensors"],
    ),
    "said to be trained": (
        config(rule("CustomDiffusionAttnProcessor", weights=str(KV), train_q_out=True)),
        [".weights", "to_q_custom_diffusion.weight", "train_q_out is true"],
    ),
    "said not to be trained": (
        config(rule("CustomDiffusionAttnProcessor", weights=str(KV), train_kv=False)),
        [".weights", "to_k_custom_diffusion.weight", "train_kv is false"],
    ),
    "another model's sizes": (
        config(rule("CustomDiffusionAttnProcessor", weights=str(KV), hidden_size=320)),
        [".hidden_size", "320"],
    ),
    "odd option": (config(rule("CrossFrameAttnProcessor", batch_size=0)), [".batch_size", "got 0"]),
    "odd op": (config(rule("XFormersAttnProcessor", attention_op="warp")), ["warp", "memory_efficient"]),
    "odd compute": (config(rule("AttnProcessorNPU", compute="int8")), [".compute", "'int8'"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_load(tmp_path, name):
    refused, words = REFUSED[name]
    assert_refused(tmp_path, refused, FIRST, *words)


def test_no_backend_for_the_algorithm(tmp_path):
    refused = config(rule("XFormersAttnProcessor"))
    refused["backends"] = BACKENDS[:1]
    assert_refused(tmp_path, refused, FIRST, "memory_efficient", "cpu")
    refused["models"][0]["variants"][0]["processors"][0]["fallback"] = "sdpa"
    done = check(tmp_path, refused)
    assert done.returncode == 0, done.stderr
    assert "fell back to sdpa" in done.stdout


def test_no_npu(tmp_path):
    """Half precision needs an NPU; with no list of backends, what could not be opened is named."""
    for settings, options in (({"dtype": "float16"}, {}), ({}, {"compute": "bfloat16"})):
        refused = config(rule("AttnProcessorNPU", **options), **settings)
        assert_refused(tmp_path, refused, FIRST, "npu")
        del refused["backends"]
        done = check(tmp_path, refused)
        if done.returncode == 0:
            pytest.skip("this machine has an NPU")
        assert FIRST in done.stderr and "not opened" in done.stderr and "npu" in done.stderr


CANN = BUILD / "tests" / "cann" / "full"  # CANN's libraries, emulated


@pytest.mark.skipif(not (CANN / "libopapi.so").exists(), reason="the CANN emulator is not built")
@pytest.mark.parametrize("golden", ["AttnProcessorNPU", "AttnProcessorNPU.masks"])
def test_layers_on_an_npu_in_a_model_on_the_cpu(tmp_path, golden):
    listed = [{"name": "npu", "processors": [rule("AttnProcessorNPU", compute="float16")]}]
    npu = {"name": "npu", "options": {"library_path": str(CANN)}}
    model = model_of("processors", variants=listed)
    done = check(tmp_path, {"backends": [*BACKENDS, npu], "models": [model]})
    assert done.returncode == 0, done.stderr
    assert "AttnProcessorNPU (compute=float16, mask=correct)  npu on npu" in done.stdout
    server = Unetd(tmp_path, [model], backends=[*BACKENDS, npu])
    try:
        call = Call(FOLDER / f"{golden}.safetensors")
        got = infer(server.triton(), "processors", call.inputs)
        assert_equal_to_diffusers(got, call.output, 2e-2)
    finally:
        assert server.stop() == 0


def test_trained_weights_beside_the_config(tmp_path):
    (tmp_path / "trained.safetensors").write_bytes(KV.read_bytes())
    done = check(tmp_path, config(rule("CustomDiffusionAttnProcessor2_0", weights="trained.safetensors")))
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "trained.safetensors") in done.stdout


def test_a_wrong_shape_names_file_and_tensor(tmp_path):
    tensors, _ = read_safetensors(KV)
    name = next(name for name in tensors if name.endswith("to_v_custom_diffusion.weight"))
    tensors = {key: np.array(value) for key, value in tensors.items()}
    tensors[name] = tensors[name][:, :-1].copy()
    path = tmp_path / "cut.safetensors"
    write_safetensors(path, tensors)
    words = [f"{FIRST}.weights", str(path), name, "has shape"]
    assert_refused(tmp_path, config(rule("CustomDiffusionAttnProcessor2_0", weights=str(path))), *words)


def frames(count, call):
    inputs = Call(FOLDER / f"{call}.safetensors").inputs
    return {name: array if name == "timestep" else array[:count] for name, array in inputs.items()}


@pytest.mark.parametrize("variant,good,bad", [("frames", [1, 2, 4, 6], [5]), ("frames-math", [3, 6], [1, 2])])
def test_rows_are_whole_videos(bound, variant, good, bad):
    for rows in good:
        inputs = frames(rows, "CrossFrameAttnProcessor2_0.frames")
        assert infer(bound.triton(), "processors", inputs, parameters={"variant": variant}).shape[0] == rows
    for rows in bad:
        request = infer_request("processors", frames(rows, "CrossFrameAttnProcessor2_0.frames"))
        request.parameters["variant"].string_param = variant
        code, message = refusal(bound.stub().ModelInfer, request)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert "sample" in message and "batch_size" in message and f"{rows} rows" in message
        assert "attn1" in message


def test_a_mask_that_diffusers_fails_on(bound):
    """One value a pixel is not what level 0 has, whose attn1 reads the text."""
    call = Call(FOLDER / "AttnProcessor2_0.masks.safetensors")
    for variant in ("frames-math", "custom-xformers"):
        request = infer_request("processors", call.inputs)
        request.parameters["variant"].string_param = variant
        code, message = refusal(bound.stub().ModelInfer, request)
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert "mask" in message and "layer '" in message and "models[0].variants[" in message


def test_variants_share_the_weights_of_the_model(tmp_path):
    """A second variant costs what was trained, and no more."""

    def packed(*listed):
        done = check(tmp_path, {"backends": BACKENDS, "models": [model_of("processors", variants=list(listed))]})
        assert done.returncode == 0, done.stderr
        (size,) = re.findall(r"([0-9.]+) KiB of packed weights \(shared", done.stdout)
        return float(size)

    base = {"name": "base"}
    frame = {"name": "frames", "processors": [PLAIN["frames"][0]]}
    custom = {"name": "custom", "processors": [PLAIN["custom-sdpa"][0]]}
    again = {"name": "again", "processors": [PLAIN["custom"][0]]}  # of the same file
    alone = packed(base)
    assert packed(base, frame) == alone
    assert 0 < packed(base, custom) - alone < alone / 4  # panels are padded
    assert packed(base, custom, again) == packed(base, custom)


def test_guidance_counts_as_one_group(bound):
    api = Api(bound.channel())
    text = Call(FOLDER / "CrossFrameAttnProcessor2_0.frames.safetensors").inputs["encoder_hidden_states"]

    def denoise(variant, rows):
        return api.denoise(
            model="processors",
            variant=variant,
            scheduler_json=json.dumps({"_class_name": "DDIMScheduler"}),
            num_inference_steps=1,
            guidance_scale=2.0,
            shape=[rows, 4, 8, 6],
            seeds=range(rows),
            conditions={"encoder_hidden_states": text[:rows]},
            negative_conditions={"encoder_hidden_states": text[-rows:]},
        )

    def sample(variant, rows):
        raw = list(denoise(variant, rows))[-1].result.sample.raw
        return np.frombuffer(raw, np.float32).reshape(rows, -1)

    # Two videos, without and with the text: the first frame of each reads itself, the others it.
    base, framed = sample("base", 3), sample("frames", 3)
    assert np.array_equal(framed[0], base[0])
    assert not np.allclose(framed[1:], base[1:], atol=1e-3)
    # 3 rows are 6 with guidance, so 3 videos of 2 frames; 5 are 10, which are no videos of 3.
    assert sample("frames-math", 3).shape[0] == 3
    code, message = refusal(denoise, "frames-math", 5)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "guidance runs the 5 rows twice" in message and "10 rows" in message
