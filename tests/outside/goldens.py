"""The goldens of tests/golden, read with numpy alone."""

import json
import struct

import ml_dtypes
import numpy as np
from unetd_process import ROOT

GOLDEN = ROOT / "tests" / "golden"
TOLERANCE = 2e-4  # of the output's standard deviation: the promise of being equal to diffusers

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


def read_safetensors(path):
    """Returns the tensors and the metadata of a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        flat = np.frombuffer(data[begin:end], _DTYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors, metadata


def write_safetensors(path, tensors):
    names = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
    header, body = {}, b""
    for name, array in tensors.items():
        offsets = [len(body), len(body) + array.nbytes]
        header[name] = {"dtype": names[array.dtype], "shape": array.shape, "data_offsets": offsets}
        body += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


class Call:
    """One forward: inputs by their names on the wire, and what diffusers makes of them."""

    def __init__(self, path):
        tensors, self.metadata = read_safetensors(path)
        self.inputs = {name[3:]: value for name, value in tensors.items() if name.startswith("in.")}
        self.output = tensors.get("out.out_sample")
        self.rows = len(self.inputs["sample"])


def calls_of(model):
    """The calls of a golden UNet by name; "" is io.safetensors."""
    folder = GOLDEN / "unet" / model
    return {path.name[2 : -len(".safetensors")].lstrip("."): path for path in sorted(folder.glob("io*"))}


def model_of(name, **settings):
    """A golden UNet as an entry of `models` in a config."""
    return {"name": name, "path": str(GOLDEN / "unet" / name), **settings}


def assert_equal_to_diffusers(got, expected, tolerance=TOLERANCE):
    """Every element within the tolerance, counted in the expected output's standard deviation."""
    assert got.shape == expected.shape
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    error = np.abs(got - expected).max() / expected.std()
    assert error <= tolerance, f"off by {error:.2e} of std, allowed {tolerance:.2e}"


def conditions():
    """The digits model's conditions: "0" to "9" and "uncond", each [4, 64]."""
    return read_safetensors(ROOT / "config/digits/conditions.safetensors")[0]
