"""Cameras of a sparse model of COLMAP, text or binary: intrinsics, distortion, pose and name of each image."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..errors import InputError, readable
from ..formats.colmap import IMAGE
from ..store.atomic import check_file

HOMES = ("", "sparse/0", "sparse", "colmap/sparse/0", "0")
"""Where in a folder a model is looked for."""
MODELS = {
    "SIMPLE_PINHOLE": (0, 3),
    "PINHOLE": (1, 4),
    "SIMPLE_RADIAL": (2, 4),
    "RADIAL": (3, 5),
    "OPENCV": (4, 8),
}
"""Camera models that can be undone, with their numbers and how many parameters they have: focal lengths, principal
point, then distortion."""
COUNTS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12)
"""How many parameters each of COLMAP's camera models has."""


@dataclass(frozen=True, eq=False)
class ModelCamera:
    """An image of a model; pixel centers at whole numbers (COLMAP has them at halves)."""

    name: str
    width: int
    height: int
    intrinsics: Float[np.ndarray, "3 3"]
    lens: tuple[float, float, float, float]
    """k1, k2, p1, p2."""
    rotation: Float[np.ndarray, "3 3"]
    center: Float[np.ndarray, " 3"]


def find_model(folder: Path) -> Path | None:
    """The folder of a model in or below a folder."""
    for home in HOMES:
        for suffix in (".bin", ".txt"):
            if all((folder / home / f"{name}{suffix}").is_file() for name in ("cameras", "images")):
                return folder / home
    return None


def model_cameras(model: Path) -> list[ModelCamera]:
    """The images of a model, in the order of their names.

    Raises:
        InputError: it is damaged, or its lenses cannot be undone.
    """
    binary = (model / "images.bin").is_file() and (model / "cameras.bin").is_file()
    suffix = "bin" if binary else "txt"
    files = model / f"cameras.{suffix}", model / f"images.{suffix}"
    for file in files:
        check_file(file)
    try:
        lenses = (_lenses_bin if binary else _lenses_txt)(files[0])
    except (ValueError, IndexError, struct.error) as problem:
        raise InputError(f"{files[0]} is damaged: {readable(str(problem))}") from None
    try:
        images = (_images_bin if binary else _images_txt)(files[1])
    except (ValueError, IndexError, struct.error) as problem:
        raise InputError(f"{files[1]} is damaged: {readable(str(problem))}") from None
    cameras = []
    for pose, number, name in sorted(images, key=lambda image: image[2]):
        if number not in lenses:
            raise InputError(f"{files[1]}: {readable(name)} is of camera {number}, which {files[0].name} lacks")
        cameras.append(_camera(name, lenses[number], pose, files[0]))
    return cameras


def _camera(name: str, lens: tuple[str, int, int, tuple[float, ...]], pose: np.ndarray, file: Path) -> ModelCamera:
    kind, width, height, numbers = lens
    if kind not in MODELS or min(width, height) < 1:
        raise InputError(
            f"{file}: cameras of the model {readable(kind)} cannot be used; undistort the pictures first: "
            "`colmap image_undistorter --image_path images --input_path sparse/0 --output_path FOLDER`"
        )
    focals = 1 if kind.startswith("SIMPLE") or kind == "RADIAL" else 2
    fx, fy = numbers[0], numbers[focals - 1]
    cx, cy = numbers[focals : focals + 2]
    k1, k2, p1, p2 = (*numbers[focals + 2 :], 0.0, 0.0, 0.0, 0.0)[:4]
    intrinsics = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1.0]])
    w, x, y, z = pose[:4] / np.linalg.norm(pose[:4])
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return ModelCamera(name, width, height, intrinsics, (k1, k2, p1, p2), rotation, -rotation.T @ pose[4:])


def _lenses_bin(file: Path) -> dict[int, tuple[str, int, int, tuple[float, ...]]]:
    data, at = file.read_bytes(), 8
    names = {number: name for name, (number, _) in MODELS.items()}
    found = {}
    for _ in range(struct.unpack_from("<Q", data)[0]):
        number, model, width, height = struct.unpack_from("<IiQQ", data, at)
        count = COUNTS[model]
        found[number] = (
            names.get(model, f"{model}"),
            width,
            height,
            struct.unpack_from(f"<{count}d", data, at + 24),
        )
        at += 24 + 8 * count
    return found


def _lenses_txt(file: Path) -> dict[int, tuple[str, int, int, tuple[float, ...]]]:
    found = {}
    for line in file.read_text("latin-1").splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            numbers = tuple(map(float, words[4:]))
            if words[1] in MODELS and len(numbers) != MODELS[words[1]][1]:
                raise ValueError(f"camera {words[0]} has {len(numbers)} parameters")
            found[int(words[0])] = (words[1], int(words[2]), int(words[3]), numbers)
    return found


def _images_bin(file: Path) -> list[tuple[np.ndarray, int, str]]:
    data, at, found = file.read_bytes(), 8, []
    for _ in range(struct.unpack_from("<Q", data)[0]):
        _, *pose, number = IMAGE.unpack_from(data, at)
        end = data.index(b"\0", at + IMAGE.size)
        found.append((np.array(pose), number, data[at + IMAGE.size : end].decode("utf-8", "replace")))
        at = end + 9 + 24 * struct.unpack_from("<Q", data, end + 1)[0]
    return found


def _images_txt(file: Path) -> list[tuple[np.ndarray, int, str]]:
    lines = [line for line in file.read_text("utf-8", "replace").split("\n") if not line.startswith("#")]
    found = []
    for line in lines[::2]:  # the others are the points of the image
        if words := line.split(maxsplit=9):
            found.append((np.array(words[1:8], np.float64), int(words[8]), words[9].strip()))
    return found
