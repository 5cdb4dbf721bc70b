"""Point clouds: what a user gives, read, checked and cleaned once, in the frame and units it came in.

What cannot be used is refused with one sentence; what can be mended is mended and noted.
"""

from __future__ import annotations

import functools
import os
import zlib
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from ..errors import InputError, readable, usual_arithmetic
from .frame import sides
from .read import read_table
from .text import COLUMNS, expected_columns

MINIMUM_POINTS = 10
"""A cloud of fewer different points is refused."""

FLATNESS = 1e-5
"""Clouds thinner than this, relative to their box, lie in a plane or on a line."""

LOST_NORMALS = 0.05
"""Up to this share of points without a usable normal is dropped; beyond it, all normals are left aside."""

Given: TypeAlias = tuple[np.ndarray, np.ndarray | None, list[str]]
"""Points, normals and notes: what each step of the cleaning hands on."""


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Points of a surface in space or an outline in the plane, perhaps with normals; see `as_cloud`."""

    points: Float[np.ndarray, "n d"]
    """Positions in float64, d = 2 or 3, in the input's own frame and units; finite."""
    normals: Float[np.ndarray, "n d"] | None = None
    """Directions in float64, of unit length, or None."""
    name: str = "cloud"
    """File name, or `array`, for messages."""
    notes: tuple[str, ...] = ()
    """What was noticed and done on reading, a phrase each, for the user."""
    checked: int | None = field(default=None, init=False, repr=False)
    """Checksum of what `as_cloud` has checked, so that what was not changed since is not checked again."""

    def __post_init__(self) -> None:
        """Refuse arrays that break the promises above; `as_cloud` is the way to mend them."""
        points, normals = self.points, self.normals
        if not all(isinstance(array, np.ndarray) for array in (points, points if normals is None else normals)):
            raise InputError(f"{self.name}: a cloud is made of numpy arrays, which igr.as_cloud makes of others.")
        if points.ndim != 2 or points.shape[1] not in (2, 3) or points.dtype != np.float64:
            raise InputError(
                f"{self.name}: points of shape {points.shape} and type {points.dtype} are no cloud; "
                "float64 (n, 2) or (n, 3) is needed, which igr.as_cloud makes."
            )
        if not np.isfinite(points).all():
            raise InputError(f"{self.name}: points hold NaN or infinity; igr.as_cloud removes such rows.")
        if normals is not None and (
            normals.shape != points.shape or not (np.abs(np.linalg.norm(normals, axis=1) - 1) < 1e-4).all()
        ):
            raise InputError(f"{self.name}: normals must be of unit length, one for each point.")

    @property
    def dimension(self) -> int:
        """2 in the plane, 3 in space."""
        return self.points.shape[1]

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        kind = "points" if self.normals is None else "points with normals"
        size = sides(self.points) if len(self) else "empty"
        return f"<igr.PointCloud {readable(self.name)}: {len(self):,} {kind}, box {size}>"


def read_points(path: str | os.PathLike) -> PointCloud:
    """A point cloud from a file, checked and cleaned.

    Args:
        path: text with 2 (x y), 3 (x y z), 4 (x y nx ny) or 6 (x y z nx ny nz) numbers on a line, `.npy`,
            `.npz` (`points`, `normals`), `.ply`, or a mesh file (obj, off, stl, glb, gltf: its vertices).

    Raises:
        InputError: the file cannot be read, or its points cannot be used; see `as_cloud`.
    """
    name = os.path.basename(os.fspath(path))
    return _checked(*_split(read_table(path), name), name)


