"""Unsigned normals of bare points: the direction in which the neighbors of each vary least.

The neighborhoods are as small as the noise allows. Where points lie along lines, as in slices and the rings of a
lidar, the nearest ones span no surface: there the cloud is thinned until they do.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..cloud.neighbors import ADJOINING, Neighbors

NEIGHBORHOODS = {
    2: {4: 0.204, 8: 0.306, 16: 0.373, 32: 0.413},
    3: {10: 0.148, 32: 0.233, 64: 0.263, 128: 0.283, 256: 0.298},
}
"""Neighbors that a normal is estimated from, by dimension: the first that are flat enough, or the flattest. Small
ones err more, but each differently, and a fit averages that; large ones round off edges, which no fit undoes.
Beside each, the share of the variance that its smallest direction has where points fill a ball."""
AT_RANDOM = 64
"""Neighbors, below which the errors of normals next to each other have little in common."""
FLAT = 0.25
"""Share of the variance across a neighborhood, over that of points in a ball, up to which it counts as flat."""
PARTNERS = {2: 4, 3: 12}
"""Neighbors that a point shares its vote with, by dimension."""
PART = 20
"""Neighborhoods larger than that part of a cloud see its shape, and not how thick it is."""
LINE, PLANE = 0.06, 0.12
"""Second over first variance of a neighborhood below which it is a line, and from which on a surface."""
LINES = 0.1
"""Share of the neighborhoods that are lines from which on the cloud is made of them: edges of bodies are fewer."""
LOOKED_AT = 3000
"""Points whose neighborhoods say what those of a cloud are like."""
CROWD = 16
"""Neighbors that tell how far apart points of a surface are: where scans overlap, some lie in almost one place."""
DOUBLINGS, FEWEST = 6, 30
"""Times that the cells of a thinned cloud are doubled, at most; and the points that it has, at least."""
ALONG = 4
"""Neighbors on its line that a point stays linked to."""


class Directions(NamedTuple):
    """What the neighborhoods of points tell."""

    normals: Float[np.ndarray, "n d"]
    """Unit normals of arbitrary sign."""
    flatness: Float[np.ndarray, " n"]
    """Of the neighborhoods, in [0, 1]."""
    neighbors: Int[np.ndarray, "n k"]
    """Rows of the points that each one's surface goes on to."""
    spacing: float
    """Median distance to the sixth neighbor."""
    adjoining: float
    """Median of the local spacing, see `local_spacing`."""
    errs_at_random: bool
    """Whether the normals err at random, see `Orientation`."""
    thickness: float
    """How thick neighborhoods are, at the size where they are flattest, over those of points that fill a ball."""


def estimate_directions(near: Neighbors, flat: float = FLAT) -> Directions:
    """Unsigned normals of points from neighborhoods that are at least so `flat`."""
    points, (n, d) = near.points, near.points.shape
    size, errs_at_random, thickness = neighborhood(near, flat=flat)
    beside = min(max(PARTNERS[d], 6), n - 1)
    variances, axes = np.empty((n, d)), np.empty((n, d, d))
    distance, neighbors = np.empty((n, beside + 1)), np.empty((n, min(PARTNERS[d], beside)), np.int64)
    for rows, apart, index in near.parts(max(size, beside)):
        variances[rows], axes[rows] = principal_axes(points, index[:, : size + 1])
        distance[rows], neighbors[rows] = apart[:, : beside + 1], index[:, 1 : neighbors.shape[1] + 1]
    normals, variation = axes[:, :, 0], variances[:, 0] / np.maximum(variances.sum(1), 1e-300)
    spacing, line = distance[:, min(ADJOINING[d], beside)], variances[:, -2] < LINE * variances[:, -1]
    if d == 3 and line.mean() > LINES:
        along, spacing = axes[:, :, 2], spacing.copy()
        for rows, others, apart, wider, wide in _spanning(near, np.flatnonzero(line)):
            normals[rows] = _across(wide[:, :, 0], along[rows])
            variation[rows] = wider[:, 0] / np.maximum(wider.sum(1), 1e-300)
            neighbors[rows, ALONG:] = others[:, 1 : 1 + neighbors.shape[1] - ALONG]
            spacing[rows] = apart[:, ADJOINING[3]]
    flatness = np.clip(1 - variation / 0.15, 0, 1)
    sixth, adjoining = float(np.median(distance[:, min(6, beside)])), float(np.median(spacing))
    return Directions(normals, flatness, neighbors, sixth, adjoining, errs_at_random, thickness)


