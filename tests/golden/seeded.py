"""Seeded numbers: what is random in a golden, and the same on every machine."""

import zlib

import numpy as np
import torch


def rng_of(text):
    return np.random.default_rng(zlib.crc32(text.encode()))


def normal(rng, *shape, scale=1.0):
    return torch.from_numpy(np.asarray(rng.standard_normal(shape) * scale, dtype=np.float32))


def mask_of(rng, kind, batch, tokens):
    keep = torch.from_numpy(rng.random((batch, tokens)) < 0.6)
    keep[:, 0] = True  # a row with nothing kept has no meaning
    if kind == "soft":  # biases of about -1 rather than -10000
        return 1.0 - normal(rng, batch, tokens).abs() * 1e-4
    return keep.to(getattr(torch, kind))
