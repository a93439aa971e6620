"""unetd.v1.Admin: what is loaded, and what computes every layer."""

import json
import shutil

import grpc
import numpy as np
import pytest
from conftest import PROCESSORS
from goldens import GOLDEN, read_safetensors, write_safetensors
from unetd_process import DIGITS, ROOT
from wire import Api, refusal

DIGITS_CONFIG = json.loads((ROOT / "config/digits/unet/config.json").read_text())


def describe(api, model, variant=""):
    request = api.message("DescribeModelRequest")(model=model, variant=variant)
    return api.call("Admin", "DescribeModel")(request)


def test_list_models(api):
    models = api.call("Admin", "ListModels")(api.message("ListModelsRequest")()).models
    assert [model.name for model in models[:2]] == ["digits", "variants"]  # in the config's order
    assert len(models) == 2 + len(list((GOLDEN / "unet").iterdir()))
    digits, variants = models[:2]
    assert digits.ready
    assert (digits.version, digits.class_name) == ("1", "UNet2DConditionModel")
    assert (digits.dtype, digits.backend, digits.scheduler) == ("float32", "cpu", "DDIMScheduler")
    assert (digits.max_batch, digits.in_channels, digits.out_channels) == (8, 1, 1)
    assert 1_600_000 < digits.parameters < 1_800_000
    assert [(shape.height, shape.width) for shape in digits.shapes] == [(16, 16)]
    assert [variant.name for variant in digits.variants] == ["default"]
    assert [variant.name for variant in variants.variants] == ["sdpa", *PROCESSORS]
    assert all(variant.share == 0.25 for variant in variants.variants)
    fingerprints = [variant.fingerprint for variant in variants.variants]
    assert len(set(fingerprints)) == len(fingerprints)
    # The same bindings over the same weights.
    assert variants.variants[0].fingerprint == digits.variants[0].fingerprint


def test_layers_of_the_digits(api):
    description = describe(api, "variants")
    assert description.model.name == "variants"
    names = [layer.name for layer in description.layers]
    assert "mid_block.attentions.0.transformer_blocks.0.attn1" in names
    assert len(set(names)) == len(names) == 14
    for layer in description.layers:
        cross = layer.name.endswith("attn2")
        assert layer.kind == ("cross" if cross else "self")
        assert layer.cross_dim == (DIGITS_CONFIG["cross_attention_dim"] if cross else 0)
        assert layer.heads * layer.head_dim == layer.query_dim
        assert {"AttnProcessor", "AttnProcessor2_0", "SlicedAttnProcessor"} <= set(layer.legal_processors)
        assert [binding.variant for binding in layer.bindings] == ["sdpa", *PROCESSORS]
        for number, binding in enumerate(layer.bindings):
            assert binding.processor == PROCESSORS.get(binding.variant, "AttnProcessor2_0")
            rule = "default" if number == 0 else f"models[1].variants[{number}].processors[0]"
            assert (binding.rule, binding.backend) == (rule, "cpu")
            assert binding.algorithm in ("sdpa", "math", "sliced")
            assert binding.kernel
            assert not binding.fallback
        sliced = layer.bindings[-1]
        assert sliced.algorithm == "sliced"
        assert "slice_size=1" in sliced.options


def test_plans_that_were_warmed(api):
    description = describe(api, "variants")
    assert [plan.variant for plan in description.plans] == ["sdpa", *PROCESSORS]
    for plan in description.plans:
        assert "16x16" in plan.shape
        assert plan.operators > 50
        assert plan.arena_row_bytes > 0
        assert plan.block_row_bytes > 0
        assert plan.packed_bytes > 4_000_000


def test_one_variant(api):
    description = describe(api, "variants", "math")
    assert {binding.variant for layer in description.layers for binding in layer.bindings} == {"math"}
    assert [plan.variant for plan in description.plans] == ["math"]


def test_unknown_names(api):
    code, message = refusal(describe, api, "nobody")
    assert code == grpc.StatusCode.NOT_FOUND
    assert message == "Request for unknown model: 'nobody' is not found"
    code, message = refusal(describe, api, "variants", "nobody")
    assert code == grpc.StatusCode.NOT_FOUND
    assert "'nobody'" in message and "sliced" in message


def test_later_rules_override_earlier_ones(start):
    rules = [
        {"layers": "*", "processor": "AttnProcessor"},
        {"layers": "up_blocks.*.attn2", "processor": "SlicedAttnProcessor", "slice_size": 2},
        {"layers": "mid_block.attentions.0.transformer_blocks.0.attn1.processor", "processor": "AttnProcessor2_0"},
    ]
    api = Api(start([{**DIGITS, "variants": [{"name": "mixed", "processors": rules}]}]).channel())
    for layer in describe(api, "digits").layers:
        (binding,) = layer.bindings
        if layer.name == "mid_block.attentions.0.transformer_blocks.0.attn1":
            assert (binding.processor, binding.rule) == ("AttnProcessor2_0", "models[0].variants[0].processors[2]")
        elif layer.name.startswith("up_blocks.") and layer.name.endswith("attn2"):
            assert (binding.processor, binding.rule) == ("SlicedAttnProcessor", "models[0].variants[0].processors[1]")
        else:
            assert (binding.processor, binding.rule) == ("AttnProcessor", "models[0].variants[0].processors[0]")


@pytest.mark.parametrize("model", ["sd15", "sdxl", "no_attention"])
def test_layers_of_goldens(api, model):
    description = describe(api, model)
    crossed = json.loads((GOLDEN / "unet" / model / "config.json").read_text()).get("down_block_types")
    assert bool(description.layers) == any("CrossAttn" in block for block in crossed)
    assert not description.unused_tensors


def test_unused_tensors_are_listed(start, tmp_path):
    """A checkpoint with one tensor more than the model has."""
    folder = tmp_path / "unet"
    shutil.copytree(GOLDEN / "unet" / "one_level", folder)
    path = folder / "diffusion_pytorch_model.safetensors"
    tensors, _ = read_safetensors(path)
    write_safetensors(path, {**tensors, "ema.decay": np.zeros(3, np.float32)})
    server = start([{"name": "extra", "path": str(folder)}])
    assert list(describe(Api(server.channel()), "extra").unused_tensors) == ["ema.decay"]
    assert "ema.decay" in server.log()
