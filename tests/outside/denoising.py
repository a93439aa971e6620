"""Requests for Denoise with the shipped digits model."""

import json

import numpy as np
from goldens import GOLDEN, conditions, read_safetensors
from unetd_process import ROOT

TABLE = conditions()
SCHEDULER = (ROOT / "config/digits/scheduler/scheduler_config.json").read_text()
DDIM = json.dumps({"_class_name": "DDIMScheduler"})
GOLDENS = ["denoise", "denoise_noise", "denoise_rescale", "denoise_unguided"]  # whole denoisings by diffusers


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


def of_golden(name, first=0, last=0):
    """The golden's request for steps [first, last), and its tensors."""
    tensors, metadata = read_safetensors(GOLDEN / "digits" / f"{name}.safetensors")
    steps = int(metadata["num_inference_steps"])
    fields = {
        "model": "digits",
        "num_inference_steps": steps,
        "start_step": first,
        "end_step": last,
        "latents": tensors["latents"] if first == 0 else tensors[f"prev_sample.{first - 1}"],
        "conditions": {"encoder_hidden_states": tensors["conditions"]},
        "guidance_scale": float(metadata["guidance_scale"]),
        "guidance_rescale": float(metadata["guidance_rescale"]),
        "eta": float(metadata["eta"]),
        "use_clipped_model_output": metadata["use_clipped_model_output"] == "true",
    }
    if "negative_conditions" in tensors:
        fields["negative_conditions"] = {"encoder_hidden_states": tensors["negative_conditions"]}
    if fields["eta"] > 0:
        fields["noise"] = np.stack([tensors[f"noise.{step}"] for step in range(first, last or steps)])
    return fields, tensors
