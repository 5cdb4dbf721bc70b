"""What was measured at the points of a cloud (colors, intensity, classes) at any place of their surface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from ..cloud.neighbors import Neighbors
from ..errors import InputError
from ..formats.table import compact, linear_light, srgb
from ..mesh.gaps import spacing_around
from ..mesh.write import named_columns

if TYPE_CHECKING:
    import trimesh

    from ..field.field import NumpyField

KEPT = 1_000_000
"""Points of a cloud that keep their attributes with a surface, at most. From 100,000 points of a ball of radius 1
a texture with waves of 0.06 is off by 4.8 of 255, from 300,000 by 2.4, from a million (15 MB of colors) by 1.2."""
NEIGHBORS = 6
"""Nearest samples of a place's own side that speak for it."""
SOUGHT = (12, 200)
"""Nearest samples among which they are sought, as others lie on the other side of a thin wall; and how many where
none of the first faces the same way."""
OFF = 3.0
"""A sample counts half where it lies so many times the median distance off the surface."""
FADED = 4.0
"""In spacings of the samples: colors fade from this distance on, and are gone at twice that. One side of a thin
wall may have far fewer samples than the cloud around."""
NEUTRAL = 128
"""Red, green and blue of what has no color."""
CONTINUOUS = ("intensity", "reflectance", "reflectivity", "amplitude", "gps_time")
"""Attributes that are measured, not counted, though they may come as whole numbers."""
CHUNK = 50_000
"""Places that are answered at once."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The attributes of a cloud's points, as a surface carries them."""

    values: Mapping[str, np.ndarray]
    """By name, (m,) or (m, k); `colors` as uint8 (m, 3), sRGB."""
    points: Float[np.ndarray, "m d"] | None = None
    """Where they were measured, unit frame, float32; None: at the surface's samples."""

    def check(self, count: int, dimension: int) -> None:
        """Refuse what does not fit a surface of so many samples.

        Raises:
            InputError: points or values of another shape or type.
        """
        if self.points is not None:
            count = len(self.points)
            if self.points.shape != (count, dimension) or count == 0 or not (np.abs(self.points) <= 1e6).all():
                raise InputError(f"the points of its attributes have shape {self.points.shape}, or are not finite")
        for name, values in self.values.items():
            if values.ndim not in (1, 2) or len(values) != count or values.dtype.kind not in "biuf":
                raise InputError(f"its attribute {name!r} is {values.dtype} {values.shape}, expected {count} rows")
            if name == "colors" and (values.dtype != np.uint8 or values.shape[1:] != (3,)):
                raise InputError(f"its colors are {values.dtype} {values.shape}, expected uint8 ({count}, 3)")


def measured(
    points: Float[np.ndarray, "n d"],
    attributes: Mapping[str, np.ndarray],
    seed: int,
    *,
    apart: bool,
) -> Measured | None:
    """What a surface carries of a cloud's attributes; None where there are none.

    Args:
        points: the cloud, unit frame.
        attributes: of each of its points.
        seed: of the choice among more than `KEPT`.
        apart: whether the surface's samples are fewer than the points, which are then kept as well.
    """
    if not attributes:
        return None
    values = {name: compact(array) for name, array in attributes.items()}
    if not apart:
        return Measured(values)
    if len(points) > KEPT:
        chosen = np.random.default_rng([seed, 6]).choice(len(points), KEPT, replace=False)
        points, values = points[chosen], {name: array[chosen] for name, array in values.items()}
    return Measured(values, points.astype(np.float32))


