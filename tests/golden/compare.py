"""Compares two folders of goldens: names, dtypes, shapes and settings; floats by tolerance."""

import json
import struct

import torch
from safetensors.torch import load_file

# Of a tensor's standard deviation: the project's promise of being equal to diffusers.
TOLERANCE = 2e-4
# Written by whatever version makes the files.
VERSIONS = ("_diffusers_version", "diffusers", "format")


def metadata_of(path):
    """Returns the metadata of a safetensors file, without versions."""
    with path.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        metadata = json.loads(file.read(size)).get("__metadata__", {})
    return {key: value for key, value in metadata.items() if key not in VERSIONS}


def tensor_difference(old, new):
    """Returns why two tensors differ, or None."""
    if old.dtype != new.dtype or old.shape != new.shape:
        return f"{old.dtype} {list(old.shape)} became {new.dtype} {list(new.shape)}"
    if not old.dtype.is_floating_point:
        return None if torch.equal(old, new) else "integers differ"
    old, new = old.double(), new.double()
    scale = old.std(correction=0).item() or old.abs().max().item()
    error = (old - new).abs().max().item() if old.numel() else 0.0
    if error <= TOLERANCE * scale:  # false for NaN
        return None
    return f"off by {error:.3g}, its std is {scale:.3g}"


def safetensors_differences(old_path, new_path):
    old, new = load_file(old_path), load_file(new_path)
    found = [f"{name}: only in one of the two" for name in sorted(old.keys() ^ new.keys())]
    if metadata_of(old_path) != metadata_of(new_path):
        found.append("the metadata differ")
    for name in sorted(old.keys() & new.keys()):
        why = tensor_difference(old[name], new[name])
        if why:
            found.append(f"{name}: {why}")
    return found


def json_differences(old_path, new_path):
    def read(path):
        value = json.loads(path.read_text())
        if isinstance(value, dict):
            value = {key: item for key, item in value.items() if key not in VERSIONS}
        return value

    return [] if read(old_path) == read(new_path) else ["the JSON differs"]


def files_of(folder):
    """Returns the goldens below a folder, as paths relative to it."""
    paths = [*folder.rglob("*.safetensors"), *folder.rglob("*.json")]
    return {path.relative_to(folder) for path in paths}


def report(old, new, whole):
    """Prints every difference; returns 1 if any, else 0. whole: nothing else may lie in old."""
    old_files, new_files = files_of(old), files_of(new)
    found = [f"{path}: missing" for path in sorted(new_files - old_files)]
    if whole:
        found += [f"{path}: nothing makes it" for path in sorted(old_files - new_files)]
    for path in sorted(old_files & new_files):
        differ = json_differences if path.suffix == ".json" else safetensors_differences
        found += [f"{path}: {line}" for line in differ(old / path, new / path)]
    print("\n".join(found) or f"{len(new_files)} files are equal within {TOLERANCE} of std")
    return 1 if found else 0
