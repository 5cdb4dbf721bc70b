"""One surface from one cloud: the whole way from points to a `Surface`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from .cloud.frame import Frame, stray_points, strays_left_out, unit_frame
from .cloud.neighbors import Neighbors
from .cloud.pointcloud import PointCloud, as_cloud
from .cloud.select import small_part
from .config import FAST, PRESETS, Config, FeatureConfig
from .errors import InputError, usual_arithmetic
from .field.field import Field, make_field
from .fit.adapt import adapted, lasting_normals, useful
from .fit.loop import Progress, Schedule, fit
from .fit.memory import fitting
from .fit.near import known_around
from .fit.objective import objective
from .fit.residual import with_residual
from .fit.sampling import CloudSampler
from .machine import require
from .mesh.border import OPEN, Ends
from .normals.estimate import orient
from .normals.given import judge_normals
from .normals.openness import SHEET
from .settings import Checked, Count, Positive, Weight
from .store.claim import check_run, open_run, resumed, saved_at_end
from .surface.attributes import Measured, measured
from .surface.confidence import missed
from .surface.surface import Surface

logger = logging.getLogger(__name__)

Normals = Literal["auto", "trust", "ignore"]
MAX_SAMPLES = 100_000
"""Points that a surface carries along, to say where it is supported."""


@dataclass(frozen=True)
class Options(Checked):
    """How a reconstruction runs, beside its configuration."""

    normals: Normals = "auto"
    """`auto`: use the cloud's normals, mended or left out where they contradict themselves, turned around if they
    point into a body; `trust`: exactly as they are; `ignore`: fit without them."""
    seconds: Positive | None = None
    """Fit for so long instead of for the configuration's steps."""
    device: str = "auto"
    """auto, cpu, torch (the torch reference on the CPU), or a torch device such as cuda."""
    run: str | os.PathLike[str] | None = None
    """Folder of the run: checkpoints, history, configuration."""
    rescue: str | os.PathLike[str] | None = None
    """The same, but written only if the run is stopped or takes longer than a minute; where it holds a run, the
    first free one of FOLDER-2, FOLDER-3, …"""
    resume: bool = False
    """Continue the run in that folder."""
    save_seconds: Weight = 60.0
    """Time between two checkpoints, so what a run that is killed can lose at most."""
    overwrite: bool = False
    """Replace the run in that folder, once the first checkpoint of the new one is whole."""
    surface: Ends = "auto"
    """As for `Surface.mesh`; `auto`: open where more than a fifth of a closed one would be invented."""
    steps: Count | None = None
    """Fit for exactly so many steps instead, however large the cloud."""


