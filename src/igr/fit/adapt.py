"""What follows the cloud: how fine the features are, as its spacing carries and its noise allows; how much its
points count, and how their noise is averaged; how deep the field starts.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import SPACED, Neighbors
from ..cloud.pointcloud import PointCloud
from ..config import Config, FeatureConfig
from .sampling import Known

CURVATURE, UNDER_NOISE = 3.0, 6.0
"""Curvature, in 1/length of the unit frame, at which bias and variance are balanced: in scans, and in clouds so
noisy that the surface passes between the points (noise above `NOISY` spacings)."""
NOISY = 0.2
USUAL = 100_000
"""Points of such scans, at most: those of more, as blocks of large clouds are, are of things with more detail, so
the curvature is taken to be larger, as the inverse of their spacing is. On a town of known height (half a million
points a block, noise .3 of their distance) roofs and ground err by .016 m instead of .019, feet of walls by .032
instead of .039."""
PER_CELL = {2: 1.0, 3: 1.25}
"""Spacings of the cloud in a finest cell at least, by dimension: of smaller ones some have no points, and a
surface wanders there. In space sparse grids hold what is finer (`residual.py`): with 1 mean and largest error of
clean clouds are .69 and 1.7 of Poisson's, with 1.25 .67 and 1.4; with 1.5 there are more ghosts."""
MEASURED = {2: (2, 6, 18), 3: (4, 16, 64)}
"""The neighbors that noise is measured by, by dimension."""
COMPARED = 4
"""The neighbor whose normal says how rough the normals are."""
APART = 3.0
"""Noise is measured by neighbors at least so many times as far away as it is large: in a cloud that is a thick
layer, the nearest neighbors are those that err alike."""
NORMALS_CARRY = 56
"""Cells along an edge of the finest grid in space, at least, where the normals were measured: they carry so much
detail through any noise of the points."""
CERTAIN = 0.0016
"""Noise σ (unit frame) that the weights of the configuration are for. Points that are more certain count as many
times as much beside the regularization: a likelihood, whose logarithm is −|f|/σ. The eikonal term grows as its
root: where the points are followed more closely, the slope between them needs more of a hold, too."""
CERTAINTY = {"measured": (1.0, 10.0), "estimated": (0.3, 1.0), "open": (0.3, 10.0)}
"""How many times at least and at most, by where the normals are from. Points whose normals were measured count for
more: normals that were estimated err as the points do, and hold a surface that follows these less; unless the
cloud is open, where what a surface does beyond its points is cut off. Below a tenth of that noise, what a field
leaves of the points is its own."""
Source = Literal["measured", "estimated", "open"]
"""Where normals are from: measured, or estimated from the points of a closed or an open cloud."""
ROUNDS = 30
"""Steps to that edge: each is the one that the last noise asks for."""
SURE = 4.0
"""Confidence of an estimated normal, times this, is the trust in it where directions err at random: it is then
low because the neighborhood is rough, not because the side is doubtful."""
FIELD_KNOWS = 0.4
"""Share of the run after which the field knows the sides of such normals better than their estimate."""
GROWTH = 4.0
"""Times that grids and run grow at most: what they leave of more points, sparse grids hold (`residual.py`). On a
million clean points of the armadillo 12 has the same error, 1.28e-5 of the diagonal, in half as long again."""
MOST = 2_000_000
"""Points that one field makes use of, at most: more take gigabytes, and come in blocks (`large/`)."""
SAMPLE = 20_000
"""Points looked at; more do not change the medians."""


@dataclasses.dataclass(frozen=True)
class Sharpness:
    """What a cloud can carry, in the units of its points."""

    spacing: float
    """Median distance to the sixth neighbor in space, to the second in the plane: those around a point."""
    noise: float
    """Standard deviation of the points along the normal."""
    roughness: float = np.inf
    """Standard deviation of the normals, radians, where they were measured; infinite where they were estimated
    from the points, and so know no more than those."""


