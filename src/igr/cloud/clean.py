"""What is wrong with the points of a table is mended and noted, or refused with one sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from ..errors import InputError
from ..formats.table import Table

MINIMUM_POINTS = 10
"""A cloud of fewer different points is refused."""

FLATNESS = 1e-5
"""Clouds thinner than this, relative to their box, lie in a plane or on a line."""

LOST_NORMALS = 0.05
"""Up to this share of points without a usable normal is dropped; beyond it, all normals are left aside."""


def clean(table: Table, name: str) -> Table:
    """The usable points of a table, normals of unit length; every check and mending, in order.

    Raises:
        InputError: as for `as_cloud`.
    """
    for step in (_without_missing, _with_unit_normals, _without_duplicates):
        table = step(table)
    if len(table.points) < MINIMUM_POINTS:
        reasons = f" ({'; '.join(table.notes)})" if table.notes else ""
        found = many(len(table.points), "usable point")
        raise InputError(f"{name} has {found}, at least {MINIMUM_POINTS} are needed{reasons}.")
    return replace(table, notes=(*table.notes, *check_extent(table.points, name)))


def many(count: int, thing: str) -> str:
    """`1 point`, `1,000 points`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _without_missing(table: Table) -> Table:
    """Scanners write NaN where nothing came back, often for most rows; such rows are no points."""
    keep = np.asarray(np.isfinite(table.points).all(axis=1))
    if keep.all():
        return table
    return table.rows(keep, f"removed {many(int(np.count_nonzero(~keep)), 'row')} with NaN or infinity")


def _with_unit_normals(table: Table) -> Table:
    normals = table.normals
    if normals is None or len(normals) == 0:
        return replace(table, normals=None)
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(normals, axis=1)
    usable = np.isfinite(lengths)
    if usable.any():
        usable &= lengths > 1e-8 * np.median(lengths[usable])
    lost = int(np.count_nonzero(~usable))
    if lost > LOST_NORMALS * len(normals):
        note = f"left the normals aside, as {lost:,} of {len(normals):,} have no direction"
        return replace(table, normals=None, notes=(*table.notes, note))
    if lost:
        table = table.rows(usable, f"removed {many(lost, 'point')} whose normal has no direction")
        normals, lengths = normals[usable], lengths[usable]
    other = lengths[np.abs(lengths - 1) > 1e-3]
    if len(other):
        note = f"normalized {many(len(other), 'normal')} of length {other.min():.3g} to {other.max():.3g}"
        table = replace(table, notes=(*table.notes, note))
    return replace(table, normals=normals / lengths[:, None])


def _without_duplicates(table: Table) -> Table:
    again = duplicates(table.points)
    if len(again) == 0:
        return table
    keep = np.ones(len(table.points), bool)
    keep[again] = False
    return table.rows(keep, f"removed {many(len(again), 'duplicate point')}")


def duplicates(points: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " m"]:
    """Rows of all but the first of each set of equal points, found by sorting hashes, confirmed by comparing."""
    hashes = np.zeros(len(points), np.uint64)
    for column in np.ascontiguousarray((points + 0.0).T).view(np.uint64):  # + 0.0 makes -0.0 and 0.0 one
        hashes = (hashes ^ column ^ (column >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    ordered = np.sort(hashes)  # ten times as quick as to find their order
    if (ordered[1:] != ordered[:-1]).all():
        return np.empty(0, np.int64)
    order = np.argsort(hashes, kind="stable")
    ordered = points[order]
    return order[1:][(ordered[1:] == ordered[:-1]).all(axis=1)]


def check_extent(points: np.ndarray, name: str) -> list[str]:
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
