"""What a file holds of a cloud, a row a point: positions, normals, attributes, and from where each was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int, UInt8

from ..errors import InputError

COLUMNS = {2: "x y", 3: "x y z", 4: "x y nx ny", 6: "x y z nx ny nz"}
"""What the columns of a table mean, by their number."""
POSITION_NAMES = ({"x"}, {"y"}, {"z"})
NORMAL_NAMES = (
    {"nx", "normal_x", "normalx"},
    {"ny", "normal_y", "normaly"},
    {"nz", "normal_z", "normalz"},
)


@dataclass(frozen=True, eq=False)
class Table:
    """The points of a file or of arrays, not checked any further than that all parts have as many rows."""

    points: Float[np.ndarray, "n d"]
    """Positions in float64, d = 2 or 3; NaN where nothing was measured."""
    normals: Float[np.ndarray, "n d"] | None = None
    """Directions in float64 of any length, or None."""
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What else is known of each point, by name, (n,) or (n, k): `colors` (n, 3) as uint8 (sRGB), `intensity`,
    `scan` (number of the scan, from 0), `classification`, or whatever the file calls it."""
    viewpoints: Float[np.ndarray, "k d"] | None = None
    """Positions of scanners or cameras, in the frame of the points; None where none is known."""
    views: Int[np.ndarray, " n"] | None = None
    """Row of `viewpoints` from which each point was seen, -1 where that is not known; None for all unknown."""
    notes: tuple[str, ...] = ()
    """What was decided on reading, a phrase each, for the user."""

    def rows(self, keep: np.ndarray, *notes: str) -> Table:
        """Some of the rows, by a mask or by number, and what there is to say of that."""
        return replace(
            self,
            points=self.points[keep],
            normals=None if self.normals is None else self.normals[keep],
            attributes={name: values[keep] for name, values in self.attributes.items()},
            views=None if self.views is None else self.views[keep],
            notes=(*self.notes, *notes),
        )


def expected_columns(counts: Sequence[int] = tuple(COLUMNS)) -> str:
    """`3 (x y z) or 6 (x y z nx ny nz)`: the numbers of columns that are understood, for messages."""
    words = [f"{count} ({COLUMNS[count]})" for count in counts]
    return ", ".join(words[:-1]) + " or " + words[-1]


def named_columns(words: Sequence[str]) -> list[int] | None:
    """Places of x y [z] and, if all are there, of their normals among names; None without x and y."""
    position, normal = (
        [next((i for i, word in enumerate(words) if word.lower() in names), -1) for names in axes]
        for axes in (POSITION_NAMES, NORMAL_NAMES)
    )
    dimension = 3 if position[2] >= 0 else 2
    if min(position[:dimension]) < 0:
        return None
    keep = position[:dimension] + normal[:dimension]
    return keep if min(keep) >= 0 else position[:dimension]


def plain_table(values: Float[np.ndarray, "n c"], name: str) -> Table:
    """Positions and normals of rows of numbers; colors, as common as normals in 6 columns, are left aside."""
    columns = values.shape[1]
    if columns not in COLUMNS:
        raise InputError(f"{name} has {columns} columns, expected {expected_columns()}.")
    if columns < 4:
        return Table(values)
    points, normals = np.ascontiguousarray(values[:, : columns // 2]), values[:, columns // 2 :]
    if columns == 6 and len(values):
        plausible = np.isfinite(normals).all() and normals.min() >= 0 and normals.max() <= 255
        if plausible and (np.abs(np.linalg.norm(normals, axis=1) - 1) < 0.01).mean() < 0.1:
            return Table(points, notes=("left columns 4 to 6 aside, which look like colors",))
    return Table(points, np.ascontiguousarray(normals))


def compact(values: np.ndarray) -> np.ndarray:
    """Numbers in this machine's order of bytes, floating ones in float32 where that loses less than a millionth of
    their range, else in float64."""
    if values.dtype.kind != "f":
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    known = values[np.isfinite(values)].astype(np.float64)
    with np.errstate(over="ignore"):
        lost = np.abs(known.astype(np.float32) - known).max(initial=0)
    short = lost <= 1e-6 * (np.ptp(known) if len(known) else 0)
    return values.astype(np.float32 if short else np.float64, copy=False)


def linear_light(colors: UInt8[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    """The light, 0 to 1, that a color in sRGB (IEC 61966-2-1) stands for: what may be averaged."""
    share = np.arange(256) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)[colors]


def srgb(light: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    """The color in sRGB, 0 to 1, of linear light."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)
