"""From a signed distance function to its zero level set: a watertight mesh in space, closed curves in the plane.

In space only cells that the surface can pass through are evaluated (`cells.py`); marching cubes (Lorensen & Cline
1987) turns them into triangles, by libigl's table of cases; every vertex then slides along its grid edge onto the
zero set. It stays on its edge, so no triangle turns over and none degenerates.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..errors import FitError, InputError
from ..fit.memory import affordable
from ..settings import whole
from .cells import SAFETY, Grid, Wanted, all_voxels, follow
from .cubes import END, slide, triangulate

logger = logging.getLogger(__name__)

Distance = Callable[[np.ndarray], np.ndarray]
"""Signed distances (n,) at points (n, d), negative inside."""
Gradient = Callable[[np.ndarray], np.ndarray]
"""Gradients (n, d) of the distance at points (n, d)."""

BATCH = 1 << 18
"""Points evaluated at once."""
COARSEST = 32
"""Cells along the longest side of the coarsest grid, at least, where the resolution allows."""
LEVELS = 3
"""Times that the coarsest cells are halved, at most, up to a resolution of 1,023; beyond it, so often that the
coarsest grid has 64 to 127 cells. In the plane the whole grid is evaluated anyway."""
FINEST = 1 << 16
"""Cells along the longest side of the box, at most: the cells of the grid around it are numbered in 64 bits."""
PROBES = 4096
"""Places where the gradient is asked for its length."""
CLOSE = 0.01
"""A vertex lies on the surface when the field there, by its slope, is within this share of a cell."""


@dataclass(frozen=True)
class MeshStats:
    """What an extraction took, and what it went by."""

    evaluations: int
    """Points at which the distance was evaluated."""
    slope: float
    """Largest slope of the field, by which cells were ruled out."""
    box: np.ndarray
    """(2, d): lower and upper corner of the grid that was searched."""
    cells: int
    """Cells that the surface passes through."""
    clipped: bool
    """Whether the surface went on beyond the largest box and was closed there."""
    seconds: float
    """Time in all."""
    evaluation_seconds: float
    """Time in the distance function."""


def extract_mesh(
    distance: Distance,
    box: Float[np.ndarray, "2 3"],
    *,
    resolution: int = 256,
    level: float = 0.0,
    gradient: Gradient | None = None,
    limit: float = 2.0,
    wanted: Wanted | None = None,
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"], MeshStats]:
    """The level set of `distance` as a watertight mesh with outward normals.

    They are marching cubes' over the whole grid, but perhaps for a few cells apart where the field is steepest.

    Args:
        distance: signed distances (n,) at points (n, 3), negative inside.
        box: lower and upper corner of where the surface is expected. It is grown, the cells staying as they are,
            until the surface does not reach its border.
        resolution: cells along the longest side of `box`.
        level: value of the level set: an offset surface, outside where positive.
        gradient: gradients (n, 3) of the distance; where given, they too are asked for the largest slope.
        limit: the box grows to at most so many times its longest side, and by an offset surface's distance; a
            surface that goes on is closed there, with a warning, or silently where this is 0.
        wanted: tells cells of interest; the surface may end between others.

    Returns:
        Vertices, triangles, and what it took.

    Raises:
        FitError: there is no such level set in the box, or the distance is not finite.
        InputError: `box` is no box; `resolution`, `level` or `limit` is out of range; or memory does not suffice.
    """
    samples = _Samples(distance, level)
    corners, step, levels = _prepare(box, 3, resolution, level, limit)
    low, values, slope = _enclose(samples, corners, step * 2**levels, limit, gradient)
    x, y, z = (n - 1 for n in values.shape)
    voxels = all_voxels(Grid(low, step * 2**levels, (x, y, z)), values)
    found = follow(samples.on_grid, voxels, levels, slope, wanted, resolution)
    if found is None:
        raise samples.nothing_found()
    voxels, bounds = found
    made = triangulate(samples, voxels, CLOSE * step * bounds[-1])
    if made is None:
        raise samples.nothing_found()
    searched = np.stack([low, low + voxels.grid.step * np.array(voxels.grid.shape)])
    return made.vertices, made.faces, samples.stats(max(bounds), searched, made.crossed)


def extract_contours(
    distance: Distance,
    box: Float[np.ndarray, "2 2"],
    *,
    resolution: int = 512,
    level: float = 0.0,
    gradient: Gradient | None = None,
    limit: float = 2.0,
) -> list[Float[np.ndarray, "m 2"]]:
    """The level set of a planar `distance` as closed curves, the inside to their left.

    Args:
        distance: signed distances (n,) at points (n, 2), negative inside.
        box, resolution, level, gradient, limit: as for `extract_mesh`; here the whole grid is evaluated.

    Returns:
        Polylines (m, 2), each with its first point repeated at the end: counter-clockwise around the inside, so
        clockwise around a hole in it.

    Raises:
        FitError, InputError: as for `extract_mesh`.
    """
    from contourpy import contour_generator

    samples = _Samples(distance, level)
    corners, step, levels = _prepare(box, 2, resolution, level, limit)
    affordable(np.ceil((corners[1] - corners[0]) / step))
    low, coarse, slope = _enclose(samples, corners, step * 2**levels, limit, gradient)
    values = samples.on_lattice(low, step, (np.array(coarse.shape) - 1) * 2**levels)
    least = np.float32(END * step * slope)  # a curve exactly through a grid point would be there on four edges
    values = np.where(np.abs(values) < least, np.copysign(least, values), values)
    lines = [np.asarray(line)[:-1] for line in contour_generator(z=-values.T).lines(0.0)]
    if not lines:
        raise samples.nothing_found()
    places = np.concatenate(lines)
    axis = np.abs(places - np.round(places)).argmax(1)
    along = np.arange(2) == axis[:, None]
    first = np.where(along, np.floor(places), np.round(places)).astype(int)
    ends = [values[tuple(first.T)], values[tuple((first + along).T)]]
    points = slide(samples, low + step * first, axis, ends, step, CLOSE * step * slope)
    parts = np.split(points, np.cumsum([len(line) for line in lines])[:-1])
    return [np.concatenate([part, part[:1]]) for part in parts]


class _Samples:
    """The distance above a level: evaluated in batches, checked, counted, and closed at the border of the box."""

    def __init__(self, distance: Distance, level: float) -> None:
        self.distance, self.level = distance, level
        self.evaluations, self.seconds, self.began = 0, 0.0, time.perf_counter()
        self.lowest, self.highest = math.inf, -math.inf
        self.outside = 0.0
        """Sign that the field has at the border of the box, by force if need be; 0 while the box still grows."""
        self.clipped, self.told = False, True

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The field (n,) at `points` (n, d), float32."""
        began = time.perf_counter()
        values = np.empty(len(points), np.float32)
        for start in range(0, len(points), BATCH):
            part = np.asarray(self.distance(points[start : start + BATCH]))
            values[start : start + BATCH] = part - self.level
        self.seconds += time.perf_counter() - began
        self.evaluations += len(points)
        if len(values):
            self.lowest = min(self.lowest, float(values.min()))
            self.highest = max(self.highest, float(values.max()))
        if not math.isfinite(self.highest - self.lowest):
            bad = points[~np.isfinite(values)][0]
            raise FitError(f"the field is not finite, for example at {bad}: the fit has diverged")
        return values

    def on_grid(self, grid: Grid, keys: np.ndarray) -> np.ndarray:
        """The field (k,) at corners of a grid."""
        values = np.empty(len(keys), np.float32)
        for start in range(0, len(keys), BATCH):
            part = slice(start, start + BATCH)
            points, border = grid.points(keys[part])
            values[part] = self(points)
            self.close(values[part], border, grid.step)
        return values

    def on_lattice(self, low: np.ndarray, step: float, cells: np.ndarray) -> np.ndarray:
        """The field at all corners of a grid of so many `cells` along each axis."""
        shape = affordable(cells)
        values = np.empty(math.prod(shape), np.float32)
        for start in range(0, values.size, BATCH):
            places = np.arange(start, min(start + BATCH, values.size))
            subscripts = np.stack(np.unravel_index(places, shape), axis=1)
            values[places] = self(low + step * subscripts)
            self.close(values[start : start + BATCH], ((subscripts == 0) | (subscripts == cells)).any(1), step)
        return values.reshape(shape)

    def close(self, values: np.ndarray, border: np.ndarray, step: float) -> None:
        """Give `values` on the border the sign of the outside, in place."""
        wrong = border & (values * self.outside <= 0) if self.outside else np.zeros(0, bool)
        if wrong.any():
            values[wrong] = self.outside * END * step
            self.clipped = True

    def stats(self, slope: float, box: np.ndarray, cells: int) -> MeshStats:
        """What it took until now; warns if the surface was cut."""
        if self.clipped and self.told:
            logger.warning("the surface goes on beyond the largest box, %s to %s; it is closed there", *box)
        seconds = time.perf_counter() - self.began
        return MeshStats(self.evaluations, slope, box, cells, self.clipped, seconds, self.seconds)

    def nothing_found(self) -> FitError:
        """The error to raise when there is no level set."""
        lowest, highest = self.lowest + self.level, self.highest + self.level
        return FitError(
            f"there is no surface at level {self.level:g}: "
            f"the distance runs from {lowest:g} to {highest:g} in the box"
        )


