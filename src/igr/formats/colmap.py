"""What COLMAP writes: sparse models (points3D and images, .bin or .txt), and fused.ply.vis: which image saw what.

A point's track names the images that saw it; one of them is its view (`_views`).
"""

from __future__ import annotations

import re
import struct
from array import array
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ..errors import InputError
from ..machine import require
from ..store.atomic import check_file
from .ply import read_ply
from .table import Table
from .text import cut_short

POINTS = ("points3D.bin", "points3D.txt", "points3D.ply")
IMAGES = ("images.bin", "images.txt")
BESIDE = ("", "sparse", "sparse/0", "../sparse", "../sparse/0")
"""Where the images of a fused cloud are looked for, from its folder."""
POINT = np.dtype([("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")])
IMAGE = struct.Struct("<I7dI")
"""Number, rotation (w x y z) and translation from world to camera, camera; then follow name and points."""
LONGEST, BLOCK = 40, 1 << 18
"""Characters of a number in text, and how many numbers are converted at once."""
READ_BYTE = 20
"""Bytes that reading a model takes for each of its bytes."""


@dataclass(frozen=True, eq=False)
class Cameras:
    """The images of a model, in the order of its file."""

    numbers: Int[np.ndarray, " k"]
    """What tracks call them."""
    centers: Float[np.ndarray, "k 3"]
    """Where they were taken from: −Rᵀt."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Which images saw each point, all in one array."""

    lengths: Int[np.ndarray, " n"]
    """Images of each point."""
    images: Int[np.ndarray, " m"]
    """Their numbers, those of the first point first."""


def is_model(path: Path) -> bool:
    """Whether a path is a sparse model: a folder with points3D.bin, .txt or .ply, or the first two themselves."""
    return path.name in POINTS[:2] or any((path / name).is_file() for name in POINTS)


def read_model(path: Path) -> Table:
    """The points of a sparse model, their colors and `error` (of reprojection, pixels), and who saw them.

    Raises:
        InputError: it is damaged.
    """
    folder = path if path.is_dir() else path.parent
    file = path if not path.is_dir() else next(path / name for name in POINTS if (path / name).is_file())
    check_file(file)
    require(READ_BYTE * file.stat().st_size, f"reading {file.name}")
    cameras = _cameras(folder)
    if file.suffix == ".ply":
        table = read_ply(file)
        return table if cameras is None else replace(table, viewpoints=cameras.centers)
    table, tracks = (_points_bin if file.suffix == ".bin" else _points_txt)(file)
    if cameras is None:
        return table
    order = np.argsort(cameras.numbers)
    place = np.minimum(np.searchsorted(cameras.numbers, tracks.images, sorter=order), len(order) - 1)
    rows = order[place]
    rows[cameras.numbers[rows] != tracks.images] = -1
    views = _views(table.points, cameras.centers, tracks.lengths, rows)
    return replace(table, viewpoints=cameras.centers, views=views)


