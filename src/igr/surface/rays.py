"""Rays through a signed distance field: where they pass through the surface (sphere tracing, Hart 1996)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..cloud.places import as_places, like
from ..errors import InputError
from .combine import as_closed

if TYPE_CHECKING:
    from .surface import Surface

Distance = Callable[[np.ndarray], np.ndarray]
"""Signed distances (n,) at points (n, 3), negative inside."""
SAFETY = 0.7
"""Share of the distance that a ray advances: the field's slope may exceed 1 a little."""
CREEP = 1 / 4000
"""Smallest advance, as a share of the box's longest side: what is thinner can be jumped over."""
ROUNDS = 24
"""Evaluations, at most, to find where in the stretch between two steps a ray meets the surface."""
CLOSE = 1e-4
"""A place is on the surface when the distance there is below this share of that stretch."""
GROWN = 0.25
"""Rays look so far beyond the box of the samples, as a share of its longest side."""


class RayHits(NamedTuple):
    """Where rays meet a surface, as trimesh's `mesh.ray.intersects_location` returns it.

    A field has no triangles, so the normal takes the place of `index_tri`.
    """

    locations: Float[np.ndarray, "m d"]
    """Places on the surface, those of one ray behind each other, nearest first."""
    index_ray: Int[np.ndarray, " m"]
    """Row of the ray that each belongs to, ascending."""
    normals: Float[np.ndarray, "m d"]
    """Unit outward normal of the surface at each; against the ray where it enters."""


def cast(
    surface: Surface,
    origins: Float[np.ndarray, "n d"],
    directions: Float[np.ndarray, "n d"],
    *,
    multiple_hits: bool = True,
) -> RayHits:
    """Where rays meet a surface.

    It is looked for in the samples' box, grown by a quarter of its longest side; of what is thinner than a 4,000th
    of that, both sides can be missed. Of an open surface, the hits on what is left of it.

    Args:
        surface: what they meet.
        origins: where the rays begin, input units; only what lies ahead is found.
        directions: where they go, of any length but zero.
        multiple_hits: every place along each ray, or only its first.

    Raises:
        InputError: there is not one direction for each origin, or one is zero or not finite.
    """
    begin, directions = (as_places(x, surface.dimension) for x in (origins, directions))
    if len(begin) != len(directions):
        raise InputError(f"{len(begin)} origins and {len(directions)} directions do not belong together")
    longest = np.abs(directions).max(1, keepdims=True)  # so that no square overflows
    if not np.isfinite(begin).all() or not (np.isfinite(longest) & (longest > 0)).all():
        raise InputError("the origins and directions of rays must be finite, and no direction zero")
    along = directions / longest
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    box = surface.frame.to_input(surface.box)
    margin = GROWN * float((box[1] - box[0]).max())
    box = np.stack([box[0] - margin, box[1] + margin])
    closed, ended = as_closed(surface), surface.ended
    rows, depth = trace(closed.distance, begin, along, box, multiple_hits=multiple_hits or ended is not None)
    places = begin[rows] + depth[:, None] * along[rows]
    if ended is not None:
        left = ended.left(surface.frame.to_unit(places))
        rows, places = rows[left], places[left]
        first = slice(None) if multiple_hits else np.unique(rows, return_index=True)[1]
        rows, places = rows[first], places[first]
    return RayHits(like(origins, places), like(origins, rows), like(origins, surface.normals(places)))


def trace(
    distance: Distance,
    origins: Float[np.ndarray, "n d"],
    directions: Float[np.ndarray, "n d"],
    box: Float[np.ndarray, "2 d"],
    *,
    multiple_hits: bool = True,
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Sign changes of `distance` along rays inside a box.

    Args:
        distance: the field.
        origins: where each ray begins.
        directions: of unit length.
        box: lower and upper corner of where to look.
        multiple_hits: every place, or only the first of each ray.

    Returns:
        Row of the ray and length along it of each place, sorted by both.
    """
    creep = CREEP * float((box[1] - box[0]).max())
    start, stop = _inside(origins, directions, box)
    alive = np.flatnonzero(start < stop)
    depth = start[alive]
    value = distance(origins[alive] + depth[:, None] * directions[alive])
    found: list[np.ndarray] = [np.empty((5, 0))]
    while len(alive):
        ahead = np.minimum(depth + np.maximum(SAFETY * np.abs(value), creep), stop[alive])
        after = distance(origins[alive] + ahead[:, None] * directions[alive])
        crossed = (value < 0) != (after < 0)
        if crossed.any():
            found.append(np.stack([alive, depth, ahead, value, after])[:, crossed])
        going = ahead < stop[alive]
        if not multiple_hits:
            going &= ~crossed
        alive, depth, value = alive[going], ahead[going], after[going]
    row, near, far, f_near, f_far = np.concatenate(found, axis=1)
    row = row.astype(np.int64)
    depth = _refined(distance, origins[row], directions[row], (near, far), (f_near, f_far))
    order = np.lexsort([depth, row])
    return row[order], depth[order]


def _inside(origins: np.ndarray, directions: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Length along each ray at which it enters a box, from 0, and leaves it; start ≥ stop where it misses."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        first, second = ((corner - origins) / directions for corner in box)
    parallel = directions == 0
    beside = (parallel & ((origins < box[0]) | (origins > box[1]))).any(1)
    start = np.where(parallel, -np.inf, np.minimum(first, second)).max(1)
    stop = np.where(parallel, np.inf, np.maximum(first, second)).min(1)
    return np.maximum(start, 0.0), np.where(beside, -np.inf, stop)


def _refined(
    distance: Distance,
    origins: np.ndarray,
    directions: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    values: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """The zero in each bracketed stretch, by false position, every other time by halving."""
    (low, high), (f_low, f_high) = ends, values
    place = low + (high - low) * f_low / np.where(f_low == f_high, 1.0, f_low - f_high)
    close = CLOSE * (high - low)
    todo = np.arange(len(low))
    for turn in range(ROUNDS):
        if len(todo) == 0:
            break
        value = distance(origins[todo] + place[todo, None] * directions[todo])
        lower = (value < 0) == (f_low[todo] < 0)
        up, down = todo[lower], todo[~lower]
        low[up], f_low[up] = place[up], value[lower]
        high[down], f_high[down] = place[down], value[~lower]
        todo = todo[np.abs(value) > close[todo]]
        share = 0.5 if turn % 2 else f_low[todo] / (f_low[todo] - f_high[todo])
        place[todo] = low[todo] + (high[todo] - low[todo]) * share
    return place
