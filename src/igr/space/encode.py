"""Scans to latents: fitting z, and where the scan stands, with the network frozen (section 4 of the paper).

A shape space knows its shapes centered, upright and in its own units. A scan may lie anywhere and miss half of the
shape, so its center is not the shape's: a few training shapes are laid into it in several orientations, each moved
to where its distances to the points are least squares; the best one is where the fit of latent and pose begins.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..cloud.frame import Frame, stray_points
from ..cloud.neighbors import Neighbors
from ..cloud.pointcloud import PointCloud, as_cloud
from ..config import Config, LatentConfig, ObjectiveConfig, OptimizerConfig, SamplingConfig
from ..errors import InputError
from ..fit.loop import Schedule, fit
from ..fit.objective import objective
from ..scans.batches import ScanSampler
from ..settings import Checked, Count, Positive, Seed, Weight
from .network import SpaceField, SpaceNetwork, rotations
from .starts import DRAWS, Start, turned_starts, upright_starts

if TYPE_CHECKING:
    from .space import ShapeSpace

UNITS = (1.0, 1e-3, 1e-2, 1e-1, 0.0254, 0.3048, 1e3, 1e2, 10.0)
"""Lengths of a scan's unit in the space's that are thought of, the likeliest first."""
WHOLE, PART = 0.4, 0.15
"""A scan reaches at least so far in the shapes' reach; a part of one, where no unit makes it whole, so far."""
MAX_POINTS = 20_000
"""Points of a scan that are used."""
POOR = 0.005
"""Scans farther than this share of the shapes' reach from what was fitted are tried in other orientations."""
LIKELIER = 0.8
"""A scan is turned only if that brings the distance to less than this share of the upright one's."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """Where a scan lies in a shape space: its latent, and the way from the space's frame to the scan's."""

    latent: Float[np.ndarray, " z"]
    """z."""
    frame: Frame
    """Between the scan's frame and a unit frame that is turned by `turn` against the space's."""
    turn: Float[np.ndarray, "d d"]
    """place in the space = place in the unit frame @ turn."""
    residual: float = float("nan")
    """Mean distance of the scan's points to the decoded surface, in the scan's units."""

    def __repr__(self) -> str:
        return f"<igr.Encoding: latent of {len(self.latent)} numbers, residual {self.residual:.3g}, {self.frame}>"


@dataclass(frozen=True)
class EncodeOptions(Checked):
    """How scans are encoded."""

    steps: Count = 250
    """Steps of the fit."""
    points: Count = 300
    """Points of each scan a step."""
    prior: Weight = 1e-4
    """Weight of mean w², where w are the latent's coordinates along the principal directions of the training's."""
    normals: Literal["auto", "ignore"] = "auto"
    """`ignore`: do not use the scan's normals."""
    pose: Literal["auto", "upright", "fixed"] = "auto"
    """auto: upright as the training's but for small turns, and by quarter turns where that fits badly; upright:
    without those; fixed: centered and turned as the training scans were."""
    units: Positive | None = None
    """Length of the scan's unit in the space's; None: guessed from its size."""
    seed: Seed = 0
    """Seed of the choice of points."""


