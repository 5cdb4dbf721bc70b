"""Files of arrays that igr itself writes and reads: whole or not at all, and never a pickle."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping

import numpy as np

from ..errors import InputError
from .atomic import check_file, write_bytes


def write_tensors(path: str | os.PathLike[str], tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write arrays and text to a safetensors file, under a temporary name until it is whole."""
    write_bytes(path, tensor_bytes(tensors, metadata))


def tensor_bytes(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """Arrays and text as a safetensors file, the same bytes for the same content.

    The library orders the text as its hash table happens to be, so the header is written again, in our order.
    """
    from safetensors.numpy import save

    data = save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata)
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = metadata | {"checksum": _checksum(metadata, memoryview(data)[start:])}
    text = json.dumps(dict(sorted(header.items())), ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and text of a safetensors file.

    Raises:
        InputError: the file is missing, unreadable or damaged.
    """
    from safetensors import SafetensorError, safe_open

    check_file(path)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        _check_whole(path, metadata)
        return tensors, metadata
    except (SafetensorError, OSError) as problem:
        raise InputError(f"{path} is no saved model, or damaged ({problem})") from None


def _check_whole(path: str | os.PathLike[str], metadata: dict[str, str]) -> None:
    """Refuse a file with a changed bit, and take its checksum out of its text; older files have none."""
    checksum = metadata.pop("checksum", None)
    if checksum is None:
        return
    with open(path, "rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        if checksum != _checksum(metadata, file.read()):
            raise InputError(f"{path} is damaged: it is not what was saved, by its checksum")


def _checksum(metadata: dict[str, str], arrays: bytes | memoryview) -> str:
    """CRC-32 of the text and the arrays: against accidents, not against someone who means harm."""
    return f"{zlib.crc32(arrays, zlib.crc32(json.dumps(metadata, sort_keys=True).encode())):08x}"


LARGEST = 1e6
"""No weight of a fitted network is so large; with many such, what it computes is not finite."""


def check_parameters(
    tensors: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], *, largest: float = LARGEST
) -> None:
    """Refuse parameters that are missing, of another shape, not finite, or beyond `largest`.

    Raises:
        InputError: the first one that is wrong, and how.
    """
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"{name} is missing")
        if tensors[name].shape != shape or tensors[name].dtype.kind not in "fiu":
            found = f"{tensors[name].dtype} {tensors[name].shape}"
            raise InputError(f"{name} is {found}, the configuration needs {shape}")
        if not (np.abs(tensors[name]) <= largest).all():
            raise InputError(f"{name} holds NaN, infinity, or numbers beyond {largest:g}")