@usual_arithmetic
def reconstruct(
    source: Any,
    *,
    normals: Any = "auto",
    config: Config | str = FAST,
    options: Options | None = None,
    on_step: Callable[[Progress, Field], bool | None] | None = None,
    notify: Callable[[str], None] = logger.info,
) -> Surface:
    """The surface of a point cloud.

    Args:
        source: a path, an array (n, 2|3) or with normals (n, 4|6), a tensor, or a `PointCloud`.
        normals: "auto" (those of the source, if it has any, once judged), "trust" (those of the source, exactly as
            they are), "ignore", or an array (n, d).
        config: a `Config` or the name of a preset, "fast" or "paper".
        options: budget in seconds, device, run folder.
        on_step: told after every step, with the field; the run stops, saved, when it returns True.
        notify: told, in one sentence each, what was noticed and done about it.

    Returns:
        The fitted surface, in the source's frame and units.

    Raises:
        InputError: the source cannot be used; the message says why and what to do.
        FitError: the fit diverged.

    Example:
        >>> import numpy as np, igr
        >>> angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
        >>> circle = np.c_[np.cos(angle), np.sin(angle)]
        >>> surface = igr.reconstruct(1000 + 50 * circle, normals=circle)
        >>> bool(abs(surface.distance(np.array([[1040.0, 1000.0]]))[0] + 10) < 1)
        True
    """
    options = options or Options()
    check_run(options.run, resume=options.resume, overwrite=options.overwrite)
    config, (given, use) = _config(config), _wanted(normals, options.normals)
    cloud = as_cloud(source, given)
    if use == "trust" and cloud.normals is None:
        raise InputError(f"{cloud.name} has no normals that could be trusted; leave out 'trust' to estimate them")
    used = cloud.normals is not None and use != "ignore"
    needed = fitting(len(cloud), cloud.dimension, config, with_normals=used)
    require(needed, f"fitting {len(cloud):,} points", "use fewer points, or fewer points a step")

    cloud, near, frame, details, told = cleaned(cloud, config, notify)
    carried = _samples(near, config.seed) | {"measured": told}
    cloud, trust, config, found = oriented(cloud, near, config, use, notify)
    sampler = cloud_sampler(cloud, trust, config, near)
    from_sheet = found.get("closedness", 1.0) < SHEET
    kind = "measured" if trust is None else "open" if from_sheet else "estimated"
    follows, (config, sharp) = config.adapt, adapted(config, cloud, near, sampler.known, normals=kind)
    config = config if options.steps is None else replace(config, steps=options.steps)
    details |= found | {name: length * frame.scale for name, length in sharp.items()}
    field = make_field(config, cloud.dimension, device=options.device)
    details["machine"] = field.machine()
    model = partial(Surface, frame=frame, config=config, details=details, **carried)
    del near  # its table is as large as the cloud and more
    asked_for = options.run is not None or options.resume
    told = {"resume": options.resume, "overwrite": options.overwrite}
    with open_run(options.run or options.rescue, at_once=asked_for, **told) as folder:
        state = fit(
            field,
            sampler,
            lambda f, g, batch, share: objective(f, g, batch, config.objective, share),
            Schedule(config.optimizer, config.steps, options.seconds),
            state=resumed(folder, model(field)) if options.resume else None,
            on_step=None if on_step is None else (lambda progress: on_step(progress, field)),
            save=None if folder is None else (lambda state: folder.save(model(field), state)),
            save_seconds=options.save_seconds,
        )
        surface = model(with_residual(field, sampler, config.network, **sharp) if follows else field)
        residual = _residual(surface, notify)
        details["fit"] = {"steps": state.step, "recoveries": state.recoveries, "residual": residual}
        details |= _closed_or_open(surface, options.surface, notify)
        surface.history, surface.seconds = state.history, state.seconds
        if folder is not None and (asked_for or folder.written):
            surface.unsaved = saved_at_end(folder, surface, state, notify)
    return surface


def cleaned(
    cloud: PointCloud, config: Config, notify: Callable[[str], None]
) -> tuple[PointCloud, Neighbors, Frame, dict[str, Any], Measured | None]:
    """The cloud in the unit frame without strays, its neighbors, the frame, what was noticed, and attributes."""
    for note in cloud.notes:
        notify(note)
    near = Neighbors(cloud.points)
    strays = stray_points(cloud.points, near)
    if strays.any():
        notify(strays_left_out(int(strays.sum()), len(cloud)))
        cloud = cloud.select(~strays)
    details = {"name": cloud.name, "points": len(cloud), "strays": int(strays.sum())}
    whole, taken = cloud, useful(config, len(cloud), cloud.dimension)
    if taken < len(cloud):
        notify(f"taking {taken:,} of the points at random: one field and its run make use of no more")
        rng = np.random.default_rng([config.seed, 7])
        cloud = cloud.select(np.sort(rng.choice(len(cloud), taken, replace=False)))
    frame = unit_frame(cloud.points, radius=config.radius, strays=np.zeros(len(cloud), bool))
    near = near if len(cloud) == len(near.points) else Neighbors(cloud.points)
    cell = 2 * config.network.bound / config.network.finest if isinstance(config.network, FeatureConfig) else 0.0
    if advice := small_part(near, cell * frame.scale):
        notify(advice)
    near = near.in_frame(frame)
    seen, told = None if cloud.viewpoints is None else frame.to_unit(cloud.viewpoints), None
    cloud = replace(cloud, points=near.points, viewpoints=seen, attributes={})
    if whole.attributes:  # points that no step visits show them too
        details["attributes"], apart = list(whole.attributes), len(whole) > min(MAX_SAMPLES, len(cloud))
        told = measured(frame.to_unit(whole.points), whole.attributes, config.seed, apart=apart)
    return cloud, near, frame, details, told


