"""Surfaces from photographs: the whole way from a folder to a `Surface`."""

from __future__ import annotations

import contextlib
import logging
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..cloud.frame import Frame
from ..cloud.neighbors import Neighbors
from ..config import Config
from ..errors import FitError, InputError, usual_arithmetic
from ..field.field import Field, NumpyField, as_numpy, make_field, projected
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
from ..store.claim import check_run, open_run, resumed, saved_at_end
from ..surface.attributes import Measured
from ..surface.surface import Surface
from .batches import RayBatch, RaySampler
from .color import ColorNetwork, Painted
from .config import FAST_PHOTOS, PHOTO_PRESETS, PhotoConfig, PhotoOptions
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
    asked = {"resume": options.resume, "overwrite": options.overwrite}
    check_run(options.run, **asked)
    views, name = _views(source, options)
    fitted, apart = _split(views, options.held_out)
    hull = Hull(fitted)
    for doubt in hull.doubts():
        notify(doubt)
    frame = hull.frame(config.field.radius)
    steps = Steps(fitted, hull, frame, networks(config, options.device), config)
    details: dict[str, Any] = {"name": name, "photographs": len(views), "open": False}
    details |= {"seen_by_stereo": round(steps.seen, 3)} if config.start_share else {}
    details["machine"] = steps.field.machine()
    model = _Saved(config.field, steps.field, lambda: steps.surface(frame, details), _told(fitted, config))
    asked_for = options.run is not None or options.resume
    with open_run(options.run or options.rescue, at_once=asked_for, **asked) as folder:
        state = fit(
            steps.field,
            steps.sample,
            steps.loss,
            Schedule(config.field.optimizer, config.field.steps, options.seconds),
            state=resumed(folder, model) if options.resume else None,
            on_step=None if on_step is None else (lambda progress: on_step(progress, steps.field)),
            save=None if folder is None else (lambda state: folder.save(model, state)),
            save_seconds=options.save_seconds,
        )
        details["fit"] = {"steps": state.step, "recoveries": state.recoveries}
        details |= {"cameras_mended": steps.poses.told(frame.scale)} if steps.poses else {}
        if apart:
            details["held_out"] = steps.foretells([view.in_frame(frame) for view in apart])
        surface = steps.surface(frame, details)
        surface.history, surface.seconds = state.history, state.seconds
        if folder is not None and (asked_for or folder.written):
            surface.unsaved = saved_at_end(folder, replace(model, surface=lambda: surface), state, notify)
    return surface


@dataclass
class _Saved:
    """What a run saves: the surface as it is, and beside it all that a resumed run needs."""

    config: Config
    field: Painted
    surface: Callable[[], Surface]
    told: str

    def source(self) -> str:
        """What it is fitted to."""
        return self.told

    def to_bytes(self) -> bytes:
        """The saved surface."""
        return self.surface().to_bytes()


def _told(views: Sequence[View], config: PhotoConfig) -> str:
    """Checksum of photographs and cameras, and of what is configured beside the field."""
    found = zlib.crc32(repr(replace(config, field=Config())).encode())
    for view in views:
        for part in (view.image, view.mask, view.intrinsics, view.rotation, view.center):
            found = zlib.crc32(np.ascontiguousarray(part).tobytes(), found)
    return f"{len(views)} photographs {found:08x}"


