"""Requests for Denoise with the shipped digits model."""

import json

import numpy as np
from goldens import conditions
from unetd_process import ROOT

TABLE = conditions()
SCHEDULER = (ROOT / "config/digits/scheduler/scheduler_config.json").read_text()
DDIM = json.dumps({"_class_name": "DDIMScheduler"})


def text(*digits):
    return {"encoder_hidden_states": np.stack([TABLE[digit] for digit in digits])}


def seeded(*seeds, **fields):
    """Short denoisings from seeds; a row's digit goes with its seed."""
    digits = [str(seed % 10) for seed in seeds]
    request = {
        "model": "digits",
        "num_inference_steps": 6,
        "shape": [len(seeds), 1, 16, 16],
        "seeds": seeds,
        "conditions": text(*digits),
        "negative_conditions": text(*["uncond"] * len(seeds)),
        "guidance_scale": 2.5,
        "use_clipped_model_output": True,
    }
    return {**request, **fields}
