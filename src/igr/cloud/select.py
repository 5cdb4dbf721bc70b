"""Some of the points of a cloud: in a box, or one a cell; and when to give a box."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import InputError
from .neighbors import SPACED, Neighbors

SAMPLE = 20_000
"""Points whose spacing is looked at."""
TINY = 4.0
"""A part of this fraction of the box is small in it."""


def in_box(points: Float[np.ndarray, "n d"], box: Float[np.ndarray, "2 d"]) -> Bool[np.ndarray, " n"]:
    """Which points lie between the low and the high corner of a box, or on its border."""
    return ((points >= box[0]) & (points <= box[1])).all(axis=1)


def checked_box(numbers: tuple[float, ...], dimension: int) -> Float[np.ndarray, "2 d"]:
    """The low and high corner that so many numbers are.

    Raises:
        InputError: there are others than twice the dimension, or low is not below high.
    """
    box = np.array(numbers, np.float64)
    names = ["xmin ymin xmax ymax", "xmin ymin zmin xmax ymax zmax"][dimension - 2]
    if box.shape != (2 * dimension,) or not (box[:dimension] < box[dimension:]).all():
        given = " ".join(f"{number:g}" for number in box.ravel())
        raise InputError(f"the crop {given} is no box; it needs {names}, each minimum below its maximum")
    return box.reshape(2, dimension)


def one_a_cell(points: Float[np.ndarray, "n d"], size: float) -> Int[np.ndarray, " m"]:
    """Rows of the points that lie nearest to the mean of their cell, one for each cell of a grid, in order.

    They are points of the cloud, so that what is known of them stays true, and of those that are equally near the
    first, so that the choice is always the same.
    """
    relative = points - points.min(axis=0)
    cells = np.floor(relative / size)
    order = np.lexsort(cells.T)
    first = np.ones(len(points), bool)
    first[1:] = (np.diff(cells[order], axis=0) != 0).any(axis=1)
    starts, owner = np.flatnonzero(first), np.cumsum(first) - 1
    mean = np.add.reduceat(relative[order], starts) / np.bincount(owner)[:, None]
    apart = np.square(relative[order] - mean[owner]).sum(axis=1)
    nearest = np.flatnonzero(apart == np.minimum.reduceat(apart, starts)[owner])
    return np.sort(order[nearest[np.unique(owner[nearest], return_index=True)[1]]])


def small_part(near: Neighbors, cell: float) -> str:
    """What to say of a cloud most of whose points lie in a small part of its box, closer than the finest cell of
    the field tells apart: the box to crop it to. Empty for others."""
    points, dimension = near.points, near.points.shape[1]
    rows = np.random.default_rng(8).choice(len(points), min(SAMPLE, len(points)), replace=False)
    spacing = near.of(rows, SPACED[dimension])[0][:, -1]
    lost = spacing < cell / 2
    if lost.mean() < 0.5:
        return ""
    dense = points[rows[lost]]
    low, high = np.quantile(dense, (0.05, 0.95), axis=0)
    margin = 0.3 * (high - low).max()
    dense = dense[in_box(dense, np.stack([low - margin, high + margin]))]
    low, high = dense.min(axis=0), dense.max(axis=0)
    side, whole = (high - low).max(), np.ptp(points, axis=0).max()
    if TINY * side > whole:
        return ""
    digits = max(0, 2 - int(np.floor(np.log10(side))))
    box = " ".join(f"{number:.{digits}f}" for number in (*(low - 0.05 * side), *(high + 0.05 * side)))
    return (
        f"{len(dense) / len(rows):.0%} of the points lie within {side:.3g} of a box of {whole:.4g}, "
        f"{np.median(spacing[lost]):.2g} apart where the finest cell is {cell:.2g}; for their detail: --crop {box}"
    )