def with_visibility(table: Table, path: Path) -> Table:
    """The table of a fused cloud, with its views if NAME.ply.vis is beside it and the model's images are near.

    Raises:
        InputError: the file of visibility is damaged, or belongs to another cloud.
    """
    file = path.with_name(path.name + ".vis")
    if path.suffix.lower() != ".ply" or not file.is_file():
        return table
    cameras = next(filter(None, (_cameras(path.parent / folder) for folder in BESIDE)), None)
    if cameras is None:
        return replace(table, notes=(*table.notes, f"left {file.name} aside, as there are no images.bin near it"))
    data = file.read_bytes()
    require(READ_BYTE * len(data), f"reading {file.name}")
    starts, lengths = _chain(data, 4, struct.Struct("<I"), 4, file.name)
    if len(starts) != len(table.points):
        counts = f"is of {len(starts):,} points, and {path.name} has {len(table.points):,}"
        raise InputError(f"{file.name} {counts}; remove it, or take the one that belongs to it.")
    words = np.frombuffer(data, "<u4", (len(data) - 8) // 4, 8)
    rows = words[_within((starts - 8) // 4 + 1, lengths)].astype(np.int64)
    rows[rows >= len(cameras.centers)] = -1
    views = _views(table.points, cameras.centers, lengths, rows)
    return replace(table, viewpoints=cameras.centers, views=views)


def _chain(data: bytes, head: int, length: struct.Struct, unit: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the entries of a list begin, and how many units of so many bytes follow the head of each, which ends
    with their number. Where one begins is known once the last is read: nothing for NumPy, .35 s a million here."""
    count, start = int.from_bytes(data[:8], "little"), 8
    if count * head > len(data) - 8:
        raise cut_short(name, count)
    starts, read, last = array("q"), length.unpack_from, head - length.size
    try:
        for _ in range(count):
            starts.append(start)
            start += head + unit * read(data, start + last)[0]
    except (struct.error, OverflowError):
        raise cut_short(name, count, len(starts) - 1) from None
    if start > len(data):
        raise cut_short(name, count, count - 1)
    starts.append(start)
    places = np.array(starts, np.int64)
    return places[:-1], (np.diff(places) - head) // unit


def _within(starts: np.ndarray, lengths: np.ndarray, step: int = 1) -> np.ndarray:
    """Places `starts`, `starts + step`, …, as many as `lengths` says, for each in turn."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - step * before, lengths) + step * np.arange(int(lengths.sum()))


def _views(
    points: Float[np.ndarray, "n 3"],
    centers: Float[np.ndarray, "k 3"],
    lengths: Int[np.ndarray, " n"],
    rows: Int[np.ndarray, " m"],
) -> Int[np.ndarray, " n"]:
    """One camera for each point: the one that lies closest to the mean direction of all that saw it.

    A camera that saw a point is in front of its surface, if only just; the middle of several is farther from the
    surface than most of them, so that the side it stands for is the surest.

    Args:
        points: positions.
        centers: of the cameras.
        lengths: how many cameras saw each point.
        rows: which, rows of `centers`, those of the first point first; -1 for unknown ones.
    """
    owner = np.repeat(np.arange(len(points)), lengths)
    known = rows >= 0
    owner, rows = owner[known], rows[known]
    views = np.full(len(points), -1, np.int32)
    if not len(rows):
        return views
    with np.errstate(all="ignore"):
        toward = centers[rows] - points[owner]
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        mean = np.stack([np.bincount(owner, axis, len(points)) for axis in np.nan_to_num(toward).T], axis=1)
        alike = np.nan_to_num(np.einsum("nk,nk->n", toward, mean[owner]), nan=-np.inf)
    order = np.lexsort((-alike, owner))
    first = np.flatnonzero(np.diff(owner[order], prepend=-1))
    views[owner[order[first]]] = rows[order[first]]
    return views


def _points_bin(file: Path) -> tuple[Table, Tracks]:
    data = file.read_bytes()
    starts, lengths = _chain(data, POINT.itemsize, struct.Struct("<Q"), 8, file.name)
    octets = np.frombuffer(data, np.uint8)
    rows = octets[starts[:, None] + np.arange(POINT.itemsize)].view(POINT)[:, 0]
    entries = _within(starts + POINT.itemsize, lengths, 8)
    images = octets[entries[:, None] + np.arange(4)].view("<u4")[:, 0].astype(np.int64)
    return _table(rows["xyz"], rows["rgb"], rows["error"]), Tracks(lengths, images)


def _points_txt(file: Path) -> tuple[Table, Tracks]:
    numbers, widths = _numbers(file.read_bytes(), file.name)
    if (widths < 8).any() or (widths % 2).any():
        line = int(np.flatnonzero((widths < 8) | (widths % 2 > 0))[0])
        raise InputError(
            f"{file.name}: point {line + 1} has {widths[line]} numbers, expected 8 and pairs of a track."
        )
    starts = np.cumsum(widths) - widths
    rows = numbers[starts[:, None] + np.arange(8)]
    lengths = (widths - 8) // 2
    images = np.nan_to_num(numbers[_within(starts + 8, lengths, 2)]).astype(np.int64)
    return _table(rows[:, 1:4], rows[:, 4:7], rows[:, 7]), Tracks(lengths, images)


def _table(points: np.ndarray, colors: np.ndarray, error: np.ndarray) -> Table:
    colors = np.clip(np.nan_to_num(colors), 0, 255).astype(np.uint8)
    return Table(np.ascontiguousarray(points, np.float64), attributes={"colors": colors, "error": error.copy()})


def _numbers(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of a text without its comments, and how many each line has that has any."""
    data = re.sub(rb"(?m)^#.*$", b"", data)
    octets = np.frombuffer(data + b"\n", np.uint8)
    change = np.diff((octets > 32).astype(np.int8), prepend=0)
    begins, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    if len(begins) == 0 or (ends - begins).max() > LONGEST:
        raise InputError(f"{name} holds no rows of numbers.")
    numbers = np.empty(len(begins))
    try:
        for first in range(0, len(begins), BLOCK):  # as many words at once as are made Python objects of
            last = min(first + BLOCK, len(begins)) - 1
            numbers[first : last + 1] = np.array(data[begins[first] : ends[last]].split()).astype(np.float64)
    except ValueError:
        raise InputError(f"{name} holds something else than numbers.") from None
    widths = np.bincount(np.searchsorted(np.flatnonzero(octets == 10), begins))
    return numbers, widths[widths > 0]


def _cameras(folder: Path) -> Cameras | None:
    """The images in a folder; None where there are none."""
    file = next((folder / name for name in IMAGES if (folder / name).is_file()), None)
    if file is None:
        return None
    rows = (_images_bin if file.suffix == ".bin" else _images_txt)(file)
    if not rows:
        return None
    values = np.array(rows)
    w, x, y, z = values[:, 1:5].T
    moved = values[:, 5:8]
    with np.errstate(all="ignore"):
        length = np.linalg.norm(values[:, 1:5], axis=1)
        axis = -np.stack([x, y, z], axis=1) / length[:, None]  # the inverse turns the other way
        twice = 2 * np.cross(axis, moved)
        centers = -(moved + (w / length)[:, None] * twice + np.cross(axis, twice))
    if not np.isfinite(centers).all():
        raise InputError(f"{file.name} is damaged: an image has no place.")
    return Cameras(values[:, 0].astype(np.int64), centers)


def _images_bin(file: Path) -> list[tuple[float, ...]]:
    data = file.read_bytes()
    rows, start = [], 8
    for _ in range(count := int.from_bytes(data[:8], "little")):
        end = data.find(b"\0", start + IMAGE.size)  # of the name; the image's points are left aside
        after = end + 9 + 24 * int.from_bytes(data[end + 1 : end + 9], "little")
        if end < 0 or after > len(data):
            raise InputError(f"{file.name} is cut short: it announces {count:,} images and holds {len(rows):,}.")
        rows.append(IMAGE.unpack_from(data, start)[:8])
        start = after
    return rows


def _images_txt(file: Path) -> list[tuple[float, ...]]:
    lines = [line for line in file.read_text("latin-1").split("\n") if not line.startswith("#")]
    rows = []
    for line in lines[::2]:  # the others are the points of the image
        words = line.split(maxsplit=9)
        if not words:
            continue
        try:
            rows.append(tuple(map(float, words[:8])))
        except ValueError:
            rows.append(())
        if len(rows[-1]) < 8 or not np.isfinite(rows[-1]).all():
            raise InputError(f"{file.name}: {line[:60]!r} is no image: number, rotation w x y z, translation.")
    return rows
