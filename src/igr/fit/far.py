"""What an oriented cloud tells about space before anything is fitted: the sign, and far away the distance.

The oriented points are the gradient of the indicator function of the inside, smoothed; so the indicator solves a
Poisson equation (Kazhdan et al. 2006), here on a grid by FFT. Its zero level is a membrane that closes the holes
of the cloud. Far from cloud and membrane the distance to the nearest of their points is the distance to the
surface, and fitting these signed distances first gives IGR a start without ghosts.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import Neighbors, disk_areas
from ..field.beyond import sphere_places
from ..machine import threads
from ..normals.openness import Indicator
from .sampling import KnownSpace

CELLS = {2: 256, 3: 128}
"""Cells along an edge of the indicator's grid, by dimension."""
MARGIN = 1.5
"""In cells: closer to the surface than that, the nearest point says too little about the distance."""
MANY = 100_000
"""Points that the indicator is computed from, at most."""
ENOUGH = 20_000
"""Points that far places measure their distance to."""
AROUND = 16
"""Neighbors that trust in a normal is measured by."""
BEHIND = 3.0
"""In cells: how deep a body is behind its points at least, where it is not seen from behind."""
ROOM = 0.2
"""Share of the membrane that closes holes up to which a cloud whose inside goes on to the border is a room."""
PART = 1 << 14
"""Corners of the grid that are compared with all planes of the hull at once."""
HOLE = 2.5
"""In cells: where the membrane is farther than that from every point, it closes a hole."""