class Attributes:
    """The attributes of a surface's samples at other places.

    Args:
        told: the samples' attributes.
        samples: the surface's samples, which say how far apart they are, and their neighbors.
        field: the fitted field, in the same unit frame: samples that lie off its surface count less, and those of
            another side of a thin wall do not.
    """

    def __init__(self, told: Measured, samples: Neighbors, field: NumpyField) -> None:
        self.values, self.samples = told.values, samples
        self.near = samples if told.points is None else Neighbors(told.points.astype(float))
        value, gradient = field.distance_and_gradient(self.near.points)
        off = np.abs(np.nan_to_num(value))
        self.trust = 1 / (1 + (off / (OFF * max(float(np.median(off)), 1e-9))) ** 2)
        length = np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-12)
        self.normals = np.nan_to_num(gradient / length).astype(np.float32)
        self.spacing = spacing_around(samples)

    def at(self, x: Float[np.ndarray, "n d"], normals: Float[np.ndarray, "n d"]) -> dict[str, np.ndarray]:
        """Values (n, …) of each attribute at `x`, in the type of the samples'.

        Colors are averaged in linear light, measurements as they are; of classes the one with the greatest weight
        is taken. Where nothing is known, colors are gray, measurements NaN, and classes 0.

        Args:
            x: places, unit frame.
            normals: unit normals of the field there.
        """
        found = {name: np.zeros((len(x), *values.shape[1:]), values.dtype) for name, values in self.values.items()}
        for name, values in found.items():
            values[...] = NEUTRAL if name == "colors" else np.nan if values.dtype.kind == "f" else 0
        known = np.flatnonzero(np.isfinite(x).all(1) & np.isfinite(normals).all(1))
        for chosen in np.array_split(known, range(CHUNK, len(known), CHUNK)):
            for rows, index, weight, distance in self._around(chosen, x, normals):
                spacing = np.maximum(self.spacing[self.samples.at(x[rows])[1]], 1e-12)
                vivid = np.clip(2 - distance / spacing / FADED, 0, 1)
                for name, values in self.values.items():
                    found[name][rows] = _combined(name, values[index], weight, vivid)
        return found

    def _around(
        self, rows: np.ndarray, x: np.ndarray, normals: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Places by row, the samples that speak for each, their weights, and the distance to the nearest.

        The weight falls with the distance to nothing at that of the first sample that is not taken, so that
        nothing jumps. Where no sample faces the same way the nearest one speaks, infinitely far away.
        """
        for sought in SOUGHT:
            count = min(sought, len(self.near.points))
            distance, index = (part.reshape(len(rows), count) for part in self.near.at(x[rows], count))
            same = np.einsum("nd,nkd->nk", normals[rows], self.normals[index])
            last = sought == SOUGHT[-1] or count < sought
            yield from _nearest(rows, index, distance, same, self.trust, keep_all=last)
            rows = rows[~(same > 0).any(1)]
            if len(rows) == 0:
                return


def _nearest(
    rows: np.ndarray,
    index: np.ndarray,
    distance: np.ndarray,
    same: np.ndarray,
    trust: np.ndarray,
    *,
    keep_all: bool,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Of the samples around places, the nearest few that face the same way; see `Attributes._around`."""
    order = np.argsort(~(same > 0), axis=1, kind="stable")[:, : NEIGHBORS + 1]  # those of this side first
    index, near, same = (np.take_along_axis(part, order, 1) for part in (index, distance, same))
    facing = same > 0
    some = facing[:, 0]
    reach = np.where(facing[:, -1], near[:, -1], np.maximum(distance[:, -1], near[:, 0])) * (1 + 1e-9)
    near = np.maximum(near, 1e-3 * reach[:, None] + 1e-12)
    weight = np.where(facing, np.maximum(reach[:, None] / near - 1, 1e-9) * same * trust[index], 0)
    yield rows[some], index[some, :NEIGHBORS], weight[some, :NEIGHBORS], near[some, 0]
    if keep_all and not some.all():
        nowhere = np.full(int((~some).sum()), np.inf)
        yield rows[~some], index[~some, :1], np.ones((len(nowhere), 1)), nowhere


def _combined(name: str, values: np.ndarray, weight: np.ndarray, vivid: np.ndarray) -> np.ndarray:
    """One attribute (n, …) at places from those (n, k, …) of samples by their weights (n, k)."""
    if name == "colors":
        mean = _mean(linear_light(values), weight)
        gray = linear_light(np.array(NEUTRAL, np.uint8))
        return np.round(255 * srgb(gray + vivid[:, None] * (mean - gray))).astype(np.uint8)
    if values.dtype.kind == "f":
        return _mean(values, weight)
    if name.lower() in CONTINUOUS:
        return np.round(_mean(values, weight)).astype(values.dtype)
    rows = values.reshape(*weight.shape, int(np.prod(values.shape[2:])))
    votes = np.stack([((rows == rows[:, [k]]).all(2) * weight).sum(1) for k in range(weight.shape[1])], 1)
    return np.take_along_axis(rows, votes.argmax(1)[:, None, None], 1)[:, 0].reshape(
        len(values), *values.shape[2:]
    )


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted means over the second axis of the values that are there, NaN where none is."""
    weight = weight.reshape(*weight.shape, *[1] * (values.ndim - 2)) * np.isfinite(values)
    total = weight.sum(1)
    means = (weight * np.where(weight > 0, values, 0)).sum(1) / np.where(total > 0, total, 1)
    return np.where(total > 0, means, np.nan)


def vertex_colors(mesh: trimesh.Trimesh) -> UInt8[np.ndarray, "v 3"] | None:
    """The colors of a mesh's vertices, None where it has none."""
    from trimesh.visual import ColorVisuals

    shown = mesh.visual
    if not isinstance(shown, ColorVisuals) or shown.kind != "vertex":
        return None
    return np.asarray(shown.vertex_colors)[:, :3]


def vertex_columns(
    confidence: Float[np.ndarray, " v"], attributes: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What the vertices of a written surface carry beside colors: confidence, and the attributes of the scan."""
    return {"confidence": confidence.astype(np.float32)} | named_columns(attributes, {"confidence"})


def put_on(mesh: trimesh.Trimesh, values: Mapping[str, np.ndarray]) -> None:
    """Give the vertices of a mesh their attributes: colors as its visual, all others by name."""
    from trimesh.visual import ColorVisuals

    for name, array in values.items():
        if name == "colors":
            mesh.visual = ColorVisuals(mesh, vertex_colors=array)
        else:
            mesh.vertex_attributes[name] = array