@usual_arithmetic
def as_cloud(source: Any, normals: Any = None) -> PointCloud:
    """Whatever holds points, as a checked and cleaned cloud.

    Removed, with a note: rows with NaN or infinity, exact duplicates, and up to 5 % of points whose normal has
    no length. Normals are brought to unit length; colors in place of normals are left aside.

    Args:
        source: a path, an array or tensor (n, 2|3), or with normals (n, 4|6), or a `PointCloud`.
        normals: directions for an array of points, of the same shape; any length.

    Returns:
        The cloud, in the frame and units of the source; one that came from here unchanged is handed through.

    Raises:
        InputError: not such an array; fewer than 10 different points; all on one line or in one plane; or
            coordinates too large, or too far from the origin, for float64.
    """
    if isinstance(source, PointCloud | str | os.PathLike):
        if normals is not None:
            raise InputError("normals can be given beside an array of points only, not beside a file or a cloud.")
        if not isinstance(source, PointCloud):
            return read_points(source)
        if source.checked == _checksum(source):
            return source
        return _checked(source.points, source.normals, [*source.notes], source.name)
    points = _as_table(source, "points")
    if normals is None:
        return _checked(*_split(points, "array"), "array")
    directions = _as_table(normals, "normals")
    if directions.shape != points.shape or points.shape[1] not in (2, 3):
        raise InputError(
            f"points have shape {points.shape} and normals {directions.shape}; both need (n, 2) or (n, 3)."
        )
    return _checked(points, directions, [], "array")


def positions(source: Any) -> Float[np.ndarray, "n d"]:
    """Whatever holds points without normals, as an array of as many rows, nothing removed.

    Raises:
        InputError: as for `as_cloud`; or a row holds NaN or infinity.
    """
    points = _as_table(source, "points")
    if points.shape[1] not in (2, 3):
        raise InputError(f"points have shape {points.shape}; (n, 2) or (n, 3) is needed.")
    if not np.isfinite(points).all():
        raise InputError("points hold NaN or infinity; leave such rows out.")
    if len(points) < MINIMUM_POINTS:
        raise InputError(f"there are {_many(len(points), 'point')}, at least {MINIMUM_POINTS} are needed.")
    _check_extent(points, "the cloud")
    return points


def _as_table(source: Any, what: str) -> np.ndarray:
    if hasattr(source, "detach"):
        source = source.detach().cpu().double().numpy()
    if isinstance(source, np.ma.MaskedArray) and source.dtype.kind in "fiu":  # what is masked is missing
        source = np.ma.filled(source.astype(np.float64), np.nan)
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise InputError(f"{what}: rows of different length are no array (n, 2) or (n, 3).") from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what} hold values of type {array.dtype}; plain numbers are needed.")
    if array.ndim != 2:
        raise InputError(f"{what} have shape {array.shape}; one row a point is needed, (n, 2) or (n, 3).")
    with np.errstate(all="ignore"):
        return array.astype(np.float64)