def oriented(
    cloud: PointCloud, near: Neighbors, config: Config, normals: Normals, notify: Callable[[str], None]
) -> tuple[PointCloud, np.ndarray | None, Config, dict[str, Any]]:
    """The cloud with the normals to fit; the trust in them, None for entirely; the configuration for such normals;
    and what was noticed."""
    given, trust = cloud.normals if normals != "ignore" else None, None
    sight = cloud.lines_of_sight()
    details: dict[str, Any] = {"normals": "none" if given is None else "trusted"}
    if given is not None and normals == "auto":
        judged = judge_normals(near.points, given, near, sight, seed=config.seed)
        if judged.sentence:
            notify(judged.sentence)
        given, trust, details["normals"] = judged.normals, judged.trust, judged.use
        figures = ("angle", "roughness", "opposed", "outwardness")
        details["given_normals"] = {name: round(getattr(judged, name), 3) for name in figures}
    if given is None and config.objective.estimated_normals:
        found = orient(near.points, near, sight)
        notify(found.sentence())
        given, trust = found.normals, found.confidence
        details["normals"] = "ignored, estimated" if cloud.normals is not None else "estimated"
        details |= {"orientation": round(found.quality, 4), "closedness": round(found.closed, 4)}
        if found.errs_at_random:
            trust, config = lasting_normals(trust, config)
    return replace(cloud, normals=given), trust, config, details


def cloud_sampler(cloud: PointCloud, trust: np.ndarray | None, config: Config, near: Neighbors) -> CloudSampler:
    """The batches of a prepared cloud, with what its normals tell about the space around."""
    return CloudSampler(
        cloud.points,
        config.sampling,
        seed=config.seed,
        normals=cloud.normals,
        trust=trust,
        known=known_around(cloud, trust, config, near),
        near=near,
        unsigned=config.objective.kind != "igr",
    )


def _wanted(normals: Any, use: Normals) -> tuple[np.ndarray | None, Normals]:
    """Normals given as an array, and how the cloud's are used.

    Raises:
        InputError: they are given or trusted and to be ignored at once, or a word of another meaning.
    """
    if not isinstance(normals, str):
        if normals is not None and use == "ignore":
            raise InputError("normals are given as an array, and the options say to ignore them; leave out one")
        return normals, use
    word: Normals | None = next((known for known in get_args(Normals) if known == normals), None)
    if word is None:
        raise InputError(f"normals must be 'auto', 'trust', 'ignore' or an array, not {normals!r}")
    if {word, use} == {"trust", "ignore"}:
        raise InputError("the normals are to be trusted and ignored at once; leave out one")
    return None, use if word == "auto" else word


def _config(config: Config | str) -> Config:
    if isinstance(config, Config):
        if config.latents is not None or config.radius == 0:
            raise InputError("config is that of a shape space; one surface has no latents, and a radius")
        return config
    if config not in PRESETS:
        raise InputError(f"there is no preset {config!r}; known are {', '.join(PRESETS)}")
    return PRESETS[config]


def _samples(near: Neighbors, seed: int) -> dict[str, Any]:
    """The points that a surface carries along, with their neighbors where they are all."""
    if len(near.points) <= MAX_SAMPLES:
        return {"samples": near.points, "near": near}
    chosen = np.random.default_rng([seed, 5]).choice(len(near.points), MAX_SAMPLES, replace=False)
    return {"samples": near.points[chosen]}


def _residual(surface: Surface, notify: Callable[[str], None]) -> float:
    """Mean distance of the points to the surface, in their units; said where it is large for such points."""
    few = surface.samples[:: max(1, len(surface.samples) // 10_000)]
    distance = surface.distance(surface.frame.to_input(few))
    if told := missed(distance, surface.details.get("spacing", np.inf), surface.details.get("noise", np.inf)):
        notify(told)
    return float(f"{np.abs(distance).mean():.4g}")


def _closed_or_open(surface: Surface, wanted: Ends, notify: Callable[[str], None]) -> dict[str, Any]:
    """Whether the surface ends where the points do, and the share of a closed one that would be invented."""
    invented = surface.invented()
    if invented > OPEN:
        why = (
            "the scan is open: the surface ends where the points do" if wanted == "auto" else f"{wanted} as asked"
        )
        notify(f"{why}; closed, {invented:.0%} of it were invented")
    found = wanted == "open" or (wanted == "auto" and invented > OPEN)
    return {"open": found, "invented": round(invented, 4)}
