"""Surfaces from photographs: the whole way from a folder to a `Surface`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int

from ..cloud.frame import Frame
from ..cloud.neighbors import Neighbors
from ..errors import InputError, usual_arithmetic
from ..field.field import Field, NumpyField, as_numpy, make_field
from ..field.queries import projected
from ..fit.loop import Progress, Schedule, fit
from ..fit.objective import Loss, objective
from ..fit.sampling import Batch, CloudSampler, Known, KnownSpace
from ..images.fusion import Carved
from ..images.hull import Hull
from ..images.read import read_views
from ..images.stereo import depth_maps
from ..images.views import View, check_views
from ..mesh.extract import extract_mesh
from ..mesh.pieces import pieces
from ..mesh.triangles import face_areas, face_normals, sample_mesh
from ..settings import Checked, Positive, Range
from ..surface.attributes import Measured
from ..surface.surface import Surface
from .batches import RayBatch, RaySampler
from .color import ColorNetwork, Colors
from .config import FAST_PHOTOS, PHOTO_PRESETS, PhotoConfig
from .heldout import foretold, judged
from .terms import ray_objective

logger = logging.getLogger(__name__)

SAMPLES = 100_000
"""Points with colors that a surface carries along."""
START = 96, 40_000
"""Cells along the longest side of the mesh that the fit starts from; points on it."""
FAR = 0.03
"""Places closer to the start's surface than this tell no distance."""
MARGIN = 0.05
"""Of the box around the start in which rays are followed."""
SURE = 0.01
"""What a distance to the hull may be too large by."""
SPECK = 2e-3
"""Pieces with less than this share of the area are no parts of the object."""
HELD_OUT = 8
"""Of so many photographs one is held out, where there are at least 12."""


@dataclass(frozen=True)
class PhotoOptions(Checked):
    """How a reconstruction from photographs runs, beside its configuration."""

    seconds: Positive | None = None
    """Fit for so long instead of for the configuration's steps."""
    held_out: Annotated[int, Range(0, 10_000)] | None = None
    """Photographs that are not fitted but foretold, to judge by; None: an eighth, where there are at least 12."""
    pixels: Annotated[int, Range(32, 8192)] = 512
    """Photographs are reduced to so many pixels along their longer side."""
    cameras: str = "cameras.npz"
    """Name of that file in a folder."""
    device: str = "auto"
    """As for `Options`."""


@usual_arithmetic
def reconstruct_images(
    source: str | os.PathLike[str] | Sequence[View],
    *,
    config: PhotoConfig | str = FAST_PHOTOS,
    options: PhotoOptions | None = None,
    on_step: Callable[[Progress, Field], bool | None] | None = None,
    notify: Callable[[str], None] = logger.info,
) -> Surface:
    """The closed, colored surface that masked photographs with known cameras show.

    Args:
        source: the folder (see `images.read.read_views`), or views.
        config: a `PhotoConfig`, or the name of a preset: "fast", or "idr", the paper's (torch; days).
        options: budget, photographs held out, device.
        on_step: told after every step, with the field; the run stops when it returns True.
        notify: told, in one sentence each, what was noticed and done about it.

    Returns:
        The surface in the cameras' frame and units, its `attributes` the colors as seen from straight ahead;
        `details["held_out"]` tells how well the photographs that were held out are foretold: `psnr` inside their
        masks, in decibels, and `mask_iou`.

    Raises:
        InputError: the photographs cannot be used; the message says why and what to do.
        FitError: the fit diverged.
    """
    options, config = options or PhotoOptions(), _config(config)
    views, name = _views(source, options)
    fitted, apart = _split(views, options.held_out)
    hull = Hull(fitted)
    for doubt in hull.doubts():
        notify(doubt)
    frame = hull.frame(config.field.radius)
    field, network = networks(config, options.device)
    steps = Steps(fitted, hull, frame, (field, network), config)
    state = fit(
        field,
        steps.sample,
        steps.loss,
        Schedule(config.field.optimizer, config.field.steps, options.seconds),
        on_step=None if on_step is None else (lambda progress: on_step(progress, field)),
    )
    steps.network.set_detail(1.0)
    samples, colors = steps.colored(config.field)
    details: dict[str, Any] = {"name": name, "photographs": len(views), "open": False}
    details |= {"seen_by_stereo": round(steps.seen, 3)} if config.start_share else {}
    details["machine"] = field.machine()
    details["fit"] = {"steps": state.step, "recoveries": state.recoveries}
    if apart:
        unit = [view.in_frame(frame) for view in apart]
        pictures = [foretold(view, field, steps.rays.distance, steps.network, steps.rays.box) for view in unit]
        details["held_out"] = judged(unit, pictures)
    told = Measured({"colors": colors})
    surface = Surface(field, frame, config.field, samples=samples, details=details, measured=told)
    surface.history, surface.seconds = state.history, state.seconds
    return surface