def _split(table: np.ndarray, name: str) -> Given:
    """Positions and normals of a table; colors, which are as common as normals in 6 columns, are left aside."""
    columns = table.shape[1]
    if columns not in COLUMNS:
        raise InputError(f"{name} has {columns} columns, expected {expected_columns()}.")
    if columns < 4:
        return table, None, []
    points, normals = np.ascontiguousarray(table[:, : columns // 2]), table[:, columns // 2 :]
    if columns == 6 and len(table):
        plausible = np.isfinite(normals).all() and normals.min() >= 0 and normals.max() <= 255
        if plausible and (np.abs(np.linalg.norm(normals, axis=1) - 1) < 0.01).mean() < 0.1:
            return points, None, ["left columns 4 to 6 aside, which look like colors"]
    return points, np.ascontiguousarray(normals), []


def _checked(points: np.ndarray, normals: np.ndarray | None, notes: list[str], name: str) -> PointCloud:
    """Every check and mending, in order."""
    for step in (_without_missing, _with_unit_normals, _without_duplicates):
        points, normals, more = step(points, normals)
        notes = notes + more
    if len(points) < MINIMUM_POINTS:
        reasons = f" ({'; '.join(notes)})" if notes else ""
        found = _many(len(points), "usable point")
        raise InputError(f"{name} has {found}, at least {MINIMUM_POINTS} are needed{reasons}.")
    notes = notes + _check_extent(points, name)
    cloud = PointCloud(points, normals, name, tuple(notes))
    object.__setattr__(cloud, "checked", _checksum(cloud))
    return cloud


def _checksum(cloud: PointCloud) -> int:
    arrays = (array for array in (cloud.points, cloud.normals) if array is not None)
    return functools.reduce(lambda so_far, array: zlib.crc32(np.ascontiguousarray(array).data, so_far), arrays, 0)


def _without_missing(points: np.ndarray, normals: np.ndarray | None) -> Given:
    """Scanners write NaN where nothing came back, often for most rows; such rows are no points."""
    keep = np.isfinite(points).all(axis=1)
    if keep.all():
        return points, normals, []
    note = f"removed {_many(int(np.count_nonzero(~keep)), 'row')} with NaN or infinity"
    return points[keep], None if normals is None else normals[keep], [note]


def _with_unit_normals(points: np.ndarray, normals: np.ndarray | None) -> Given:
    if normals is None or len(points) == 0:
        return points, None, []
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(normals, axis=1)
    usable = np.isfinite(lengths)
    if usable.any():
        usable &= lengths > 1e-8 * np.median(lengths[usable])
    lost = int(np.count_nonzero(~usable))
    if lost > LOST_NORMALS * len(points):
        return points, None, [f"left the normals aside, as {lost:,} of {len(points):,} have no direction"]
    notes = [f"removed {_many(lost, 'point')} whose normal has no direction"] if lost else []
    points, normals, lengths = points[usable], normals[usable], lengths[usable]
    other = lengths[np.abs(lengths - 1) > 1e-3]
    if len(other):
        notes.append(f"normalized {_many(len(other), 'normal')} of length {other.min():.3g} to {other.max():.3g}")
    return points, normals / lengths[:, None], notes


def _without_duplicates(points: np.ndarray, normals: np.ndarray | None) -> Given:
    """The first of each set of equal points; found by sorting hashes, confirmed by comparing the rows."""
    hashes = np.zeros(len(points), np.uint64)
    for column in np.ascontiguousarray((points + 0.0).T).view(np.uint64):  # + 0.0 makes -0.0 and 0.0 one
        hashes = (hashes ^ column ^ (column >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    order = np.argsort(hashes, kind="stable")
    ordered = points[order]
    again = order[1:][(ordered[1:] == ordered[:-1]).all(axis=1)]
    if len(again) == 0:
        return points, normals, []
    keep = np.ones(len(points), bool)
    keep[again] = False
    note = f"removed {_many(len(again), 'duplicate point')}"
    return points[keep], None if normals is None else normals[keep], [note]


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _check_extent(points: np.ndarray, name: str) -> list[str]:
    """Refuse clouds on a line, and those that float64 cannot hold apart; what there is to say of the others."""
    low, high = (np.array([bound(axis) for axis in points.T]) for bound in (np.min, np.max))
    largest = max(-low.min(), high.max())
    if largest > 1e100:
        raise InputError(f"{name} has coordinates of {largest:.0e}; scale it below 1e100.")
    extent = (high - low).max()
    if extent < 1e-100:
        raise InputError(f"{name} has a box of {extent:.0e}; scale it above 1e-100.")
    with np.errstate(over="ignore"):
        single = (points == points.astype(np.float32)).all()
    step = np.spacing(np.float32(largest) if single else largest)
    if extent < 100 * step:
        raise InputError(
            f"{name} has a box of {extent:.3g} at {largest:.3g} from the origin, where numbers come in steps of "
            f"{step:.1g}; move it to the origin before it is rounded."
        )
    centered = (points - points.mean(axis=0)) / extent
    axes = np.linalg.eigh(centered.T @ centered)[1]
    flat = np.array([np.ptp(centered @ axis) for axis in axes.T]) < max(FLATNESS, 4 * step / extent)
    if flat.sum() == points.shape[1] - 1:
        raise InputError(f"{name}: all {len(points):,} points lie on one line, which encloses nothing.")
    if not flat.any():
        return []
    return [f"all {len(points):,} points lie in one plane: a patch of it; for an outline give two columns (x y)"]
