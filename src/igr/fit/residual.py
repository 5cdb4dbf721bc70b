"""What a fitted network leaves of its points, found in closed form: the end of a fit.

Stochastic steps follow the points slowly where they are dense. So at the end what is left of them, r = −f(x_i) and
n_i − ∇f(x_i), is spread over sparse grids beside the cloud, coarse to fine, each by least squares:

    Σ_i (c(x_i) − r_i)² + (κ_i h)² ‖∇c(x_i) − (n_i − ∇f(x_i))‖²  +  (σ/τ)² Σ_ab (c_a − c_b)²

over the points i and the neighboring corners a, b of a grid of cells h: kriging of what a trend leaves, the trend
a network (Matheron 1963; multilevel scattered data: Ohtake, Belyaev, Seidel 2003). σ is the noise of the points
and τ what the network leaves beyond that: what noise explains is left alone.

A grid of cells twice as wide comes first. It takes places beside the cloud, too, whose distance measured normals
tell surely (κ = 0 there): where few steps came by, a ghost may have stayed. On finer grids single places would
make bumps. Noise they all repeat, as it brings near a place those points that err towards it: so σ/τ is squared
there, and from 1 on nothing is left to be told.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ..cloud.neighbors import near_order
from ..config import FeatureConfig, MLPConfig
from ..field.field import Field, as_numpy
from ..field.native import available, fit_grid
from ..field.residual import FINEST, Corrected, Grid, Residual, corners
from .sampling import CloudSampler, KnownSpace

PER_SPACING = 2.0
"""Cells of the finest grid in a spacing of the cloud; in σ/τ spacings where that is more, as the last term levels
what is smaller. Where the network's own cells are finer than that, nothing is added."""
SMOOTH = 0.1
"""σ/τ at least: what a multilinear function cannot follow of a smooth one, which counts as noise does."""
TURNED = 0.3
"""How much a normal counts for the slope within a cell; a multilinear function turns little there. κ_i is that
times its cosine to ∇f: one that looks the other way is wrong, or of a sheet that the network misses."""
ROUNDS = 6
"""Steps of conjugate gradients; half as many give the same."""
PART = 1 << 18
"""Points that the network is asked for at once."""


