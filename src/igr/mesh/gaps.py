"""How far places are from what was measured: from a cloud, in the spacing of its points there; and from a surface
that ends where its cloud does."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from ..cloud.neighbors import Neighbors
from ..normals.directions import local_spacing
from .triangles import near_order

AROUND = 8
"""Samples that tell the spacing of a place."""


def gaps(
    x: Float[np.ndarray, "n d"],
    near: Neighbors,
    edge: float = 0.0,
    spacing: Float[np.ndarray, " s"] | None = None,
) -> Float[np.ndarray, " n"]:
    """How far places are from the nearest sample, in the spacing of the samples around.

    Args:
        x: places.
        near: the samples and their neighbors, in the same frame.
        edge: least spacing: of the vertices of a mesh, whose cells may be larger.
        spacing: of the samples around each (`spacing_around`), where somebody has asked for it already.
    """
    distance, nearest = near.at(x)
    around = spacing_around(near) if spacing is None else spacing
    return distance / np.maximum(around[nearest], max(edge, 1e-12))


def spacing_around(near: Neighbors) -> Float[np.ndarray, " n"]:
    """The spacing of the samples around each of them."""
    return np.median(local_spacing(near)[near.table(AROUND)[1]], axis=1)


class Shape(Protocol):
    """A fitted field."""

    def distance(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Signed distances (n,) at places (n, d)."""
        ...

    def distance_and_gradient(
        self, x: Float[np.ndarray, "n d"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
        """The same, and their gradients (n, d)."""
        ...

    def gradient(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """The gradients (n, d)."""
        ...


class Ended:
    """The field of a surface that ends: the distance to what is left of a closed one, in the sign of that.

    Where the nearest place of the closed surface is left, its field answers; elsewhere the distance to the mesh of
    what is left is larger, and counts. Between the two it rises within a cell of the mesh from the border, so
    that what the mesh errs by does not count. The sign jumps where the closed surface was cut off.

    Args:
        closed: the field of the closed surface.
        vertices: of the mesh, or polylines, of what is left, (v, d).
        elements: its triangles, or segments, (e, d).
        cell: edge of a cell that it was made with.
    """

    def __init__(
        self,
        closed: Shape,
        vertices: Float[np.ndarray, "v d"],
        elements: Int[np.ndarray, "e d"],
        cell: float,
    ) -> None:
        self.closed, self.cell = closed, cell
        self.vertices, self.elements = np.ascontiguousarray(vertices, float), elements.astype(np.int64)

    def distance(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Signed distance (n,) at `x` (n, d)."""
        f = self.closed.distance(x)
        more = self._nearest(x, f)[0] - np.abs(f)
        return f + np.copysign(more * np.clip(more / self.cell, 0, 1), f)

    def distance_and_gradient(
        self, x: Float[np.ndarray, "n d"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
        """Signed distance (n,) and its gradient (n, d) at `x` (n, d)."""
        f, g = self.closed.distance_and_gradient(x)
        left, place = self._nearest(x, f)
        more, away = left - np.abs(f), (x - place) / np.maximum(left, 1e-12)[:, None]
        slope = np.where(more < self.cell, 2 * np.maximum(more, 0) / self.cell, 1.0)[:, None]
        sign = np.copysign(1.0, f)[:, None]
        return f + np.copysign(more * np.clip(more / self.cell, 0, 1), f), g + slope * (sign * away - g)

    def gradient(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """The gradient (n, d) at `x` (n, d)."""
        return self.distance_and_gradient(x)[1]

    def left(self, x: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
        """Which places of the closed surface are left; right within a quarter of a cell of the border."""
        return self._nearest(x, np.zeros(len(x)))[0] < self.cell / 4

    def _nearest(self, x: np.ndarray, f: np.ndarray) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
        """Distance to the nearest place that is left, and the place; where `f` is not known nothing is."""
        import igl

        known = np.flatnonzero(np.isfinite(f))
        known = known[near_order(x[known])] if len(known) else known
        distance, place = np.full(len(x), np.nan), np.full(x.shape, np.nan)
        if len(known):
            square, _, nearest = igl.point_mesh_squared_distance(x[known], self.vertices, self.elements)
            distance[known], place[known] = np.sqrt(square), nearest
        return distance, place