def encode(space: ShapeSpace, scans: Sequence[Any], options: EncodeOptions | None = None) -> list[Encoding]:
    """The latents of scans; see `ShapeSpace.encode_all`.

    A scan that fits badly is begun at other shapes and in other orientations, where that can win: no space is
    expected to come nearer to a scan than to its own training shapes.
    """
    options = options or EncodeOptions()
    clouds = [_prepared(as_cloud(scan), space, options) for scan in scans]
    frames = [_frame(cloud, space, options) for cloud in clouds]
    tables = [_table(cloud, frame) for cloud, frame in zip(clouds, frames, strict=True)]
    mean, basis = (torch.as_tensor(a, dtype=torch.float32) for a in space.principal())
    moves = 0 if options.pose == "fixed" else 4
    trials = [
        (index, start)
        for index, table in enumerate(tables)
        for start in upright_starts(space, table, mean, basis, seed=options.seed, moves=moves)
    ]
    found = _fits(space, tables, frames, [trial for trial in trials if trial[1].rank == 0], mean, basis, options)
    limit = max(POOR * space.reach, space.residual / LIKELIER) / space.scale
    for draw in range(DRAWS if options.pose != "fixed" else 0):
        poor = [index for index, one in found.items() if one.residual > limit * frames[index].scale]
        if draw:  # may have begun at the wrong shape
            again = [
                (index, start)
                for index in poor
                for start in upright_starts(space, tables[index], mean, basis, seed=options.seed, draw=draw)
            ]
        else:
            again = [trial for trial in trials if trial[0] in poor and trial[1].rank > 0]
        if options.pose == "auto" and not draw:  # or lie, or stand otherwise
            again += [
                (index, start)
                for index in poor
                for start in turned_starts(space, tables[index], mean, basis, seed=options.seed)
            ]
        for index, other in _fits(space, tables, frames, again, mean, basis, options).items():
            if other.residual < LIKELIER * found[index].residual:
                found[index] = other
    return [found[index] for index in range(len(clouds))]


def _fits(
    space: ShapeSpace,
    tables: list[np.ndarray],
    frames: list[Frame],
    trials: list[tuple[int, Start]],
    mean: Tensor,
    basis: Tensor,
    options: EncodeOptions,
) -> dict[int, Encoding]:
    """The best encoding of each scan that was tried, from fits of all trials in one batch."""
    best: dict[int, Encoding] = {}
    for columns in {tables[index].shape[1] for index, _ in trials}:  # scans with normals, and without
        batch = [trial for trial in trials if tables[trial[0]].shape[1] == columns]
        starts = [start for _, start in batch]
        placed = [_moved(tables[index], start.turn, start.shift) for index, start in batch]
        field = _fitted(space, placed, torch.stack([s.coordinates for s in starts]), mean, basis, options)
        encodings = _encodings(space, field, mean, basis, starts, [frames[index] for index, _ in batch], placed)
        for (index, _), one in zip(batch, encodings, strict=True):
            if index not in best or one.residual < best[index].residual:
                best[index] = one
    return best


def encoding_config(options: EncodeOptions, scans: int) -> Config:
    """The configuration of a fit of latents: the surface terms alone, since the network is a distance already."""
    return Config(
        preset="encode",
        objective=ObjectiveConfig(normals=0.1, eikonal=0.0, latent=options.prior),
        sampling=SamplingConfig(surface=options.points, near=0.0, uniform=0.0, sigmas=(0.01,)),
        optimizer=OptimizerConfig(initial=0.1, final=1e-3, schedule="cosine", beta2=0.99),
        steps=options.steps,
        seed=options.seed,
        latents=LatentConfig(shapes=scans),
    )