def with_residual(
    field: Field,
    sampler: CloudSampler,
    network: FeatureConfig | MLPConfig,
    *,
    spacing: float = 0.0,
    noise: float = 0.0,
) -> Field:
    """A field fitted to a cloud in space with what it leaves of its points, and right beside them, added. It
    stays as it is where noise explains that, or where it misses most of them by more than a spacing: what so few
    steps or grids do not hold is no correction. (In the plane points are too far apart for grids as fine as their
    distance.)

    Args:
        field: the network.
        sampler: its points, normals, the trust in these, and what is known beside them.
        network: its grids of features; other networks stay as they are.
        spacing, noise: those of the cloud, unit frame; 0: unknown.
    """
    if sampler.normals is None or not isinstance(network, FeatureConfig) or field.dimension == 2 or spacing <= 0:
        return field
    places, normals = sampler.points, sampler.normals
    parts = [field.array(places[start : start + PART]) for start in range(0, len(places), PART)]
    values = [tuple(map(as_numpy, field.distance_and_gradient(part))) for part in parts]
    height, gradient = -np.concatenate([f for f, _ in values]), np.concatenate([g for _, g in values])
    agree = (normals * gradient).sum(1) / np.maximum(np.linalg.norm(gradient, axis=1), 1e-6)
    left = float(np.median(np.abs(height))) / 0.6745
    stiff = float(np.hypot(SMOOTH, noise / max(left**2 - noise**2, 1e-12 * spacing**2) ** 0.5))
    resolutions = _resolutions(network, spacing * max(1.0, stiff))
    if left > spacing or not resolutions:
        return field
    trust = TURNED * np.clip(agree, 0, 1) * (1.0 if sampler.trust is None else sampler.trust)
    told, grids = [places, trust, height, normals - gradient], []
    beside = _left_beside(field, sampler.known.near) if stiff < 1 and sampler.trust is None else []
    if beside:
        told = [np.concatenate(pair) for pair in zip(told, beside, strict=True)]
    held = np.flatnonzero(np.abs(told[2]) < spacing)
    held = held[near_order(told[0][held])]  # whose corners lie near each other in memory, too
    told = [np.ascontiguousarray(part[held], np.float32) for part in told]
    if beside:
        grids.append(_grid(told, max(1, resolutions[0] // 2), network.bound, stiff**2 / SMOOTH))
        told = [part[held < len(places)] for part in told]
    grids += [_grid(told, resolution, network.bound, stiff) for resolution in resolutions]
    return Corrected(field, Residual(grids, network.bound))


def _left_beside(field: Field, known: KnownSpace | None) -> list[np.ndarray]:
    """Places beside the cloud whose distance is sure, no weight for a slope there, what the field leaves of the
    distance, and no slope; empty where there are none."""
    if known is None or known.sure is None or not known.sure.any():
        return []
    places, none = known.points[known.sure], np.zeros(np.count_nonzero(known.sure), np.float32)
    height = known.target[known.sure] - as_numpy(field.distance(field.array(places)))
    return [places, none, height, np.zeros_like(places)]


def _grid(told: list[np.ndarray], resolution: int, bound: float, stiff: float) -> Grid:
    """The grid of so many cells along an edge that explains most of what is `told`: places, κ, heights and slopes,
    which it is taken from, in place."""
    asked = {"resolution": resolution, "bound": bound, "stiff": stiff**2, "rounds": ROUNDS}
    return Grid(told[0].shape[1], resolution, *(fit_grid if available() else _fitted)(*told, **asked))


def _resolutions(network: FeatureConfig, length: float) -> list[int]:
    """Those of the grids, coarse to fine: from about the network's finest one on, each twice the one before, to
    that of cells as fine as a length allows; none where the network's are finer."""
    finest = min(round(PER_SPACING * 2 * network.bound / length), FINEST)
    count = 1 + round(np.log2(max(finest, 1) / network.finest))
    return [max(1, round(finest / 2**level)) for level in reversed(range(count))]


def _fitted(
    x: Float[np.ndarray, "n d"],
    turned: Float[np.ndarray, " n"],
    height: Float[np.ndarray, " n"],
    slope: Float[np.ndarray, "n d"],
    *,
    resolution: int,
    bound: float,
    stiff: float,
    rounds: int,
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """What `native.fit_grid` finds, by scipy: for machines without the core, and to compare with."""
    from scipy.sparse import csr_matrix, diags
    from scipy.sparse.linalg import cg

    around, weight, turn = corners(x, resolution, bound)
    found, index = np.unique(around, return_inverse=True)
    index, (n, count), d, cell = index.reshape(around.shape), weight.shape, x.shape[1], 2 * bound / resolution
    parts = np.concatenate([weight[:, None], np.swapaxes(turn, 1, 2) * turned[:, None, None]], 1)
    starts = np.arange(0, n * (d + 1) * count + 1, count)
    told = csr_matrix((parts.reshape(-1), np.repeat(index[:, None], d + 1, 1).reshape(-1), starts))
    wanted = np.concatenate([height[:, None], slope * (cell * turned)[:, None]], 1).reshape(-1)
    pairs = _beside(found, resolution, d)
    signs = np.tile([1.0, -1.0], pairs.shape[1])
    rows = np.repeat(np.arange(pairs.shape[1]), 2)
    differ = csr_matrix((signs, (rows, pairs.T.reshape(-1))), (pairs.shape[1], len(found)))
    normal = told.T @ told + stiff * (differ.T @ differ)
    value = cg(normal, told.T @ wanted, rtol=0, maxiter=rounds, M=diags(1 / normal.diagonal()))[0]
    value = value.astype(np.float32)
    height -= (value[index] * weight).sum(1)
    slope -= np.einsum("nc,ncd->nd", value[index], turn) / np.float32(cell)
    return found, value


def _beside(found: Int[np.ndarray, " m"], resolution: int, dimension: int) -> Int[np.ndarray, "2 e"]:
    """Pairs of corners, as rows, that are neighbors along an axis."""
    pairs = []
    for step in (resolution + 1) ** np.arange(dimension):
        other = np.minimum(np.searchsorted(found, found + step), len(found) - 1)
        first = np.flatnonzero(found[other] == found + step)
        pairs.append(np.stack([first, other[first]]))
    return np.concatenate(pairs, 1)
