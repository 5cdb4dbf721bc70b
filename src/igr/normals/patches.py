"""One sign for each smooth patch of a cloud: a point alone may be deceived, its patch hardly.

The points are linked to their neighbors, and along the strongest links (a spanning tree) signs are passed on.
Where the tree's links are weak it is cut: the parts are patches, and only signs within a patch are sure. Patches
whose points vote against each other are cut further. Then the patches find the signs that most votes and links
agree with, from two starts: each with the sign of its own votes; and joined, the strongest links first.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

BENT = 0.3
"""Sine of the angle that the link to a neighbor makes with either tangent plane from which on it is taken to run
over an edge: the normal is then mirrored on the way instead of kept."""
CUTS = (0.2, 0.1, 0.03)
"""Links of the tree weaker than that are cut: the first for all patches, the next for those that disagree."""
AGREEING = 0.9
"""Votes of a patch agree if their sum is that share of what it could be."""
NEIGHBORLY = 0.3
"""Weight of a link between two patches, beside a point's vote."""
SWEEPS = 30
"""Times that every patch is asked again, at most."""


@dataclass(frozen=True)
class _Links:
    """The links of each point i to its neighbors j."""

    i: np.ndarray
    j: np.ndarray
    parity: np.ndarray
    """Whether the normals point to the same side (1) or not (-1)."""
    strength: np.ndarray
    """In [0, 1]: how sure that is."""
    cost: np.ndarray
    """For the spanning tree and its cuts: about 0 within a smooth sheet."""


class Signs(NamedTuple):
    """What `patch_signs` finds."""

    sign: Float[np.ndarray, " n"]
    """Of each normal, 1 or -1."""
    agreement: Float[np.ndarray, " n"]
    """Of the votes of each point's patch, in [0, 1]."""
    piece: Int[np.ndarray, " n"]
    """Patches that links join, where these tell: within a piece the signs belong together, whatever they are."""