class Steps:
    """Batches and losses of a run: first those of the carved hull, then those of rays.

    Args:
        views: the photographs that are fitted.
        hull: their hull.
        frame: the unit frame.
        fitted: the field, and what gives it colors.
        config: of the run.
    """

    def __init__(
        self, views: Sequence[View], hull: Hull, frame: Frame, fitted: tuple[Field, Colors], config: PhotoConfig
    ) -> None:
        self.config, (self.field, self.network), seed = config, fitted, config.field.seed
        rng = np.random.default_rng([seed, 11])
        places = rng.uniform(-1.1, 1.1, (START[1], 3))
        if config.start_share:
            maps = depth_maps(views, hull)
            self.seen = float(np.mean([np.isfinite(found.depth).sum() / found.view.mask.sum() for found in maps]))
            self.start = _start(Carved(hull, maps), frame, places, config, rng)
        outline = Neighbors(frame.to_unit(hull.mesh(START[0])[0]))
        beyond = places[hull(frame.to_input(places)) > 0]
        distance = np.maximum(outline.at(beyond)[0] - SURE, 0)
        outside = KnownSpace(beyond.astype(np.float32), distance.astype(np.float32))
        box = np.stack([outline.points.min(0) - MARGIN, outline.points.max(0) + MARGIN])
        unit = [view.in_frame(frame) for view in views]
        self.rays = RaySampler(unit, self.field, outside, box, rays=config.rays, seed=seed)

    def sample(self, step: int) -> Batch:
        """The batch of a step."""
        share = step / self.config.field.steps
        self.field.set_detail(share)
        return self.start(step) if share < self.config.start_share else self.rays(step)

    def loss(self, f: Any, g: Any, batch: Batch, share: float) -> Loss:
        """The loss of a batch; the color network takes its own step."""
        if not isinstance(batch, RayBatch):
            return objective(f, g, batch, self.config.field.objective, share)
        self.network.set_detail(share)
        arrays = {entry.name: getattr(batch, entry.name) for entry in fields(batch)}
        batch = replace(batch, **{name: as_numpy(a) for name, a in arrays.items() if hasattr(a, "shape")})
        value = ray_objective(as_numpy(f), as_numpy(g), batch, self.network, self.config, share)
        rate = self.config.field.optimizer.rate(0, share)
        self.network.update(rate * self.config.paint_rate, rate * self.config.shade_rate)
        return replace(value, df=self.field.array(value.df), dg=self.field.array(value.dg))

    def colored(self, config: Any) -> tuple[Float[np.ndarray, "s 3"], np.ndarray]:
        """Points on the fitted surface, unit frame, and their colors seen from straight ahead."""
        unit = NumpyField(self.field, config.network)
        vertices, faces, _ = extract_mesh(unit.distance, self.rays.box, resolution=128)
        faces = _without_specks(vertices, faces)
        points, _ = sample_mesh(vertices, faces, SAMPLES, np.random.default_rng([config.seed, 12]))
        points = projected(unit, points, 3)
        normals = unit.normals(points)
        colors = self.network.colors(points, normals, -normals)
        return points.astype(np.float32), (255 * colors.clip(0, 1)).round().astype(np.uint8)


def _without_specks(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "g 3"]:
    """The triangles but for those of specks: without points on them, a surface's mesh leaves them out."""
    piece = pieces(faces, len(vertices))
    areas = np.bincount(piece, face_areas(vertices, faces))
    return faces[(areas >= SPECK * areas.sum())[piece]]


def networks(config: PhotoConfig, device: str) -> tuple[Field, Colors]:
    """The untrained field of a configuration, and what gives it colors."""
    if config.rendering is None:
        return make_field(config.field, 3, device=device), ColorNetwork(config.field, device=device)
    from ..machine import torch_device

    chosen = torch_device(device)
    from .network import IdrColors, IdrField

    field = IdrField(config, device=chosen)
    return field, IdrColors(config, field)


def _start(
    carved: Carved, frame: Frame, places: np.ndarray, config: PhotoConfig, rng: np.random.Generator
) -> CloudSampler:
    """Batches of the carved hull: points on it with normals, and places around whose distance to it is known."""
    box = carved.hull.box
    far = float((box[1] - box[0]).max()) / 8
    vertices, faces, _ = extract_mesh(
        lambda x: np.nan_to_num(carved(x), neginf=far).clip(-far, far), box, resolution=START[0], limit=0
    )
    vertices = frame.to_unit(vertices)
    points, which = sample_mesh(vertices, faces, START[1], rng)
    normals, near = face_normals(vertices, faces)[which], Neighbors(points)
    known = Known(far=_known(places, near, carved(frame.to_input(places))))
    sampling, seed = config.field.sampling, config.field.seed
    return CloudSampler(points, sampling, seed=seed, normals=normals, near=near, known=known)


def _known(places: np.ndarray, near: Neighbors, side: np.ndarray) -> KnownSpace:
    """Signed distances to the start, at the places that are far enough from it."""
    distance = near.at(places)[0]
    far = distance > FAR
    target = np.where(side > 0, distance, -distance)
    return KnownSpace(places[far].astype(np.float32), target[far].astype(np.float32))


def _views(source: str | os.PathLike[str] | Sequence[View], options: PhotoOptions) -> tuple[list[View], str]:
    """The views of a source, and its name."""
    if isinstance(source, (str, os.PathLike)):
        views = read_views(source, cameras=options.cameras, longest=options.pixels)
        return views, Path(source).resolve().name
    if not all(isinstance(view, View) for view in source):
        raise InputError("expected a folder of photographs, or a list of views (igr.images.views.View)")
    return check_views([view.reduced(options.pixels) for view in source]), "photographs"


def _split(views: list[View], held_out: int | None) -> tuple[list[View], list[View]]:
    """The views that are fitted and those that are held out, evenly among all."""
    count = (len(views) // HELD_OUT if len(views) >= 12 else 0) if held_out is None else held_out
    if len(views) - count < 3:
        raise InputError(f"of {len(views)} photographs {count} cannot be held out: at least 3 are fitted")
    apart = set(np.linspace(0, len(views) - 1, count + 2)[1:-1].round().astype(int).tolist())
    return [v for k, v in enumerate(views) if k not in apart], [v for k, v in enumerate(views) if k in apart]


def _config(config: PhotoConfig | str) -> PhotoConfig:
    if isinstance(config, PhotoConfig):
        return config
    if config not in PHOTO_PRESETS:
        raise InputError(f"there is no preset {config!r}; known are {', '.join(PHOTO_PRESETS)}")
    return PHOTO_PRESETS[config]
