"""What a file holds of a cloud, a row a point: positions, normals, attributes, and from where each was seen.

What columns are is said by their names (`named_table`), or where they have none by their numbers
(`rows.plain_table`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from ..errors import InputError

AXES, NORMAL, COLORS = ("x", "y", "z"), ("nx", "ny", "nz"), ("red", "green", "blue")
MEANINGS = {
    alias: meaning
    for i, (axis, color) in enumerate(zip(AXES, COLORS, strict=True))
    for meaning, aliases in {
        axis: "{a} pos_{a} position_{a} p{a} coord_{a} {a}_coord {a}_coordinate cartesian{a} point_{a} points_{i} "
        "points_m_xyz_{i}",
        f"n{axis}": "n{a} normal_{a} normal{a} norm_{a} nor_{a} {a}_normal nor{a} normals_{i}",
        color: "{c} {c[0]} {c[0]}f diffuse_{c} color_{c} color{c} {c}_color vertex_{c} color_{c[0]} colors_{i} "
        "rgb_{i}",
    }.items()
    for alias in aliases.format(a=axis, c=color, i=i).split()
} | {
    alias: meaning
    for meaning, aliases in {
        "intensity": "intensity i intensities scalar_intensity",
        "classification": "classification class scalar_classification",
    }.items()
    for alias in aliases.split()
}
"""What the usual names of columns stand for; see `simplified`."""
SURVEY = {
    alias: axis
    for axis, aliases in {
        "x": "easting east e rechtswert",
        "y": "northing north n hochwert",
        "z": "elevation elev height altitude alt z h höhe hoehe rl depth",
    }.items()
    for alias in aliases.split()
}
"""Surveyors' names of the axes, where no x and y are named; their heights also stand beside x and y."""
HEIGHT = re.compile("height|elev|altitude|höhe")
"""In names of the third axis, such as ellipsoidal height."""
DEGREES = {"lat", "latitude", "lon", "long", "longitude", "lng"}
ARRAYS = {
    alias: parts
    for parts, aliases in {
        AXES: "points vertices verts xyz pos v point position positions coords coordinates",
        NORMAL: "normals vertex_normals normal n",
        COLORS: "colors color rgb rgba colours vertex_colors",
    }.items()
    for alias in aliases.split()
}
"""The usual names of arrays that hold all axes or colors at once, the commonest first."""
SCALARS = ("intensity", "classification")
"""Meanings that are attributes of that name."""
SPLAT = ("f_dc_0", "f_dc_1", "f_dc_2")
"""The colors of Gaussian splats: the constant terms of their spherical harmonics."""
CONSTANT_HARMONIC = 0.28209479177387814
SPLAT_SHAPES = ("f_rest_", "scale_", "rot_")
"""What else a splat has, in many columns that say nothing of its surface."""


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
        return replace(self, **rows_of(self, keep), notes=(*self.notes, *notes))


def rows_of(held: Any, keep: np.ndarray) -> dict[str, Any]:
    """Of a table or a cloud, what has a row a point, by name: the rows of a mask or of numbers."""
    return {
        "points": held.points[keep],
        "normals": None if held.normals is None else held.normals[keep],
        "attributes": {name: values[keep] for name, values in held.attributes.items()},
        "views": None if held.views is None else held.views[keep],
    }


def column_names(columns: str) -> list[str]:
    """The words of a `columns` option: separated by blanks or commas, `_` or `-` for a column to leave aside."""
    return ["" if word in ("_", "-") else word for word in re.split(r"[\s,;]+", columns.strip())]


def simplified(name: str) -> str:
    """A name without capitals, quotes, units and what joins its words: `Points:0` is points_0, and `X [m]` x."""
    word = re.sub(r"[\s.:_-]+", "_", re.sub(r"[\[(].*", "", name.lower()).strip(" \"'/")).strip("_")
    return re.sub(r"_(mm|cm|m|km|ft|s)$", "", word)


def named_places(names: Sequence[str]) -> dict[str, int]:
    """Where columns that mean something stand among all, by meaning: x, y, z, nx, …, red, …, intensity."""
    found: dict[str, int] = {}
    survey: dict[str, int] = {}
    for place, word in enumerate(map(simplified, names)):
        if word in MEANINGS:
            found.setdefault(MEANINGS[word], place)
        if word in SURVEY:
            survey.setdefault(SURVEY[word], place)
        elif "z" not in survey and HEIGHT.search(word):
            survey["z"] = place
    if {"x", "y"} <= found.keys():
        return {"z": survey["z"], **found} if "z" in survey else found
    return {meaning: place for meaning, place in found.items() if meaning not in AXES} | survey