def sharpness(
    points: Float[np.ndarray, "n d"],
    normals: Float[np.ndarray, "n d"],
    near: Neighbors | None = None,
    *,
    seed: int = 0,
) -> Sharpness:
    """Spacing and noise of an oriented cloud.

    Two neighbors of a smooth surface differ along the mean of their normals only in third order of their distance,
    whatever the curvature; so what they do differ by is noise (and misalignment of the scans they stem from).

    Args:
        points: the cloud.
        normals: unit normals; their own errors count only times the small distance to the neighbor.
        near: the neighbors of the points, where somebody has asked for them already.
        seed: seed of the points looked at.
    """
    rng = np.random.default_rng([seed, 6])
    chosen = rng.choice(len(points), min(SAMPLE, len(points)), replace=False)
    around, compared = SPACED[points.shape[1]], MEASURED[points.shape[1]]
    most = min(max(around, *compared), len(points) - 1)
    distance, index = (near or Neighbors(points)).of(chosen, most)
    noise = 0.0
    for neighbor in compared:
        if neighbor > most:
            break
        pair = max(neighbor // 2, 1), neighbor
        differ = [_difference(points, normals, chosen, index[:, m]) for m in pair]
        reach = [float(np.median(distance[:, m])) for m in pair]
        noise = _steady(differ, reach)
        if reach[1] > APART * differ[1]:
            break
    alike = np.clip((normals[chosen] * normals[index[:, min(COMPARED, most)]]).sum(1), -1, 1)
    roughness = float(np.median(np.arccos(alike)) / np.sqrt(2))
    return Sharpness(float(np.median(distance[:, min(around, most)])), noise, roughness)


def _steady(differ: list[float], reach: list[float]) -> float:
    """Standard deviation of the points along the normal, from those that neighbors at two distances `reach` differ
    by: what grows with the distance, as its square where the curvature changes, is no noise."""
    (near, apart), (least, most) = (one**2 for one in differ), (one**4 for one in reach)
    if most <= least:
        return apart**0.5
    return float(np.clip((near * most - apart * least) / (most - least), 0, apart)) ** 0.5


def _difference(points: np.ndarray, normals: np.ndarray, chosen: np.ndarray, other: np.ndarray) -> float:
    """Standard deviation of what points differ by from others along the mean of their normals."""
    mean = normals[chosen] + normals[other]
    length = np.linalg.norm(mean, axis=1)
    smooth = length > 1.6  # leaves out sharp edges and the other side of thin plates
    step = ((points[other] - points[chosen]) * mean).sum(1)[smooth] / length[smooth]
    return float(np.median(np.abs(step)) / (0.6745 * np.sqrt(2))) if smooth.any() else 0.0


def finest_cell(cloud: Sharpness, dimension: int = 3, count: int = 0) -> float:
    """Edge h of the finest cell where the error is least. A cell averages m = (h/spacing)^(d−1) points, so noise
    leaves σ/√m, and a flat cell misses κh²/8 of the curvature κ; h is where the two are equal. Measured normals
    say how the surface rises across the cell as well, up to their roughness ν, so σ is that of both together,
    1/σ² = 1/noise² + 1/(νh)². The cloud has `count` points."""
    thinning = cloud.spacing ** ((dimension - 1) / 2)
    between = dimension == 3 and cloud.noise > NOISY * cloud.spacing
    curvature = UNDER_NOISE if between else CURVATURE
    if dimension == 3:
        curvature *= max(1.0, count / USUAL) ** 0.5
    cell, noise = 0.0, cloud.noise
    for _ in range(ROUNDS if cloud.noise > 0 else 0):
        cell = (8 * noise * thinning / curvature) ** (2 / (dimension + 3))
        if np.isfinite(cloud.roughness):
            noise = cloud.noise * cloud.roughness * cell / np.hypot(cloud.noise, cloud.roughness * cell)
    return max(cell, PER_CELL[dimension] * cloud.spacing)


def adapted(
    config: Config, cloud: PointCloud, near: Neighbors, known: Known, *, normals: Source = "measured"
) -> tuple[Config, dict[str, float]]:
    """`config` for a cloud in the unit frame and what is known of the space around it, and the cloud's spacing and
    noise, where it has normals."""
    if cloud.normals is None:
        return config, {}
    sharp = sharpness(cloud.points, cloud.normals, near)
    sharp = sharp if normals == "measured" else dataclasses.replace(sharp, roughness=np.inf)
    found = {"spacing": sharp.spacing, "noise": sharp.noise}
    if not config.adapt:
        return config, found
    config = as_sharp(config, sharp, dimension=cloud.dimension, normals=normals, count=len(cloud))
    return as_deep(config, known), found


def lasting_normals(trust: np.ndarray, config: Config) -> tuple[np.ndarray, Config]:
    """Trust and configuration for estimated normals that err at random: they keep their weight, on the side that
    the field finds; the configuration as it is where it does not adapt."""
    objective = config.objective
    if config.adapt:
        objective = dataclasses.replace(objective, estimated_normals=objective.normals, field_side=FIELD_KNOWS)
    return np.clip(SURE * trust, 0, 1), dataclasses.replace(config, objective=objective)


def grown(config: Config, cells: float, dimension: int = 3) -> Config:
    """`config` for a surface of so many cells: where its grids have no room for them, `finest`, table and run grow
    as the cells do, with levels as far apart as before."""
    network = config.network
    if not config.adapt or not isinstance(network, FeatureConfig) or not 0 < network.carries < cells:
        return config
    share = min(cells / network.carries, GROWTH)
    finer = share ** (1 / (dimension - 1))
    apart = max(np.log(network.finest / network.coarsest) / max(network.levels - 1, 1), 0.1)
    network = dataclasses.replace(
        network,
        finest=round(network.finest * finer),
        levels=network.levels + round(np.log(finer) / apart),
        log2_rows=network.log2_rows + int(np.log2(share)),
    )
    return dataclasses.replace(config, network=network, steps=round(config.steps * share))


def useful(config: Config, points: int, dimension: int = 3) -> int:
    """How many of so many points a run makes use of: those that it visits, and no more than grids can grow for."""
    visited, network = grown(config, points, dimension).steps * config.sampling.surface, config.network
    growing = config.adapt and isinstance(network, FeatureConfig) and network.carries
    return min(points, visited, MOST if growing else points)


def as_sharp(
    config: Config, cloud: Sharpness, *, dimension: int = 3, normals: Source = "measured", count: int = 0
) -> Config:
    """`config` with its finest grid as fine as `cloud` (unit frame) carries, as far as its points let it grow;
    and with the points obeyed as far as their noise lets: its standard deviation is where the loss turns from
    squares, which average, to distances, which outliers do not pull (Huber 1964), and what the points' weight is
    relative to."""
    cell = finest_cell(cloud, dimension, count)
    if cell > 0:
        config = grown(config, count * min(1.0, cloud.spacing / cell) ** (dimension - 1), dimension)
    network, objective = config.network, config.objective
    if not config.adapt or not isinstance(network, FeatureConfig):
        return config
    finest = round(2 * network.bound / cell) if cell > 0 else network.finest
    carried = NORMALS_CARRY if normals == "measured" and dimension == 3 else 2 * network.coarsest
    finest = int(np.clip(finest, min(carried, network.finest), network.finest))
    least, most = CERTAINTY[normals]
    certain = float(np.clip(CERTAIN / cloud.noise, least, most)) if cloud.noise > 0 else most
    objective = dataclasses.replace(
        objective,
        surface=certain * objective.surface,
        near_distance=certain * objective.near_distance,
        warm_start=certain * objective.warm_start,
        eikonal=max(certain, 1.0) ** 0.5 * objective.eikonal,
        surface_width=cloud.noise,
    )
    network = dataclasses.replace(network, finest=finest)
    return dataclasses.replace(config, network=network, objective=objective, adapt=False)


def as_deep(config: Config, known: Known) -> Config:
    """`config` with a field that starts at least as deep as the body is: the start is a sphere's distance, which
    is least in its middle, and where a body is deeper no unit of the network is active there to learn it."""
    network = config.network
    if known.far is None or not isinstance(network, FeatureConfig):
        return config
    depth = max(0.0, -float(known.far.target.min()))
    return dataclasses.replace(config, network=dataclasses.replace(network, radius=max(network.radius, depth)))
