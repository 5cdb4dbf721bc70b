"""Where an open scan ends, its surface ends: the parts of a mesh or curve that no sample supports are cut off.

A field is the distance to a closed surface, so the scan of a sheet comes back as a balloon, most of it invented.
How far a place is from the samples is told in their own spacing there: a *gap* of 1 is as wide as they are apart.
A part of the surface beyond `EDGE` is a hole that is closed where its gap stays below `WIDE`, and no surface where
it does not. The share of the area that is cut off so says whether the scan is open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from ..cloud.neighbors import ADJOINING, Neighbors
from ..errors import InputError
from ..settings import whole
from .cells import Grid, Wanted
from .extract import extract_contours, extract_mesh
from .gaps import Ended, Shape, gaps, spacing_around
from .pieces import connected, without_crumbs, without_curve_crumbs
from .triangles import cut, face_areas

EDGE = 1.1
"""Gap up to which the surface goes on beyond its outermost samples. Where samples lie at random, one place in a
hundred and fifty has a wider one; such places are holes that are closed."""
WIDE = 3.0
"""Gap in the middle of a hole from which on it is left open: one 6 spacings wide. Samples at random leave none of
2; what is wider was not seen."""
BEYOND = 1.5 * WIDE
"""In spacings: how far beyond the samples a surface is looked for, so that what is cut off is seen to be."""
OPEN = 0.2
"""Share of the area that is cut off from which on the scan is open: so much of a closed surface is invented."""
CELLS = 128
"""Cells along the longest side of the box that distances to what is left are measured on: it then lies within a
thousandth of that side, and its border within a few."""
SMOOTH = 4
"""Times that gaps are averaged over a vertex and its neighbors: borders are straight where samples are not."""


Ends = Literal["auto", "closed", "open"]


@dataclass(frozen=True)
class Edge:
    """Where a surface in space ends: beyond its samples."""

    near: Neighbors
    """The samples and their neighbors."""
    holes: float | None = None
    trim: float | None = None
    """As for `Surface.mesh`, in the frame of the samples."""

    @cached_property
    def spacing(self) -> Float[np.ndarray, " s"]:
        """Of the samples around each of them."""
        return spacing_around(self.near)

    def reach(self) -> Float[np.ndarray, " s"]:
        """How far from each sample the surface is looked for."""
        if self.trim is None and self.holes is None:
            return BEYOND * self.spacing
        length = BEYOND / WIDE * self.holes / 2 if self.trim is None and self.holes is not None else self.trim
        return np.full(len(self.near.points), length)

    def gap(
        self, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
    ) -> tuple[Float[np.ndarray, " v"], float]:
        """A value of each vertex of a mesh, and the one up to which the surface goes on."""
        if self.trim is not None:
            return self.near.at(vertices)[0], self.trim
        return unsupported(vertices, faces, self.near, self.holes, self.spacing)[0], EDGE


def ends(surface: str, holes: float | None, trim: float | None, *, found: bool = False) -> bool:
    """Whether a surface ends where its samples do, as it is asked for, and for "auto" as was `found`.

    Raises:
        InputError: an unknown word, a width that is not positive, or two that exclude each other.
    """
    if surface not in get_args(Ends):
        raise InputError(f"a surface is 'auto', 'closed' or 'open', not {surface!r}")
    for name, length in (("holes", holes), ("trim", trim)):
        if length is not None and not 0 < length < np.inf:
            raise InputError(f"{name} {length:g} must be a positive length, in the scan's units")
    if surface == "closed" and (holes, trim) != (None, None):
        raise InputError("a closed surface has no holes and is not trimmed; leave out one")
    if holes is not None and trim is not None:
        raise InputError("to trim leaves every hole open that is wide enough; leave out the width of holes")
    return surface == "open" or holes is not None or trim is not None or (surface == "auto" and found)


def triangles(
    field: Shape,
    box: Float[np.ndarray, "2 3"],
    near: Neighbors,
    level: float = 0.0,
    holes: float | None = None,
    trim: float | None = None,
    *,
    resolution: int,
    ends: bool,
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """The level set of a field as a mesh.

    Args:
        field: the fitted field, all lengths in its frame.
        box: lower and upper corner of the samples' box.
        near: the samples and their neighbors.
        level, holes, trim: as for `Surface.mesh`.
        resolution: cells along the longest side of the box.
        ends: whether it ends where the samples do; else it is closed.

    Raises:
        FitError, InputError: as for `Surface.mesh`.
    """
    if not ends:
        return extract_mesh(field.distance, box, resolution=resolution, level=level, gradient=field.gradient)[:2]
    edge = Edge(near, holes, trim)
    vertices, faces = _around(field, box, near, resolution, level, edge.reach())
    vertices, faces = cut(vertices, faces, *edge.gap(vertices, faces))[:2]
    _check_left(len(faces), trim)
    return vertices, faces


def polylines(
    field: Shape,
    box: Float[np.ndarray, "2 2"],
    near: Neighbors,
    level: float = 0.0,
    holes: float | None = None,
    trim: float | None = None,
    *,
    resolution: int,
    ends: bool,
) -> list[Float[np.ndarray, "m 2"]]:
    """The level set of a field in the plane as polylines; arguments and errors as for `triangles`."""
    curves = _curves(field, box, resolution, level)
    if trim is not None:
        curves = cut_curves(curves, near, trim)
    elif ends:
        curves = open_curves(curves, near, holes)[0]
    _check_left(len(curves), trim)
    return without_curve_crumbs(curves, near.points)


def invented(field: Shape, box: Float[np.ndarray, "2 d"], near: Neighbors, *, resolution: int) -> float:
    """Share of the area (in the plane, length) of the closed surface that no sample supports."""
    if box.shape[1] == 2:
        return open_curves(_curves(field, box, 4 * resolution), near)[1]
    vertices, faces = _around(field, box, near, resolution, 0.0)
    return unsupported(vertices, faces, near)[1]


def ended(field: Shape, box: Float[np.ndarray, "2 d"], near: Neighbors) -> Ended:
    """The field of the surface that ends where the samples do; errors as for `triangles`."""
    cell = float(np.ptp(box, 0).max()) / CELLS
    if box.shape[1] == 3:
        vertices, faces = triangles(field, box, near, resolution=CELLS, ends=True)
        return Ended(field, *without_crumbs(vertices, faces, near.points)[:2], cell)
    curves = polylines(field, box, near, resolution=CELLS, ends=True)
    starts = np.cumsum([0] + [len(curve) for curve in curves])
    first = np.concatenate([np.arange(low, high - 1) for low, high in pairwise(starts)])
    return Ended(field, np.concatenate(curves), np.stack([first, first + 1], axis=1), cell)


def _curves(field: Shape, box: np.ndarray, resolution: int, level: float = 0.0) -> list[np.ndarray]:
    return extract_contours(field.distance, box, resolution=resolution, level=level, gradient=field.gradient)


def _around(
    field: Shape, box: np.ndarray, near: Neighbors, resolution: int, level: float, reach: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The level set around the samples: up to a distance `reach` (n,) from each and a little beyond; or all of it,
    closed at the border of a box so far from them that it is cut off."""
    margin = BEYOND * float(np.median(near.spacing(ADJOINING[3])))
    resolution = round(whole(resolution, "a resolution", 4) * (1 + 2 * margin / float(np.ptp(box, 0).max())))
    vertices, faces, _ = extract_mesh(
        field.distance,
        box + [[-margin], [margin]],
        resolution=resolution,
        level=level,
        gradient=field.gradient,
        limit=0,
        wanted=None if reach is None else beside(near, reach),
    )
    return vertices, faces