def as_colors(values: np.ndarray, reach: tuple[float, float] | None = None) -> UInt8[np.ndarray, "n 3"] | None:
    """Red, green and blue as bytes, from whole numbers to 255 or 65,535, or fractions to 1; None of others. Which
    they are is seen by their `reach`, least and greatest, of a whole of which these are perhaps a part."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    values = np.nan_to_num(values.astype(np.float64), posinf=-1)
    low, high = reach or (values.min(initial=0), values.max(initial=0))
    if low < 0 or high > 65535:
        return None
    scale = 255 if high <= 1 else 1 if high <= 255 else 255 / 65535
    return np.rint(values * scale).astype(np.uint8)


def named_table(
    columns: Sequence[tuple[str, np.ndarray]],
    name: str,
    notes: Sequence[str] = (),
    in_bytes: Callable[[np.ndarray], np.ndarray | None] = as_colors,
) -> Table:
    """The table of columns (n,), or arrays (n, k) of several, by their names; columns without a name are left
    aside, and those that mean nothing here are attributes. `in_bytes` makes colors of red, green and blue, or
    None where they are none.

    Raises:
        InputError: no x and y are among them.
    """
    columns = [part for column in columns for part in _parts(*column)]
    words, notes = [simplified(label) for label, _ in columns], list(notes)
    found = named_places(words)
    if not {"x", "y"} <= found.keys():
        raise _no_position(name, [label for label, _ in columns])
    axes = AXES if "z" in found else AXES[:2]

    def beside(meanings: Sequence[str]) -> np.ndarray:
        return np.stack([columns[found.pop(meaning)][1] for meaning in meanings], axis=1)

    left = set(range(len(columns))) - {found[axis] for axis in axes}
    points, directions, attributes = beside(axes).astype(np.float64, copy=False), None, {}
    if found.keys() >= set(NORMAL[: len(axes)]):
        left -= {found[axis] for axis in NORMAL if axis in found}
        directions = beside(NORMAL[: len(axes)]).astype(np.float64, copy=False)
        if len(directions) and not directions.any():
            directions = None
            notes.append("its normals are all zero, which is to have none")
    colors = None
    if found.keys() >= set(COLORS):
        places = {found[color] for color in COLORS}
        colors = in_bytes(beside(COLORS))
        if colors is None:
            notes.append("kept red, green and blue as they are: they are not numbers from 0 to 255, or to 1")
        else:
            left -= places
    elif packed := [i for i in left if words[i] in ("rgb", "rgba") and columns[i][1].ndim == 1]:
        colors = unpacked_colors(columns[packed[0]][1])
        left -= set(packed)
    if colors is not None:
        attributes["colors"] = colors
        left -= {i for i in left if words[i] in ("a", "alpha", "diffuse_alpha")}
    for i in sorted(left):
        label, values = columns[i]
        told = next((meaning for meaning in SCALARS if found.get(meaning) == i), None)
        label = told or label.strip(" \"'/")[:60]
        if words[i] and values.dtype.kind in "biuf":
            label = label if label not in attributes else f"{label}_{i + 1}"
            attributes[label] = np.ascontiguousarray(values)
    others = [label for label in attributes if label not in ("colors", *SCALARS)]
    if len(axes) == 2 and others and directions is None:
        notes.append(f"took it for planar: none of its other columns ({', '.join(others)[:80]}) is named as z")
    return Table(points, directions, attributes, notes=tuple(notes))


def splat_table(columns: Sequence[tuple[str, np.ndarray]], name: str) -> Table:
    """The centers of Gaussian splats, with the colors that they have from everywhere."""
    found = dict(columns)
    shades = [np.clip(0.5 + CONSTANT_HARMONIC * found.pop(term).astype(np.float64), 0, 1) for term in SPLAT]
    count = len(shades[0])
    note = f"holds {count:,} Gaussian splats: their centers are taken for points of the surface"
    colors = np.rint(255 * np.stack(shades, axis=1)).astype(np.uint8)
    return named_table([*found.items(), ("colors", colors)], name, [note])


def _parts(name: str, values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The columns of an array that holds several of them by its name; any other as it is."""
    parts = ARRAYS.get(simplified(name))
    if values.ndim == 2 and parts is not None and (values.shape[1] == 3 or 2 <= values.shape[1] <= 4 != parts):
        yield from zip((*parts, "alpha"), values.T, strict=False)
    elif values.ndim == 2 and values.shape[1] == 1:
        yield name, values[:, 0]
    else:
        yield name, values


def _no_position(name: str, labels: Sequence[str]) -> InputError:
    if DEGREES & set(map(simplified, labels)):
        return InputError(
            f"{name} gives latitude and longitude, which are degrees and no lengths; project them first, "
            "such as to easting and northing (UTM) in meters."
        )
    held = ", ".join(label for label in labels if label)[:200] or "none"
    return InputError(f"{name} has no columns x and y; their names are: {held}.")


def unpacked_colors(values: np.ndarray) -> UInt8[np.ndarray, "n 3"]:
    """Colors of numbers 0xRRGGBB, perhaps stored as the bits of a float32, as PCL has it."""
    if values.dtype.kind == "f":
        with np.errstate(all="ignore"):
            whole = (values == np.floor(values)).all() and values.max(initial=0) >= 1
            bits = values.astype(np.uint32) if whole else values.astype(np.float32).view(np.uint32)
    else:
        bits = values.astype(np.uint32)
    return np.stack([(bits >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)], axis=1)


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