def indicator(
    points: Float[np.ndarray, "n d"],
    normals: Float[np.ndarray, "n d"],
    *,
    areas: Float[np.ndarray, " n"] | None = None,
    bound: float = 1.25,
) -> Indicator:
    """The indicator of the inside of an oriented cloud in the unit frame, by one Poisson solve.

    Args:
        points: within [-1, 1]^d.
        normals: outward unit normals.
        areas: area that each point stands for; as `Neighbors.areas` has it when missing.
        bound: half the edge of the (periodic) grid's cube.
    """
    from scipy import fft

    d, cells = points.shape[1], CELLS[points.shape[1]]
    cell = 2 * bound / cells
    areas = Neighbors(points).areas() if areas is None else areas
    field = _splat((points + bound) / cell, normals * areas[:, None], cells) / cell**d
    steps = np.fft.fftfreq(cells, cell).astype(np.float32) * np.float32(2 * np.pi)
    grids = np.meshgrid(*[steps] * (d - 1), abs(steps[: cells // 2 + 1]), indexing="ij", sparse=True)
    square = np.asarray(sum(wave * wave for wave in grids))
    spectrum = np.asarray(
        sum(1j * grids[axis] * np.asarray(fft.rfftn(field[axis], workers=threads())) for axis in range(d))
    )
    spectrum *= -np.exp(-0.5 * square * cell * cell) / np.where(square == 0, np.inf, square)
    values = np.asarray(fft.irfftn(spectrum, s=[cells] * d, workers=threads())).astype(np.float32)
    raw = Indicator(values, bound)
    return Indicator(values - np.float32(np.median(raw(points))), bound)


def inside_of(
    points: Float[np.ndarray, "n d"],
    normals: Float[np.ndarray, "n d"],
    near: Neighbors,
    *,
    seed: int,
    trust: Float[np.ndarray, " n"] | None = None,
) -> Indicator:
    """`indicator` of a cloud of any size, each normal counting as much as it is trusted.

    Args:
        points: the cloud, unit frame.
        normals: outward unit normals.
        near: the neighbors of the points.
        seed: seed of the points that are taken of very many.
        trust: weight of each normal in [0, 1]; all 1 when missing.
    """
    rows = np.arange(len(points))
    if len(points) > MANY:
        rows = np.random.default_rng([seed, 4]).choice(rows, MANY, replace=False)
    distance, around = near.of(rows, AROUND - 1)
    areas = disk_areas(distance, points.shape[1]) * (len(points) / len(rows))
    if trust is not None:
        areas *= _among_neighbors(trust[rows], trust[around])
    return within_hull(indicator(points[rows], normals[rows], areas=areas), points, normals, near)


def within_hull(
    inside: Indicator, points: Float[np.ndarray, "n d"], normals: Float[np.ndarray, "n d"], near: Neighbors
) -> Indicator:
    """An indicator whose inside is in the convex hull of the cloud, as every body is, or right behind its points:
    what was not seen from all sides is closed there, where the membrane would be a balloon.

    A cloud without wide holes is left as it is, and so is a room seen from inside.

    Args:
        inside: the indicator of the cloud.
        points, normals, near: the cloud, unit frame.
    """
    from scipy.spatial import ConvexHull

    reach, d = HOLE * inside.cell, points.shape[1]
    gap = near.at(inside.membrane(), within=reach)[0] > reach
    inverted = all(np.take(inside.values, [0, -1], axis).max() < 0 for axis in range(d))
    if not gap.any() or (inverted and gap.mean() < ROOM):
        return inside
    few = points[:: max(1, len(points) // ENOUGH)]
    few = np.concatenate([few, few - BEHIND * inside.cell * normals[:: max(1, len(points) // ENOUGH)]])
    outermost = np.unique([(few @ toward).argmax() for toward in sphere_places(d)[::8]])
    planes = np.unique(ConvexHull(few[outermost], qhull_options="QJ").equations.round(3), axis=0)
    values, corners = inside.values.copy(), np.argwhere(inside.values < 0)
    for start in range(0, len(corners), PART):
        part = corners[start : start + PART]
        beyond = ((part * inside.cell - inside.bound) @ planes[:, :-1].T + planes[:, -1]).max(1) / inside.cell - 1
        values[tuple(part[beyond > 0].T)] = beyond[beyond > 0]
    return Indicator(values, inside.bound)


def far_space(
    points: Float[np.ndarray, "n d"],
    near: Neighbors,
    inside: Indicator,
    *,
    extent: float,
    seed: int,
    count: int = 30_000,
) -> KnownSpace:
    """Random places of [-extent, extent]^d, those too close to the surface left out, with signed distances.

    Args:
        points: the cloud, unit frame.
        near: the neighbors of the points.
        inside: the indicator of the cloud.
        extent: half the edge of the cube.
        seed: seed of the places.
        count: how many places are drawn.
    """
    membrane = inside.membrane()
    reach = HOLE * inside.cell
    gap = near.at(membrane, within=reach)[0] > reach
    few = points[:: max(1, len(points) // ENOUGH)]  # s² / 2U too far at spacing s: little, where U is large
    closed = Neighbors(np.concatenate([few, membrane[gap]]))
    places = np.random.default_rng([seed, 3]).uniform(-extent, extent, (count, points.shape[1]))
    distance = closed.at(places)[0]
    far = distance > MARGIN * inside.cell
    target = np.where(inside(places) > 0, distance, -distance)
    return KnownSpace(places[far].astype(np.float32), target[far].astype(np.float32))


def _among_neighbors(trust: Float[np.ndarray, " n"], around: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """Trust in each normal beside the mean around it, in [0.1, 1]: whom a part of the cloud rather believes.
    A part that is trusted less as a whole (the wall of a cavity, say) still bounds the inside as others do."""
    return np.clip(trust / np.maximum(around.mean(1), 1e-3), 0.1, 1.0)


def _splat(
    place: Float[np.ndarray, "n d"], values: Float[np.ndarray, "n c"], cells: int
) -> Float[np.ndarray, "c ..."]:
    """`values` at `place` (in cells) shared among the corners of the cell around, multilinearly."""
    d = place.shape[1]
    corner = np.floor(place).astype(np.int64)
    share = place - corner
    strides = cells ** np.arange(d)[::-1]
    rows = corner @ strides
    order = np.argsort(rows, kind="stable")
    first = np.flatnonzero(np.diff(rows[order], prepend=-1))  # of the points of each cell
    grid, filled = np.zeros((values.shape[1], cells**d), np.float32), rows[order][first]
    share, values = share[order], values[order]
    for offset in np.ndindex(*[2] * d):
        weight = np.where(offset, share, 1 - share).prod(1)
        at = filled + np.array(offset) @ strides
        grid[:, at] += np.add.reduceat(weight[:, None] * values, first).T
    return grid.reshape(-1, *[cells] * d)