def beside(near: Neighbors, reach: Float[np.ndarray, " n"]) -> Wanted:
    """Cells within a distance `reach` of a sample, of its own, are wanted."""

    def wanted(grid: Grid, cells: np.ndarray) -> np.ndarray:
        farthest = reach + 2 * grid.step  # half a cell's diagonal is .87 steps
        distance, nearest = near.at(grid.centers(cells), within=float(farthest.max()))
        return distance <= np.append(farthest, -1.0)[nearest]

    return wanted


def unsupported(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    near: Neighbors,
    hole: float | None = None,
    spacing: Float[np.ndarray, " s"] | None = None,
) -> tuple[Float[np.ndarray, " v"], float]:
    """The gap at each vertex, below `EDGE` wherever the surface stays, and the share of the area that does not.

    Args:
        vertices, faces: a mesh.
        near: the samples and their neighbors, in the same frame.
        hole: width of the holes that stay closed, instead of by `WIDE`.
        spacing: as for `gaps`.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    length = float(np.median(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)))
    gap = _smooth(np.minimum(gaps(vertices, near, length, spacing), 2 * WIDE), edges)
    depth = gap / WIDE if hole is None else near.at(vertices)[0] / (hole / 2)
    beyond = gap > EDGE
    part = connected(edges[beyond[edges].all(1)], len(vertices))
    deepest = np.zeros(len(vertices))
    np.maximum.at(deepest, part[beyond], depth[beyond])
    gap[beyond & (deepest[part] <= 1)] = EDGE
    area = face_areas(vertices, faces)
    return gap, float(area[(gap[faces] > EDGE).any(1)].sum() / area.sum())


def cut_curves(
    curves: list[Float[np.ndarray, "m 2"]], near: Neighbors, distance: float
) -> list[Float[np.ndarray, "k 2"]]:
    """The parts of polylines whose segments lie within `distance` of a sample."""
    return [part for curve in curves for part in _kept_parts(curve, near.at(_middles(curve))[0] <= distance)]


def open_curves(
    curves: list[Float[np.ndarray, "m 2"]], near: Neighbors, hole: float | None = None
) -> tuple[list[Float[np.ndarray, "k 2"]], float]:
    """The parts of polylines that samples support, as `unsupported` has it, and the share of the length that they
    do not."""
    kept, left_out, length, spacing = [], 0.0, 0.0, spacing_around(near)
    for curve in curves:
        gap = gaps(_middles(curve), near, spacing=spacing)
        depth = gap / WIDE if hole is None else near.at(_middles(curve))[0] / (hole / 2)
        beyond = gap > EDGE
        step = np.linalg.norm(np.diff(curve, axis=0), axis=1)
        part = np.cumsum(np.concatenate([[0], np.diff(beyond.astype(int)) != 0]))
        if (curve[0] == curve[-1]).all() and beyond[0] == beyond[-1]:
            part[part == part[-1]] = 0
        deepest = np.zeros(part.max() + 1)
        np.maximum.at(deepest, part, np.where(beyond, depth, 0))
        gone = deepest[part] > 1
        left_out, length = left_out + step[gone].sum(), length + step.sum()
        kept += _kept_parts(curve, ~gone)
    return kept, float(left_out / max(length, 1e-300))


def _check_left(kept: int, trim: float | None) -> None:
    """Refuse a result of no parts.

    Raises:
        InputError: it has none.
    """
    if not kept and trim is not None:
        raise InputError("nothing of the surface lies so close to a sample; use a larger distance to trim")
    if not kept:
        raise InputError("nothing of the surface lies beside the samples; ask for a closed surface")


def _smooth(value: np.ndarray, edges: np.ndarray) -> Float[np.ndarray, " v"]:
    """Values at vertices, averaged along the edges between them."""
    from scipy.sparse import coo_array

    joined = coo_array((np.ones(len(edges)), edges.T), shape=(len(value), len(value))).tocsr()
    around = np.maximum(np.diff(joined.indptr), 1)
    for _ in range(SMOOTH):
        value = (value + joined @ value / around) / 2
    return value


def _middles(curve: np.ndarray) -> Float[np.ndarray, "m 2"]:
    return (curve[1:] + curve[:-1]) / 2


def _kept_parts(curve: np.ndarray, kept: Bool[np.ndarray, " m"]) -> Iterator[np.ndarray]:
    """The runs of segments of a polyline that are kept."""
    if kept.all() or not kept.any():
        yield from [curve] * bool(kept.all())
        return
    if (curve[0] == curve[-1]).all():  # a closed curve is cut where it is not kept
        first = int(np.argmin(kept))
        curve, kept = np.concatenate([curve[first:-1], curve[: first + 1]]), np.roll(kept, -first)
    ends = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(int)))
    for start, stop in list(pairwise(ends))[::2]:
        yield curve[start : stop + 1]
