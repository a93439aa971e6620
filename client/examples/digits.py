"""Draws digits with the model that a server without a config serves, and shows them as text.

    build/bin/unetd &
    pip install ./client/python safetensors
    python client/examples/digits.py 3 1 4
"""

import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file
from unetd import Denoiser

TABLE = load_file(pathlib.Path(__file__).parents[2] / "config/digits/conditions.safetensors")
digits = sys.argv[1:] or ["7"]

with Denoiser("127.0.0.1:8001", "digits") as denoiser:
    result = denoiser.denoise(
        conditions={"encoder_hidden_states": np.stack([TABLE[digit] for digit in digits])},
        negative_conditions={"encoder_hidden_states": np.stack([TABLE["uncond"]] * len(digits))},
        guidance_scale=2.5,
        num_inference_steps=25,
        use_clipped_model_output=True,
        shape=[len(digits), 1, 16, 16],
        seeds=range(len(digits)),
    )

for row in np.concatenate(list(result.sample[:, 0]), axis=1):  # -1 to 1
    print("".join(" .:-=+*#%@"[int(level)] * 2 for level in np.clip((row + 1) * 4.75, 0, 9)))