class Steps:
    """Batches and losses of a run: first those of the carved hull, then those of rays.

    Args:
        views: the photographs that are fitted.
        hull: their hull.
        frame: the unit frame.
        field: what is fitted.
        config: of the run.
    """

    def __init__(
        self, views: Sequence[View], hull: Hull, frame: Frame, field: Painted, config: PhotoConfig
    ) -> None:
        self.config, self.field, seed = config, field, config.field.seed
        rng = np.random.default_rng([seed, 11])
        places = rng.uniform(-1.1, 1.1, (START[1], 3))
        if config.start_share:
            maps = depth_maps(views, hull)
            self.seen = float(np.mean([np.isfinite(found.depth).sum() / found.view.mask.sum() for found in maps]))
            self.start = _start(Carved(hull, maps), frame, places, config, rng)
        outline = Neighbors(frame.to_unit(hull.mesh(START[0])[0]))
        self.outline = outline.points.astype(np.float32)
        beyond = places[hull(frame.to_input(places)) > 0]
        distance = np.maximum(outline.at(beyond)[0] - SURE, 0)
        outside = KnownSpace(beyond.astype(np.float32), distance.astype(np.float32))
        box = np.stack([outline.points.min(0) - MARGIN, outline.points.max(0) + MARGIN])
        unit = [view.in_frame(frame) for view in views]
        self.rays = RaySampler(unit, self.field, outside, box, rays=config.rays, seed=seed)
        self.poses = field.cameras = self.rays.poses if config.pose_rate else None

    def sample(self, step: int) -> Batch:
        """The batch of a step."""
        share = step / self.config.field.steps
        self.field.set_detail(share)
        return self.start(step) if share < self.config.start_share else self.rays(step)

    def loss(self, f: Any, g: Any, batch: Batch, share: float) -> Loss:
        """The loss of a batch."""
        if not isinstance(batch, RayBatch):
            return objective(f, g, batch, self.config.field.objective, share)
        arrays = {entry.name: getattr(batch, entry.name) for entry in fields(batch)}
        batch = replace(batch, **{name: as_numpy(a) for name, a in arrays.items() if hasattr(a, "shape")})
        value = ray_objective(as_numpy(f), as_numpy(g), batch, self.field.colors, self.config, share, self.poses)
        return replace(value, df=self.field.array(value.df), dg=self.field.array(value.dg))

    def foretells(self, views: Sequence[View]) -> dict[str, float]:
        """How well photographs that were kept apart are foretold; cameras in the unit frame."""
        fitted, rays = self.field.field, self.rays
        return judged(views, [foretold(v, fitted, rays.distance, self.field.colors, rays.box) for v in views])

    def surface(self, frame: Frame, details: dict[str, Any]) -> Surface:
        """The surface as it is now, with colors where there is one yet."""
        fitted = self.field.field if self.config.rendering is None else self.field.field.alone()  # type: ignore
        samples, told = self.outline, None
        with contextlib.suppress(FitError):  # nothing is inside yet
            samples, colors = self.colored(self.config.field)
            told = Measured({"colors": colors})
        return Surface(fitted, frame, self.config.field, samples=samples, details=details, measured=told)

    def colored(self, config: Config) -> tuple[Float[np.ndarray, "s 3"], np.ndarray]:
        """Points on the fitted surface, unit frame, and their colors seen from straight ahead."""
        unit = NumpyField(self.field.field, config.network)
        vertices, faces, _ = extract_mesh(unit.distance, self.rays.box, resolution=128)
        faces = _without_specks(vertices, faces)
        points, _ = sample_mesh(vertices, faces, SAMPLES, np.random.default_rng([config.seed, 12]))
        points = projected(unit, points, 3)
        normals = unit.normals(points)
        colors = self.field.colors.colors(points, normals, -normals)
        return points.astype(np.float32), (255 * colors.clip(0, 1)).round().astype(np.uint8)


def _without_specks(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "g 3"]:
    """The triangles but for those of specks: without points on them, a surface's mesh leaves them out."""
    piece = pieces(faces, len(vertices))
    areas = np.bincount(piece, face_areas(vertices, faces))
    return faces[(areas >= SPECK * areas.sum())[piece]]


def networks(config: PhotoConfig, device: str) -> Painted:
    """The untrained field of a configuration with what gives it colors."""
    rates = config.paint_rate, config.shade_rate, config.pose_rate
    if config.rendering is None:
        field = make_field(config.field, 3, device=device)
        return Painted(field, ColorNetwork(config.field, device=device), rates)
    from ..machine import torch_device

    chosen = torch_device(device)
    from .network import IdrColors, IdrField

    field = IdrField(config, device=chosen)
    return Painted(field, IdrColors(config, field), rates)


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
