"""Rows of numbers in pages of packed bytes, which other programs have no need to read.

A page holds, for each byte of a row, that byte of all its rows, packed where that gains: rows that are near each
other have the same high bytes. The field `at` is stored as differences to the row before.
"""

from __future__ import annotations

import zlib

import numpy as np

GAIN = 0.9
"""What packs to more than this share is left as it is."""
TRIED = 8
"""One part of so many of a page's bytes is packed on trial."""


def packed(rows: np.ndarray) -> bytes:
    """Rows as a page."""
    differences = np.diff(rows["at"], axis=0, prepend=rows["at"][:1])
    differences[0] = rows["at"][0]
    rows = rows.copy()
    bits = 8 * differences.dtype.itemsize - 1
    rows["at"] = (differences << 1) ^ (differences >> bits)  # small ones of both signs have high bytes of 0
    planes = np.ascontiguousarray(rows.view(np.uint8).reshape(len(rows), -1).T)
    parts = [_packed_plane(plane) for plane in planes]
    return b"".join([np.array([len(part) for part in parts], "<u4").tobytes(), *parts])


def _packed_plane(plane: np.ndarray) -> bytes:
    trial = plane[: max(len(plane) // TRIED, 64)]
    if len(_deflated(trial)) > GAIN * len(trial):
        return plane.tobytes()
    whole = _deflated(plane)
    return whole if len(whole) < len(plane) else plane.tobytes()


def _deflated(plane: np.ndarray) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
    return packer.compress(plane.data) + packer.flush()


def unpacked(page: bytes | memoryview, count: int, kind: np.dtype) -> np.ndarray:
    """The rows of a page.

    Raises:
        ValueError, zlib.error: it is damaged.
    """
    width = kind.itemsize
    lengths, at = np.frombuffer(page, "<u4", width), 4 * width
    planes = np.empty((width, count), np.uint8)
    for plane, length in zip(planes, lengths.tolist(), strict=True):
        part = memoryview(page)[at : at + length]
        plane[:] = np.frombuffer(part if length == count else zlib.decompress(part, -15, count), np.uint8)
        at += length
    rows = np.ascontiguousarray(planes.T).reshape(-1).view(kind)
    whole = rows["at"].dtype
    coded = rows["at"].astype(whole.str.replace("i", "u"))
    differences = (coded >> 1).astype(whole) ^ -(coded & 1).astype(whole)
    rows["at"] = np.cumsum(differences, axis=0, dtype=whole)
    return rows
