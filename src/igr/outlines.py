"""Points in the plane joined to curves: which two others each point adjoins, and the side the curves enclose.

Every point chooses two of its neighbors in the Delaunay triangulation, so that all choose mutually and the curves
are short and straight, as an integer program. Unlike balls around the points this keeps the sides of a thin gap
apart, as long as the noise is smaller than the spacing along the curve.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

MANY = 200
"""Points that are joined, at most: more are dense enough to be oriented otherwise."""
CANDIDATES = 8
"""Shortest edges at a point that are considered."""
TURN = 1.5
"""Cost of a right angle; an edge of one spacing costs 1, a longer one by the square of its length."""
END = 5.0
"""Cost of the end of a curve."""
BESIDE = 0.05
"""Distance from a point at which its sides are asked for, in distances between its two neighbors."""
CLOSE = 0.01
"""Curves are good enough when none can cost less by more than this share."""
SECONDS = 20.0
"""Time after which the best curves found are taken; seldom reached."""


def outline_normals(
    points: Float[np.ndarray, "n 2"],
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]] | None:
    """Outward unit normals of points from the curves that join them, and how far each curve's points agree on the
    side (n,), in [0, 1]. None where the points are too many.

    A point's side is decided by parity, for each curve by the sum of its points: the other curves are holes in it
    or outlines beside it.
    """
    if len(points) > MANY:
        return None
    edges, length = _edges(points)
    chosen = _chosen(points, edges, length)
    if chosen is None:
        return None
    walks = _walks(edges[chosen], len(points))
    normals, agreement = np.zeros_like(points), np.zeros(len(points))
    for walk in walks:
        along = np.roll(points[walk], -1, axis=0) - np.roll(points[walk], 1, axis=0)
        normals[walk] = np.stack([along[:, 1], -along[:, 0]], axis=1)
    size = np.linalg.norm(normals, axis=1, keepdims=True)
    normals /= np.maximum(size, 1e-300)
    curves = [points[walk] for walk in walks]
    step = BESIDE * size * normals
    votes = inside(curves, points - step).astype(float) - inside(curves, points + step)
    for walk in walks:
        normals[walk] *= 1.0 if votes[walk].sum() >= 0 else -1.0
        agreement[walk] = abs(votes[walk].mean())
    return normals, agreement


def inside(curves: list[Float[np.ndarray, "m 2"]], x: Float[np.ndarray, "k 2"]) -> np.ndarray:
    """Whether each place is within the closed polylines (their first points not repeated), by even and odd."""
    start = np.concatenate(curves)
    stop = np.concatenate([np.roll(curve, -1, axis=0) for curve in curves])
    level = x[:, 1:]
    across = (start[:, 1] > level) != (stop[:, 1] > level)
    rise = np.where(start[:, 1] == stop[:, 1], 1.0, stop[:, 1] - start[:, 1])
    crossing = start[:, 0] + (level - start[:, 1]) / rise * (stop[:, 0] - start[:, 0])
    return (across & (crossing > x[:, :1])).sum(1) % 2 == 1


def _edges(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges (m, 2) that may belong to a curve, and their lengths relative to the spacing at their ends."""
    from scipy.spatial import Delaunay, KDTree

    corners = Delaunay(points).simplices
    edges = np.unique(np.sort(np.concatenate([corners[:, pair] for pair in combinations(range(3), 2)])), axis=0)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    end = edges.T.ravel()
    order = np.lexsort([np.tile(length, 2), end])
    rank = np.empty(len(end), int)
    rank[order] = np.arange(len(end)) - np.searchsorted(end[order], end[order])
    kept = rank.reshape(2, -1).max(0) < CANDIDATES
    spacing = np.asarray(KDTree(points).query(points, k=3)[0])[:, 2]
    relative = length / np.maximum(np.sqrt(spacing[edges].prod(1)), 1e-300)
    return edges[kept], relative[kept]


def _chosen(points: np.ndarray, edges: np.ndarray, length: np.ndarray) -> np.ndarray | None:
    """Which edges (m,) the curves take. Variables are the edges, and the choices of each point: two
    of its edges, one (the curve ends there) or none. Equations say that each point makes one choice and that it
    takes those edges that are chosen."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    m, n = len(edges), len(points)
    cost, entries, equations = list(length**2), [], n
    for i in range(n):
        around = np.flatnonzero((edges == i).any(1))
        steps = points[edges[around].sum(1) - i] - points[i]
        steps /= np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-300)
        entries += [(equations + place, edge, -1.0) for place, edge in enumerate(around)]
        places = range(len(around))
        for taken in [(), *((place,) for place in places), *combinations(places, 2)]:
            bend = TURN * (1 + steps[taken[0]] @ steps[taken[1]]) if len(taken) == 2 else 0.0
            entries += [(i, len(cost), 1.0), *((equations + place, len(cost), 1.0) for place in taken)]
            cost.append(bend + END * (2 - len(taken)))
        equations += len(around)
    rows, columns, values = zip(*entries, strict=True)
    matrix = coo_array((values, (rows, columns)), shape=(equations, len(cost))).tocsr()
    right: Any = (np.arange(equations) < n).astype(float)
    found = milp(
        np.array(cost),
        constraints=LinearConstraint(matrix, right, right),
        bounds=Bounds(0, 1),
        integrality=(np.arange(len(cost)) < m).astype(int),
        options={"time_limit": SECONDS, "mip_rel_gap": CLOSE},
    )
    return None if found.x is None else found.x[:m] > 0.5


def _walks(edges: np.ndarray, n: int) -> list[np.ndarray]:
    """The curves that edges with at most two at a point form, points without an edge left out."""
    at: list[list[int]] = [[] for _ in range(n)]
    for i, j in edges.tolist():
        at[i].append(j)
        at[j].append(i)
    seen, walks = np.zeros(n, bool), []
    for start in sorted(range(n), key=lambda i: len(at[i]) != 1):  # ends first
        walk, here = [], start
        while here is not None and not seen[here]:
            seen[here] = True
            walk.append(here)
            here = next((other for other in at[here] if not seen[other]), None)
        if len(walk) > 2:
            walks.append(np.array(walk))
    return walks