def _prepare(
    box: np.ndarray, dimension: int, resolution: int, level: float, limit: float
) -> tuple[np.ndarray, float, int]:
    """The checked box, the cell's edge, and how often the coarsest cells are halved to get there."""
    corners = np.asarray(box, float)
    if corners.shape != (2, dimension) or not np.isfinite(corners).all() or not (corners[0] < corners[1]).all():
        raise InputError(
            f"a box is its lower and its upper corner, (2, {dimension}), not {np.asarray(box).tolist()}"
        )
    resolution = whole(resolution, "a resolution", 4, FINEST)
    if not (limit >= 1 or limit == 0) or not abs(level) < float(np.finfo(np.float32).max):
        raise InputError(f"meshing needs a finite level and a limit of 0 or of 1 or more, not {level} and {limit}")
    halvings = max(0, int(math.log2(resolution / COARSEST)))
    most = LEVELS if dimension == 2 else max(LEVELS, halvings - 1)
    return corners, float((corners[1] - corners[0]).max()) / resolution, min(halvings, most)


def _enclose(
    samples: _Samples, box: np.ndarray, step: float, limit: float, gradient: Gradient | None
) -> tuple[np.ndarray, np.ndarray, float]:
    """A coarse grid around `box` whose border the surface stays away from.

    Returns:
        Its lowest corner, the field at all of its corners, and the slope found.
    """
    sides = box[1] - box[0]
    cells = np.maximum(np.ceil(sides / step - 1e-9).astype(int), 1)
    most = np.maximum(cells, int(min((limit * sides.max() + 2 * abs(samples.level)) / step, FINEST)))
    low = box.mean(0) - cells * step / 2
    while True:
        values = samples.on_lattice(low, step, cells)
        slope = _slope(values, low, step, gradient)
        nearest = np.array(
            [[float(np.take(values, end, axis).min()) for end in (0, -1)] for axis in range(len(cells))]
        )
        inverted = (
            all((np.take(values, [0, -1], axis) < 0).all() for axis in range(len(cells))) and values.max() > 0
        )
        margin = SAFETY * slope * step * math.sqrt(len(cells) - 1) / 2
        wanted = np.where(nearest < margin, np.ceil((margin - nearest) / max(slope * step, 1e-30)), 0)
        wanted = np.minimum(wanted, cells.max() // 2 + 1).astype(int)
        below = np.minimum(wanted[:, 0], most - cells)
        above = np.minimum(wanted[:, 1], most - cells - below)
        if inverted or not (below + above).any():
            break
        low, cells = low - below * step, cells + below + above
    samples.outside, samples.told = -1.0 if inverted else 1.0, limit > 0
    border = np.ones(values.shape, bool)
    border[(slice(1, -1),) * values.ndim] = False
    samples.close(values.reshape(-1), border.reshape(-1), step)
    return low, values, slope


def _slope(values: np.ndarray, low: np.ndarray, step: float, gradient: Gradient | None) -> float:
    """Largest slope between neighbors on a grid, or of the gradient (99 % of it) close to the surface."""
    differences = [np.abs(np.diff(values, axis=axis)).max() for axis in range(values.ndim)]
    slope = float(max(differences)) / step
    if gradient is None:
        return slope
    nearest = np.argsort(np.abs(values), axis=None)[:PROBES]
    points = low + step * np.stack(np.unravel_index(nearest, values.shape), axis=1)
    return max(slope, float(np.quantile(np.linalg.norm(gradient(points), axis=1), 0.99)))
