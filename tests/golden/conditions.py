"""What the models of Kandinsky and GLIGEN take beside a text."""

import numpy as np
import torch

from seeded import normal


def one_width(config):
    width = config.cross_attention_dim
    return width if isinstance(width, int) else width[0]


def image_inputs(unet, rng, call):
    """Returns what the models of Kandinsky and GLIGEN take beside a text."""
    config, inputs, cross = unet.config, {}, one_width(unet.config)
    if config.addition_embed_type == "text_image":
        inputs["text_embeds"] = normal(rng, call.batch, cross)
    kinds = f"{config.addition_embed_type} {config.encoder_hid_dim_type}"
    if "image" in kinds:
        width = cross if "text_image" in kinds else config.encoder_hid_dim
        inputs["image_embeds"] = normal(rng, call.batch, width)
    if config.addition_embed_type == "image_hint":
        size = call.hint_size or [8 * side for side in call.size]
        inputs["hint"] = normal(rng, call.batch, 3, *size)
    if call.boxes is None:
        return inputs

    def mask():
        return torch.from_numpy((rng.random((call.batch, call.boxes)) < 0.7).astype(np.float32))

    corners = rng.random((call.batch, call.boxes, 4)).astype(np.float32)
    inputs["gligen.boxes"] = torch.from_numpy(corners)
    inputs["gligen.masks"] = mask()
    kinds = ["phrases", "image"] if config.attention_type == "gated-text-image" else []
    for kind in kinds:
        inputs[f"gligen.{kind}_masks"] = mask()
        inputs[f"gligen.{kind}_embeddings"] = normal(rng, call.batch, call.boxes, cross)
    if not kinds:
        inputs["gligen.positive_embeddings"] = normal(rng, call.batch, call.boxes, cross)
    return inputs
