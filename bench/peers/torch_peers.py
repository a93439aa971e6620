"""diffusers on torch: eager with three processors, and compiled with frozen weights."""

import os

from bench import prepare, workload


def _load(case, processor=None):
    import torch

    torch.set_num_threads(case.threads)
    unet = prepare.load_unet(case)
    if processor is not None:
        unet.set_attn_processor(processor)
    return unet, prepare.torch_inputs(case)


def _eager(case, processor=None):
    import torch

    unet, feed = _load(case, processor)

    def forward():
        with torch.inference_mode():
            return unet(*feed, return_dict=False)[0].numpy()

    return forward


def start_eager(case):
    """As diffusers comes: AttnProcessor2_0."""
    return _eager(case)


def start_math(case):
    from diffusers.models.attention_processor import AttnProcessor

    return _eager(case, AttnProcessor())


def start_sliced(case):
    from diffusers.models.attention_processor import SlicedAttnProcessor

    return _eager(case, SlicedAttnProcessor(1))


def start_compiled(case):
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(workload.CACHE / "inductor"))
    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True
    if case.isa == "avx2":
        torch._inductor.config.cpp.simdlen = 256  # bits
    unet, feed = _load(case)
    compiled = torch.compile(unet, dynamic=False)

    def forward():
        with torch.no_grad():  # freezing looks for this very mode
            return compiled(*feed, return_dict=False)[0].numpy()

    return forward