def patch_signs(
    points: Float[np.ndarray, "n d"],
    normals: Float[np.ndarray, "n d"],
    votes: Float[np.ndarray, " n"],
    neighbors: np.ndarray,
    *,
    weak: float = 0.0,
    links_tell: bool = True,
) -> Signs:
    """The sign of each normal from the votes of all points of its patch.

    Args:
        points: positions.
        normals: unit normals of any sign.
        votes: for the sign of each normal, by size how surely.
        neighbors: (n, k) rows of the nearest other points, which each point is linked to.
        weak: votes of a patch up to this on average do not cut it.
        links_tell: whether links are worth following: in thick noise they err more than votes do.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(points)
    links = _linked(points, normals, neighbors)
    start, stop, cost, sign = _tree(links, n)
    limit, patch = np.full(len(cost), CUTS[0]), np.zeros(n, int)
    total = agreement = np.zeros(1)
    for cut in CUTS:
        limit = np.where(agreement[patch[start]] < AGREEING, cut, limit)
        kept = cost < limit
        graph = coo_array((np.ones(kept.sum(), np.int8), (start[kept], stop[kept])), shape=(n, n))
        patch = connected_components(graph, directed=False)[1]
        total, size = np.bincount(patch, sign * votes), np.bincount(patch, np.abs(votes))
        agreed = np.abs(total) / np.maximum(size, 1e-12)
        agreement = np.where(size > weak * np.bincount(patch), agreed, 1.0)
    between = _between(links, patch, sign, len(total))
    chosen = _settled(np.where(total >= 0, 1.0, -1.0), total, between)
    piece = np.arange(len(total))
    if links_tell:
        joined, piece = _joined(total, between)
        joined = _settled(joined, total, between)
        if _harmony(joined, total, between) > _harmony(chosen, total, between):
            chosen = joined
    return Signs(sign * chosen[patch], agreement[patch], piece[patch])


def _linked(points: np.ndarray, normals: np.ndarray, neighbors: np.ndarray) -> _Links:
    i = np.repeat(np.arange(len(points)), neighbors.shape[1])
    j = neighbors.ravel()
    step = points[j] - points[i]
    length = np.maximum(np.sqrt(np.einsum("ld,ld->l", step, step)), 1e-300)
    step /= length[:, None]
    own, other = normals[i], normals[j]
    parallel, rise, fall = (np.einsum("ld,ld->l", *pair) for pair in ((own, other), (step, own), (step, other)))
    tilt = np.maximum(np.abs(rise), np.abs(fall))
    agreement = np.where(tilt < BENT, parallel, parallel - 2 * rise * fall)
    typical = np.median(length.reshape(neighbors.shape), axis=1)
    relative = length / np.maximum(np.maximum(typical[i], typical[j]), 1e-300)
    strength = np.abs(agreement) * np.exp(-((2 * tilt) ** 2)) * np.minimum(1, 1 / relative)
    cost = 1 - np.abs(agreement) + 0.5 * tilt + 0.05 * relative + 1e-6
    return _Links(i, j, np.where(agreement >= 0, 1.0, -1.0), strength, cost)


def _tree(links: _Links, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The links of the least spanning forest (start, stop, cost), and the sign of every point along it, the first
    point of each tree having 1."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

    cost = coo_array((links.cost, (links.i, links.j)), shape=(n, n)).tocsr()
    forest = minimum_spanning_tree(cost.maximum(cost.T)).tocoo()
    parity = coo_array((links.parity, (links.i, links.j)), shape=(n, n)).tocsr()
    one, other = parity[forest.row, forest.col], parity[forest.col, forest.row]
    turn = np.where(one != 0, one, other)
    trees, tree = connected_components(forest, directed=False)
    first = np.unique(tree, return_index=True)[1]
    rows = np.concatenate([forest.row, np.full(trees, n)])  # one more point, the root of all trees
    columns = np.concatenate([forest.col, first])
    values = np.concatenate([turn, np.ones(trees)])
    rooted = coo_array((values, (rows, columns)), shape=(n + 1, n + 1)).tocsr()
    rooted = (rooted + rooted.T).tocsr()
    parent = np.append(breadth_first_order(rooted, n, directed=False)[1][:n], n)
    sign = np.append(np.asarray(rooted[np.arange(n), parent[:n]]).ravel(), 1.0)
    while (parent != n).any():  # each time twice as far up
        sign, parent = sign * sign[parent], parent[parent]
    return forest.row, forest.col, forest.data, np.sign(sign[:n])


def _between(links: _Links, patch: np.ndarray, sign: np.ndarray, count: int) -> Any:
    """How strongly each two patches hold that their signs go together (positive) or not (negative)."""
    from scipy.sparse import coo_array

    across = patch[links.i] != patch[links.j]
    i, j = links.i[across], links.j[across]
    value = links.strength[across] * links.parity[across] * sign[i] * sign[j]
    held = coo_array((value, (patch[i], patch[j])), shape=(count, count)).tocsr()
    return (held + held.T).tocsr()


def _settled(chosen: np.ndarray, total: np.ndarray, between: Any) -> np.ndarray:
    """Better signs for the patches than those they start with: each takes that of its votes and of its neighbors,
    the surest asked first, until none turns."""
    starts, others, strengths = between.indptr, between.indices, between.data
    chosen = chosen.copy()
    order = [k for k in np.argsort(-np.abs(total)).tolist() if starts[k] < starts[k + 1]]
    for _ in range(SWEEPS):
        turned = False
        for k in order:
            part = slice(starts[k], starts[k + 1])
            say = total[k] + NEIGHBORLY * strengths[part] @ chosen[others[part]]
            if say * chosen[k] < 0:
                chosen[k], turned = -chosen[k], True
        if not turned:
            break
    return chosen


def _harmony(chosen: np.ndarray, total: np.ndarray, between: Any) -> float:
    """How far signs agree with the votes of the patches and with the links between them."""
    return float(total @ chosen + NEIGHBORLY / 2 * chosen @ (between @ chosen))


def _joined(total: np.ndarray, between: Any) -> tuple[np.ndarray, np.ndarray]:
    """Signs for the patches, and the piece of each: patches are joined along their links, the strongest first and
    those of joined patches added up, unless the votes of both object more than the link holds."""
    total, pieces = total.astype(float).copy(), len(total)
    links = [
        {int(other): NEIGHBORLY * float(strength) for other, strength in zip(others, strengths, strict=True)}
        for others, strengths in (
            (between.indices[part], between.data[part])
            for part in (slice(*between.indptr[k : k + 2]) for k in range(pieces))
        )
    ]
    queue = [(-abs(strength), a, b) for a in range(pieces) for b, strength in links[a].items() if a < b]
    heapq.heapify(queue)
    joins, gone = [], np.zeros(pieces, bool)
    while queue:
        strength, a, b = heapq.heappop(queue)
        if gone[a] or gone[b] or abs(links[a].get(b, 0.0)) != -strength:
            continue
        turn = 1.0 if links[a][b] >= 0 else -1.0
        if total[a] * turn * total[b] < 0 and min(abs(total[a]), abs(total[b])) > -strength:
            continue
        if len(links[a]) < len(links[b]):
            a, b = b, a
        gone[b], total[a] = True, total[a] + turn * total[b]
        joins.append((b, a, turn))
        for other, held in links[b].items():
            del links[other][b]
            if other != a:
                links[a][other] = links[other][a] = links[a].get(other, 0.0) + turn * held
                heapq.heappush(queue, (-abs(links[a][other]), min(a, other), max(a, other)))
        links[b] = {}
    sign, piece = np.where(total >= 0, 1.0, -1.0), np.arange(pieces)
    for b, a, turn in reversed(joins):
        sign[b], piece[b] = turn * sign[a], piece[a]
    return sign, piece
