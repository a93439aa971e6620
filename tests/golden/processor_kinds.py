"""diffusers' attention processors, those too that need a GPU, an NPU or a deprecated pipeline.

xFormers' and torch_npu's functions are replaced by the same mathematics in torch, with the checks
that decide whether a call fails.
"""

import contextlib
import math
import types

import torch
import torch.nn.functional as F
from diffusers.models import attention_processor
from diffusers.pipelines.deprecated.text_to_video_synthesis import pipeline_text_to_video_zero


def memory_efficient_attention(query, key, value, attn_bias=None, op=None, scale=None):
    """xformers.ops.memory_efficient_attention for [B, M, K] inputs."""
    expected = (query.shape[0], query.shape[1], key.shape[1])
    if attn_bias is not None and tuple(attn_bias.shape) != expected:
        raise ValueError(
            f"Invalid shape for attention bias: {attn_bias.shape} (expected {expected})"
        )
    scores = query.float() @ key.float().transpose(-1, -2) * scale
    if attn_bias is not None:
        scores = scores + attn_bias
    return (scores.softmax(dim=-1) @ value.float()).to(query.dtype)


def npu_fusion_attention(query, key, value, head_num, input_layout, scale, atten_mask=None, **rest):
    """torch_npu.npu_fusion_attention for BNSD; in atten_mask True drops."""
    if input_layout != "BNSD" or head_num != query.shape[1] or rest.get("pse") is not None:
        raise ValueError("not as AttnProcessorNPU calls it")
    scores = query.float() @ key.float().transpose(-1, -2) * scale
    if atten_mask is not None:
        scores = scores.masked_fill(atten_mask, -math.inf)
    return ((scores.softmax(dim=-1) @ value.float()).to(query.dtype),)


attention_processor.xformers = types.SimpleNamespace(
    ops=types.SimpleNamespace(memory_efficient_attention=memory_efficient_attention)
)
attention_processor.torch_npu = types.SimpleNamespace(npu_fusion_attention=npu_fusion_attention)
attention_processor.is_torch_npu_available = lambda: True


class AttnProcessorNPU(attention_processor.AttnProcessorNPU):
    """In fp32 diffusers hands sdpa a mask that is the wrong way round. `mask` "correct" turns it."""

    def __init__(self, mask="correct", compute=None):
        super().__init__()
        self.correct = mask == "correct"

    def __call__(self, *args, **kwargs):
        with turned_masks() if self.correct else contextlib.nullcontext():
            return super().__call__(*args, **kwargs)


@contextlib.contextmanager
def turned_masks():
    original = F.scaled_dot_product_attention

    def turned(query, key, value, attn_mask=None, **rest):
        attn_mask = None if attn_mask is None else ~attn_mask
        return original(query, key, value, attn_mask=attn_mask, **rest)

    F.scaled_dot_product_attention = turned
    try:
        yield
    finally:
        F.scaled_dot_product_attention = original


def kind_of(name):
    """The class of a processor."""
    if name == "AttnProcessorNPU":
        return AttnProcessorNPU
    if name.startswith("CrossFrame"):
        return getattr(pipeline_text_to_video_zero, name)
    return getattr(attention_processor, name)