def _across(normals: np.ndarray, along: np.ndarray) -> Float[np.ndarray, "m 3"]:
    """Normals of points on lines: what is across the line in a wider neighborhood is the other direction of the
    surface, unless that neighborhood is across the line altogether."""
    across = normals - (normals * along).sum(1, keepdims=True) * along
    length = np.linalg.norm(across, axis=1, keepdims=True)
    return np.where(length > 0.5, across / np.maximum(length, 1e-12), normals)


def local_spacing(near: Neighbors) -> Float[np.ndarray, " n"]:
    """How far apart points are on the surface around each of them: the distance to the neighbor that adjoins, as
    those around tell it; on lines that in the thinned cloud in which they span a surface."""
    points, d = near.points, near.points.shape[1]
    if d == 2 or len(points) <= PARTNERS[3]:
        return near.spacing(ADJOINING[d])
    count = min(CROWD, len(points) - 1)
    spacing = near.spacing(count) * np.sqrt(ADJOINING[3] / count)  # on a surface, disks hold as many as their area
    rows = np.arange(len(points))
    if _along_lines(near, rows[:: max(1, len(rows) // LOOKED_AT)]).mean() <= LINES:
        return spacing
    spacing = spacing.copy()
    for plane, _, distance, _, _ in _spanning(near, np.flatnonzero(_along_lines(near, rows))):
        spacing[plane] = distance[:, ADJOINING[3]]
    return spacing


def _along_lines(near: Neighbors, rows: Int[np.ndarray, " m"]) -> Bool[np.ndarray, " m"]:
    """Whether the neighborhoods of some points in space are lines."""
    variances = principal_axes(near.points, near.of(rows, PARTNERS[3])[1])[0]
    return variances[:, 1] < LINE * variances[:, 2]


def _spanning(near: Neighbors, asked: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Of the points asked for, the rows of those whose neighborhoods are planes in a thinned cloud, with rows,
    distances, variances and axes of these neighborhoods; the finest such cloud first."""
    points, rng = near.points, np.random.default_rng(0)
    cell = float(np.median(near.spacing(ADJOINING[3])))
    for _ in range(DOUBLINGS):
        cell *= 2
        order = rng.permutation(len(points))
        cells = np.floor((points[order] - points.min(0)) / cell).astype(np.int64)
        few = order[np.unique(cells, axis=0, return_index=True)[1]]
        if len(few) < FEWEST or len(asked) == 0:
            return
        distance, place = Neighbors(points[few]).at(points[asked], min(PARTNERS[3] + 1, len(few)))
        index = few[place]
        variances, axes = principal_axes(points, index)
        plane = variances[:, 1] > PLANE * variances[:, 2]
        yield asked[plane], index[plane], distance[plane], variances[plane], axes[plane]
        asked = asked[~plane]


def neighborhood(near: Neighbors, looked_at: int = LOOKED_AT, *, flat: float = FLAT) -> tuple[int, bool, float]:
    """How many neighbors normals are estimated from, see `NEIGHBORHOODS`, by about so many points; and whether
    more would be flatter, as they are where noise bends neighborhoods and not the surface; and the thickness."""
    points, (n, d) = near.points, near.points.shape
    sizes, shapeless = list(NEIGHBORHOODS[d]), NEIGHBORHOODS[d].values()
    index = near.of(np.arange(0, n, max(1, n // looked_at)), sizes[-1])[1]
    across = [np.median(smallest_direction(points, index[:, : size + 1])[1]) for size in sizes]
    rough = [float(share / ball) for share, ball in zip(across, shapeless, strict=True)]
    enough = [place for place, share in enumerate(rough) if share < flat]
    chosen = enough[0] if enough else int(np.argmin(rough))
    errs_at_random = sizes[chosen] < min(AT_RANDOM, sizes[-1]) and rough[chosen + 1] < rough[chosen]
    small = [share for size, share in zip(sizes, rough, strict=True) if size * PART <= n]
    return sizes[chosen], errs_at_random, min(small or rough[:1])


def smallest_direction(points: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Direction of least variance of each neighborhood (rows of `index`), and its share of the variance."""
    variances, axes = principal_axes(points, index)
    return axes[:, :, 0], variances[:, 0] / np.maximum(variances.sum(1), 1e-300)


def principal_axes(points: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances of each neighborhood (rows of `index`), the least first, and their directions, in columns."""
    around = [of[index] for of in np.ascontiguousarray(points.T)]
    around = [of - of.mean(1, keepdims=True) for of in around]
    d = len(around)
    products = np.empty((len(index), d, d))
    for i, j in combinations_with_replacement(range(d), 2):
        products[:, i, j] = products[:, j, i] = np.einsum("nk,nk->n", around[i], around[j])
    values, vectors = _axes(products) if d == 3 else np.linalg.eigh(products)
    return np.maximum(values, 0), vectors


def _axes(a: Float[np.ndarray, "n 3 3"]) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3 3"]]:
    """Eigenvalues of symmetric matrices, the least first, and unit eigenvectors, in columns: what LAPACK finds, to
    rounding, three times as quick.

    The eigenvalue farthest from the other two is a root of the characteristic polynomial, its vector is across two
    rows of what it leaves of the matrix; the other two are found in the plane across that vector, exactly even
    where they are equal (Eberly, A robust eigensolver for 3 x 3 symmetric matrices, 2014)."""
    largest = np.maximum(np.abs(a).max((1, 2)), 1e-300)
    a = a / largest[:, None, None]
    mean = np.einsum("nii->n", a) / 3
    b = a - mean[:, None, None] * np.eye(3)
    size = np.maximum(np.sqrt(np.einsum("nij,nij->n", b, b) / 6), 1e-30)
    b /= size[:, None, None]
    rows = b.transpose(1, 2, 0)
    determinant = np.einsum("in,in->n", rows[0], _cross(rows[1], rows[2]))
    above, angle = determinant > 0, np.arccos(np.clip(determinant / 2, -1, 1)) / 3
    alone = 2 * np.cos(np.where(above, angle, angle + 2 * np.pi / 3))
    x, y, z = (row - alone * axis[:, None] for row, axis in zip(rows, np.eye(3), strict=True))
    across = np.stack([_cross(x, y), _cross(y, z), _cross(z, x)])
    square = np.einsum("kin,kin->kn", across, across)
    best = square.argmax(0)[None]
    length = np.sqrt(np.take_along_axis(square, best, 0)[0])
    v = np.take_along_axis(across, best[None], 0)[0] / np.maximum(length, 1e-30)
    v[:, length < 1e-8] = np.eye(3)[:, :1]  # all three are equal
    u = _cross(v, np.eye(3)[:, np.abs(v).argmin(0)])
    u /= np.sqrt((u * u).sum(0))
    w = _cross(v, u)
    bu, bw = np.einsum("nij,jn->in", b, u), np.einsum("nij,jn->in", b, w)
    uu, uw, ww = (u * bu).sum(0), (u * bw).sum(0), (w * bw).sum(0)
    turn, middle, half = np.arctan2(2 * uw, uu - ww) / 2, (uu + ww) / 2, np.hypot((uu - ww) / 2, uw)
    more, less = np.cos(turn) * u + np.sin(turn) * w, np.cos(turn) * w - np.sin(turn) * u
    three = (middle - half, less), (middle + half, more), (alone, v)
    values = np.stack([np.where(above, three[k][0], three[k - 1][0]) for k in range(3)], 1)
    vectors = np.stack([np.where(above, three[k][1], three[k - 1][1]) for k in range(3)], 2)
    return (values * size[:, None] + mean[:, None]) * largest[:, None], vectors.transpose(1, 0, 2)


def _cross(a: Float[np.ndarray, "3 n"], b: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, "3 n"]:
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
