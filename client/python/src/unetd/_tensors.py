"""Arrays of NumPy and tensors of torch, as they travel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Iterable, Optional, Sequence, Tuple, Union

import numpy as np

if TYPE_CHECKING:
    import torch

    Array = Union[np.ndarray, torch.Tensor]

# A type's word on the wire, and its name in NumPy and in torch.
_NAMES = {
    "BOOL": "bool",
    "FP64": "float64",
    "FP32": "float32",
    "FP16": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
}
_WORDS = {name: word for word, name in _NAMES.items()}


def is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")  # who has not imported it has no tensor of it
    return torch is not None and isinstance(value, torch.Tensor)


def encode(value: Any) -> Tuple[str, Sequence[int], bytes]:
    """Datatype, shape and bytes of an array, a tensor, or what NumPy makes an array of.

    float64 becomes FP32: no UNet computes in it, and it is mostly NumPy's default that nobody asked for.
    """
    if is_torch(value):
        return _encode_torch(value)
    array = np.asarray(value)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    word = _WORDS.get(array.dtype.name)  # ml_dtypes' bfloat16 has its name here
    if word is None:
        raise TypeError(f"expected an array of numbers or bool, got {array.dtype}")
    if sys.byteorder == "big" or array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return word, array.shape, array.tobytes()


def _encode_torch(tensor: torch.Tensor) -> Tuple[str, Sequence[int], bytes]:
    import torch

    tensor = tensor.detach()
    if tensor.dtype == torch.float64:
        tensor = tensor.float()
    tensor = tensor.cpu()
    name = str(tensor.dtype)[len("torch.") :]
    if name not in _WORDS:
        raise TypeError(f"expected a tensor of numbers or bool, got {tensor.dtype}")
    bits = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor  # NumPy has none of its own
    return _WORDS[name], tensor.shape, bits.numpy().tobytes()


def decode(datatype: str, shape: Iterable[int], raw: bytes, like: Optional[torch.Tensor] = None) -> Array:
    """The tensor, on the device of `like`; without one an array, where BF16 is widened to float32."""
    name = _NAMES[datatype]
    data = bytearray(raw)  # a copy, so that the result may be written to
    if like is not None:
        import torch

        dtype = getattr(torch, name)
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return flat.reshape(tuple(shape)).to(like.device)
    if name == "bfloat16":
        wide = np.frombuffer(data, np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(tuple(shape))
    return np.frombuffer(data, name).reshape(tuple(shape))
