"""One block of a large cloud to its field: fitted as any cloud is, but for what lies beyond it.

A block knows only its own points. On which side of them the outside is, and how far the surface is from places
where the block has no points, a coarse fit of the whole cloud tells.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from ..cloud.frame import Frame, unit_frame
from ..cloud.neighbors import Neighbors
from ..cloud.pointcloud import PointCloud
from ..config import Config, FeatureConfig
from ..field.features import shown
from ..field.field import NumpyField, make_field
from ..field.residual import finest
from ..fit.adapt import Source, adapted, lasting_normals
from ..fit.far import MARGIN
from ..fit.loop import Schedule, fit
from ..fit.near import near_space
from ..fit.objective import objective
from ..fit.residual import with_residual
from ..fit.sampling import CloudSampler, Known, KnownSpace
from ..normals.directions import estimate_directions
from ..normals.views import told
from ..reconstruction import MAX_SAMPLES
from ..surface.attributes import measured
from ..surface.surface import Surface

PLACES = 30_000
"""Places of a block's cube whose distance the whole tells."""
FLATTER = 0.1
"""How flat neighborhoods that normals of a block are estimated from have to be, see `directions.FLAT`: points are
dense there, and those of 32 still small. On land with noise of .19 spacings, surfaces from normals of 32 neighbors
err by .051 spacings, from those of 10 by .079."""
GIVEN = ("given", "trusted", "turned", "down-weighted")
"""What normals are found good for where they are taken as they are, or all turned."""


class Whole:
    """The coarse fit of the whole cloud, as a block asks it, in the block's unit frame.

    Args:
        surface: the coarse fit.
        field: its field, continued beyond its ball.
        spacing: of its points, in the input's units: what lies closer to it than that it knows little about.
    """

    def __init__(self, surface: Surface, field: NumpyField, spacing: float) -> None:
        self.surface, self.field, self.spacing = surface, field, spacing

    def distance(self, x: Float[np.ndarray, "n 3"], frame: Frame) -> Float[np.ndarray, " n"]:
        """Signed distances (n,) at places (n, 3) of a frame, in its units."""
        places = self.surface.frame.to_unit(frame.to_input(x))
        return self.field.distance(places) * (self.surface.frame.scale / frame.scale)

    def outward(self, x: Float[np.ndarray, "n 3"], frame: Frame) -> Float[np.ndarray, "n 3"]:
        """Unit vectors (n, 3) that lead outward at places (n, 3)."""
        return self.field.normals(self.surface.frame.to_unit(frame.to_input(x)))


@dataclasses.dataclass(frozen=True)
class _Beside:
    """The whole as `near_space` asks for the side: like an indicator, within whose cell it knows little."""

    whole: Whole
    frame: Frame

    @property
    def cell(self) -> float:
        return self.whole.spacing / self.frame.scale

    def __call__(self, x: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        return self.whole.distance(x, self.frame)


def fit_block(cloud: PointCloud, own: int, whole: Whole, config: Config, *, normals: str) -> Surface:
    """The field of a block.

    Args:
        cloud: its points, and those around that belong to its neighbors.
        own: how many are its own; they come first.
        whole: the coarse fit.
        config: of the fit, before it follows the cloud.
        normals: what the whole found the cloud's normals good for (`details["normals"]`).

    Raises:
        FitError: the fit diverged.
    """
    frame = unit_frame(cloud.points, radius=config.radius, strays=np.zeros(len(cloud), bool))
    near = Neighbors(cloud.points).in_frame(frame)
    directions, trust, random = _normals(cloud, near, whole.outward(near.points, frame), normals)
    kind: Source = "measured" if trust is None else "open" if whole.surface.is_open else "estimated"
    if random and trust is not None:
        trust, config = lasting_normals(trust, config)
    beside = _Beside(whole, frame)
    sampling, seed = config.sampling, config.seed
    known = near_space(near.points, directions, near, beside, config=sampling, seed=seed)
    far = _far_space(near, beside, extent=sampling.extent, seed=seed)
    around = Known(known if len(known.points) else None, far if len(far.points) else None)
    oriented = dataclasses.replace(cloud, points=near.points, normals=directions)
    follows, (config, found) = config.adapt, adapted(config, oriented, near, around, normals=kind)
    sampler = CloudSampler(
        near.points, sampling, seed=seed, normals=directions, trust=trust, known=around, near=near
    )
    field = make_field(config, 3)
    state = fit(
        field,
        sampler,
        lambda f, g, batch, share: objective(f, g, batch, config.objective, share),
        Schedule(config.optimizer, config.steps),
    )
    network = config.network
    fitted = with_residual(field, sampler, network, **found) if follows else field
    cells = shown(network, finest(fitted)) / (2 * network.bound) if isinstance(network, FeatureConfig) else np.inf
    details = {name: length * frame.scale for name, length in found.items()}
    details |= {"name": cloud.name, "points": own, "cell": frame.scale / cells, "steps": state.step}
    details |= {"box": [cloud.points.min(0).tolist(), cloud.points.max(0).tolist()]}
    chosen = np.sort(np.random.default_rng([seed, 5]).permutation(len(cloud))[:MAX_SAMPLES])
    kept = measured(near.points, cloud.attributes, seed, apart=True) if cloud.attributes else None
    return Surface(fitted, frame, config, samples=near.points[chosen], details=details, measured=kept)


def _normals(
    cloud: PointCloud, near: Neighbors, outward: Float[np.ndarray, "n 3"], use: str
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"] | None, bool]:
    """Normals to fit, given ones as they are good for, others on the side that the whole tells; the trust in each,
    None for entirely; and whether they err at random."""
    if cloud.normals is not None and use in GIVEN:
        return -cloud.normals if use == "turned" else cloud.normals, None, False
    if cloud.normals is not None and use == "re-oriented":
        votes = told(outward).votes(cloud.normals)
        return cloud.normals * np.where(votes < 0, -1.0, 1.0)[:, None], np.abs(votes), False
    found = estimate_directions(near, FLATTER)
    votes = told(outward).votes(found.normals)
    normals = found.normals * np.where(votes < 0, -1.0, 1.0)[:, None]
    return normals, np.abs(votes) * found.flatness, found.errs_at_random


def _far_space(near: Neighbors, beside: _Beside, *, extent: float, seed: int) -> KnownSpace:
    """Random places of the block's cube, with the distance that the whole tells, but no farther than the block's
    points are; without those so close that the whole knows little."""
    places = np.random.default_rng([seed, 3]).uniform(-extent, extent, (PLACES, 3))
    distance, nearest = beside(places), near.at(places)[0]
    size = np.minimum(np.abs(distance), nearest)
    known = size > MARGIN * beside.cell
    target = np.copysign(size, distance)
    return KnownSpace(places[known].astype(np.float32), target[known].astype(np.float32))
