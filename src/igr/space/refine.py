"""From what a shape space says of a scan to the scan itself: its network fitted on, to the points alone."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..cloud.frame import stray_points
from ..cloud.neighbors import Neighbors
from ..cloud.pointcloud import PointCloud
from ..config import ObjectiveConfig, OptimizerConfig, SamplingConfig
from ..fit.loop import Schedule, fit
from ..fit.objective import objective
from ..fit.sampling import CloudSampler, Known, KnownSpace
from ..surface.surface import Surface

ANCHORS = 20_000
"""Places where the surface stays as it was, for want of points."""
SUPPORT = 8.0
"""A place is without points if the nearest is so many times farther than the cloud's spacing."""
MAX_POINTS = 100_000
"""Points of the scan that are used."""


def refine(surface: Surface, cloud: PointCloud, *, seconds: float | None = None, steps: int = 300) -> Surface:
    """Fit a surface on, to a cloud it is already near to; where there are no points it stays as it was.

    Args:
        surface: what a shape space decoded; it is changed.
        cloud: the scan, in the surface's frame and units, with or without normals.
        seconds: time to fit; None: `steps` instead.
        steps: steps of the fit.
    """
    keep = np.flatnonzero(~stray_points(cloud.points))
    rng = np.random.default_rng([surface.config.seed, 11])
    keep = rng.permutation(keep)[:MAX_POINTS]
    points = surface.frame.to_unit(cloud.points[keep])
    normals = None if cloud.normals is None else cloud.normals[keep]
    config = dataclasses.replace(
        surface.config,
        objective=ObjectiveConfig(normals=0.1, eikonal=0.1, off_surface=0.02, warm_start=1.0, warm_share=1.0),
        sampling=SamplingConfig(surface=1024, near=1.0, uniform=0.5, neighbor=12, spread=2.0, extent=1.0),
        optimizer=OptimizerConfig(initial=1e-3, final=2e-5, schedule="cosine", beta2=0.99),
        steps=steps,
    )
    sampler = CloudSampler(
        points, config.sampling, seed=config.seed, normals=normals, known=Known(far=_anchors(surface, points, rng))
    )
    state = fit(
        surface.field,
        sampler,
        lambda f, g, batch, share: objective(f, g, batch, config.objective, share),
        Schedule(config.optimizer, steps, seconds),
    )
    surface.details["refined"] = {"steps": state.step, "seconds": round(state.seconds, 2)}
    return surface


def _anchors(surface: Surface, points: np.ndarray, rng: np.random.Generator) -> KnownSpace:
    """Places far from every point, on and off the surface, with the distances they have now."""
    spacing = float(np.median(Neighbors(points[:5000]).spacing(1))) * np.sqrt(min(len(points), 5000) / len(points))
    around = surface.samples[rng.integers(0, len(surface.samples), ANCHORS // 2)]
    around = around + 0.03 * rng.standard_normal(around.shape)
    places = np.concatenate([around, rng.uniform(-1, 1, (ANCHORS // 2, surface.dimension))])
    far = Neighbors(points).at(places)[0] > max(SUPPORT * spacing, 0.05)
    places = places[far] if far.any() else places
    target = surface.distance(surface.frame.to_input(places)) / surface.frame.scale
    return KnownSpace(places.astype(np.float32), target.astype(np.float32))