class _Principal(torch.nn.Module):
    """A frozen network that takes latents by their coordinates along the principal directions."""

    def __init__(self, network: Any, mean: Tensor, basis: Tensor) -> None:
        super().__init__()
        self.network, self.dimension = network, network.dimension
        self.mean, self.basis = mean, basis

    def forward(self, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Value and gradient at `x`."""
        return self.network(x, self.mean + w @ self.basis)


def _fitted(
    space: ShapeSpace,
    tables: list[np.ndarray],
    starts: Tensor,
    mean: Tensor,
    basis: Tensor,
    options: EncodeOptions,
) -> SpaceField:
    """The field whose latents and poses are fitted to the scans."""
    config = encoding_config(options, len(tables))
    device = str(space.field.device)
    frozen = copy.deepcopy(space.field.space.network).requires_grad_(False)
    network = SpaceNetwork(
        _Principal(frozen, mean.to(device), basis.to(device)),  # type: ignore[arg-type]
        starts,
        posed=options.pose != "fixed",
    )
    field = SpaceField(
        network,
        latent_weight=config.objective.latent * len(tables),
        squared=True,
        device=device,
        beta2=config.optimizer.beta2,
    )
    sampler = ScanSampler(tables, config, dimension=space.dimension, scale=1.0)

    def loss(f: Any, g: Any, batch: Any, share: float) -> Any:
        # The mean over all scans: times their number, so that each is fitted as if it were alone.
        value = objective(f, g, batch, config.objective, share)
        return dataclasses.replace(value, df=value.df * len(tables), dg=value.dg * len(tables))

    fit(field, sampler, loss, Schedule(config.optimizer, config.steps))
    return field


def _encodings(
    space: ShapeSpace,
    field: SpaceField,
    mean: Tensor,
    basis: Tensor,
    starts: list[Start],
    frames: list[Frame],
    placed: list[np.ndarray],
) -> list[Encoding]:
    """What was fitted, in the scans' own frames."""
    network, found = field.space, []
    d = space.dimension
    with torch.no_grad():
        latents = (mean + network.latents.cpu() @ basis).numpy()
        small = rotations(network.turns).cpu() if network.posed else torch.eye(d).repeat(len(frames), 1, 1)
        small_shift = network.shifts.detach().cpu() if network.posed else torch.zeros(len(frames), d)
    for index, frame in enumerate(frames):
        # u is moved by start and fit: ((u - shift) @ turn - small shift) @ small turn
        start = starts[index]
        turn = (start.turn @ small[index]).numpy().astype(float)
        shift = (start.shift + small_shift[index] @ start.turn.T).numpy().astype(float)
        moved = Frame(frame.to_input(shift), frame.scale)
        value, gradient = field.distance_and_gradient(field.array(placed[index][:4000, :d]), shapes=(index,))
        residual = float((value.abs() / gradient.norm(dim=1).clamp(min=0.3)).mean()) * frame.scale
        found.append(Encoding(latents[index], moved, turn, residual))
    return found


def _prepared(cloud: PointCloud, space: ShapeSpace, options: EncodeOptions) -> PointCloud:
    """The cloud without strays, and no larger than needed."""
    if cloud.dimension != space.dimension:
        raise InputError(f"{cloud.name} has {cloud.dimension} dimensions, the shape space {space.dimension}")
    keep = np.flatnonzero(~stray_points(cloud.points))
    if len(keep) > MAX_POINTS:
        keep = np.random.default_rng([options.seed, 8]).choice(keep, MAX_POINTS, replace=False)
    normals = None if cloud.normals is None or options.normals == "ignore" else cloud.normals[keep]
    return PointCloud(cloud.points[keep], normals, name=cloud.name)


def _frame(cloud: PointCloud, space: ShapeSpace, options: EncodeOptions) -> Frame:
    """The scan's center, by area as the training's samples are centered, and the space's scale in its units."""
    if options.pose == "fixed":
        return Frame(np.zeros(space.dimension), space.scale / (options.units or 1.0))
    areas = Neighbors(cloud.points).areas()
    center = np.average(cloud.points, axis=0, weights=np.minimum(areas, 4 * np.median(areas)))
    if options.units is not None:
        return Frame(center, space.scale / options.units)
    reach = np.quantile(np.linalg.norm(cloud.points - center, axis=1), 0.999) / space.reach
    fits = [unit for low in (WHOLE, PART) for unit in UNITS if low < reach * unit < 1.6]
    if not fits:
        raise InputError(
            f"{cloud.name} reaches {reach * space.reach:.3g} from its center, the shapes of this space "
            f"{space.reach:.3g}: say how long its unit is in the space's (units)"
        )
    return Frame(center, space.scale / fits[0])


def _table(cloud: PointCloud, frame: Frame) -> np.ndarray:
    points = frame.to_unit(cloud.points)
    return points if cloud.normals is None else np.hstack([points, cloud.normals])


def _moved(table: np.ndarray, turn: Tensor, shift: Tensor) -> np.ndarray:
    """Points (and normals) as the start of the fit sees them."""
    d, matrix = len(shift), turn.numpy().astype(float)
    points = (table[:, :d] - shift.numpy()) @ matrix
    return np.hstack([points, table[:, d:] @ matrix]) if table.shape[1] > d else points
