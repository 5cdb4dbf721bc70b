"""Points in the plane joined to curves: which two others each point adjoins, and the side the curves enclose.

Every point chooses two of its neighbors in the Delaunay triangulation, so that all choose mutually and the curves
are short and straight, as an integer program. Unlike balls around the points this keeps the sides of a thin gap
apart, as long as the noise is smaller than the spacing along the curve.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import Neighbors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

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
WHOLE = 1e-6
"""Shares of an edge up to this far from 0 and 1 are whole."""
OPEN = 180
"""Edges that the integer program has to decide, at most: where the relaxed one leaves more open, the points follow
no curves, and it decides some of them."""
SLACK = 2.0
"""Choices that would make the relaxed curves dearer by more than this are left out: the best curves have none of
them, unless they are dearer by more than that themselves."""
CLOSE = 0.01
"""Curves are good enough when none of what is left can cost less by more than this share."""
NODES = 100
"""Nodes of the search after which the best curves found are taken. Not a time: a slower machine must find the same
curves."""


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
    from scipy.spatial import Delaunay

    corners = Delaunay(points).simplices
    edges = np.unique(np.sort(np.concatenate([corners[:, pair] for pair in combinations(range(3), 2)])), axis=0)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    end = edges.T.ravel()
    order = np.lexsort([np.tile(length, 2), end])
    rank = np.empty(len(end), int)
    rank[order] = np.arange(len(end)) - np.searchsorted(end[order], end[order])
    kept = rank.reshape(2, -1).max(0) < CANDIDATES
    spacing = Neighbors(points).spacing(2)
    relative = length / np.maximum(np.sqrt(spacing[edges].prod(1)), 1e-300)
    return edges[kept], relative[kept]


def _chosen(points: np.ndarray, edges: np.ndarray, length: np.ndarray) -> np.ndarray | None:
    """Which edges (m,) the curves take: an integer program about what the relaxed one leaves open."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    cost, matrix, right, taken = _program(points, edges, length)
    settled = _settled(cost, matrix, right, len(edges))
    if settled is None:
        return None
    least, dearer = settled
    always = 1 if least.any() else 0  # edges at a point that may be all it has, so that there is a solution
    kept = np.flatnonzero((dearer < SLACK) | (taken <= always))
    bounds: Any = Bounds  # its stubs know numbers only
    equations: Any = LinearConstraint
    found = milp(
        cost[kept],
        constraints=equations(matrix[:, kept], right, right),
        bounds=bounds(least[kept], 1),
        integrality=(taken[kept] >= 0).astype(int),
        options={"node_limit": NODES, "mip_rel_gap": CLOSE},
    )
    return None if found.x is None else found.x[: len(edges)] > 0.5


def _settled(
    cost: np.ndarray, matrix: csr_array, right: np.ndarray, m: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower bounds of the variables, 1 for the edges that are decided, and by how much each variable would make
    the curves dearer: from the program whose variables may be taken in parts, solved until it leaves few of the m
    edges open. Until then edges above two thirds are taken (no three of them meet at a point), or the largest."""
    from scipy.optimize import linprog

    least, most = np.zeros(len(cost)), np.ones(len(cost))
    while True:
        found = linprog(cost, A_eq=matrix, b_eq=right, bounds=np.c_[least, most], method="highs-ds")
        if found.x is None:
            return None
        share = found.x[:m]
        part = np.where(share < 1 - WHOLE, share, 0.0)
        if np.count_nonzero(part > WHOLE) <= OPEN:
            return least, found.lower.marginals + found.upper.marginals
        taken = share > 2 / 3
        least[:m][taken if (taken & (part > 0)).any() else part.argmax()] = 1


def _program(
    points: np.ndarray, edges: np.ndarray, length: np.ndarray
) -> tuple[np.ndarray, csr_array, np.ndarray, np.ndarray]:
    """Cost of each variable, the equations' matrix and right side, and how many edges each variable takes.

    Variables are the edges (which take -1), and the choices of each point: two of its edges, one (the curve ends
    there) or none. Equations say that each point makes one choice and that it takes those edges that are chosen.
    """
    from scipy.sparse import coo_array

    m, n = len(edges), len(points)
    cost, taken, entries, equations = list(length**2), [-1] * m, [], n
    for i in range(n):
        around = np.flatnonzero((edges == i).any(1))
        steps = points[edges[around].sum(1) - i] - points[i]
        steps /= np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-300)
        entries += [(equations + place, edge, -1.0) for place, edge in enumerate(around)]
        places = range(len(around))
        for choice in [(), *((place,) for place in places), *combinations(places, 2)]:
            bend = TURN * (1 + steps[choice[0]] @ steps[choice[1]]) if len(choice) == 2 else 0.0
            entries += [(i, len(cost), 1.0), *((equations + place, len(cost), 1.0) for place in choice)]
            cost.append(bend + END * (2 - len(choice)))
            taken.append(len(choice))
        equations += len(around)
    rows, columns, values = zip(*entries, strict=True)
    matrix = coo_array((values, (rows, columns)), shape=(equations, len(cost))).tocsr()
    return np.array(cost), matrix, (np.arange(equations) < n).astype(float), np.array(taken)


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
