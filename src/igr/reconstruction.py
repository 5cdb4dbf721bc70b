"""One surface from one cloud: the whole way from points to a `Surface`."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .cloud.frame import Frame, stray_points, unit_frame
from .cloud.pointcloud import PointCloud, as_cloud
from .config import FAST, PRESETS, Config
from .errors import InputError, usual_arithmetic
from .field.field import Field, make_field
from .fit.adapt import adapted, sharpness
from .fit.far import known_space
from .fit.loop import Progress, Schedule, fit
from .fit.memory import fitting
from .fit.objective import objective
from .fit.sampling import CloudSampler
from .machine import require
from .normals.estimate import orient
from .normals.given import judge_normals
from .settings import Checked, Positive, Weight
from .store.run import FitState, RunFolder, check_run, open_run
from .surface.surface import Surface

logger = logging.getLogger(__name__)

Normals = Literal["auto", "ignore"]
SURE = 4.0
"""Confidence of an estimated normal, times this, is the trust in it where directions err at random: it is then
low because the neighborhood is rough, not because the side is doubtful."""
FIELD_KNOWS = 0.4
"""Share of the run after which the field knows the sides of such normals better than their estimate."""
MISSED = 3.0
"""Points that lie farther than this from the surface, as a multiple of their spacing or noise, are missed."""
MAX_SAMPLES = 100_000
"""Points of the cloud that a surface carries along, to say where it is supported."""


@dataclass(frozen=True)
class Options(Checked):
    """How a reconstruction runs, beside its configuration."""

    normals: Normals = "auto"
    """`auto`: use the cloud's normals, turned around if they point inward; `ignore`: fit without them."""
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
        normals: "auto" (those of the source, if it has any), "ignore", or an array (n, d).
        config: a `Config` or the name of a preset, "fast" or "paper".
        options: budget in seconds, device, run folder.
        on_step: told after every step, with the field; the run stops, saved, when it returns True.
        notify: told, in one sentence each, what was noticed about the cloud and done about it.

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
    config = _config(config)
    given = None if isinstance(normals, str) else normals
    if given is not None and options.normals == "ignore":
        raise InputError("normals are given as an array, and the options say to ignore them; leave out one")
    if isinstance(normals, str) and normals in ("auto", "ignore"):
        options = dataclasses.replace(options, normals=normals if normals == "ignore" else options.normals)
    elif isinstance(normals, str):
        raise InputError(f"normals must be 'auto', 'ignore' or an array, not {normals!r}")
    cloud = as_cloud(source, given)
    use_normals = cloud.normals is not None and options.normals == "auto"
    needed = fitting(len(cloud), cloud.dimension, config, with_normals=use_normals)
    require(needed, f"fitting {len(cloud):,} points", "use fewer points, or fewer points a step")
    cloud, trust, frame, config, details = prepare(cloud, config, options.normals, notify)
    if cloud.normals is not None:
        sharp = sharpness(cloud.points, cloud.normals)
        config = adapted(config, sharp, dimension=cloud.dimension, measured_normals=trust is None)
        details |= {"spacing": sharp.spacing * frame.scale, "noise": sharp.noise * frame.scale}
    sampler = cloud_sampler(cloud, trust, config)
    field = make_field(config, cloud.dimension, device=options.device)
    surface = Surface(field, frame, config, samples=_samples(cloud.points, config.seed), details=details)
    details["machine"] = field.machine()
    step = None if on_step is None else (lambda progress: on_step(progress, field))
    asked_for = options.run is not None or options.resume
    told = {"resume": options.resume, "overwrite": options.overwrite}
    with open_run(options.run or options.rescue, at_once=asked_for, **told) as folder:
        state = fit(
            field,
            sampler,
            lambda f, g, batch, share: objective(f, g, batch, config.objective, share),
            Schedule(config.optimizer, config.steps, options.seconds),
            state=_resumed(folder, surface) if options.resume else None,
            on_step=step,
            save=None if folder is None else (lambda state: folder.save(surface, state)),
            save_seconds=options.save_seconds,
        )
        residual = _residual(surface, notify)
        details["fit"] = {"steps": state.step, "recoveries": state.recoveries, "residual": residual}
        surface.history, surface.seconds = state.history, state.seconds
        if folder is not None and (asked_for or folder.written):
            _save_at_end(folder, surface, state, notify)
    return surface


def prepare(
    cloud: PointCloud, config: Config, normals: Normals, notify: Callable[[str], None]
) -> tuple[PointCloud, np.ndarray | None, Frame, Config, dict[str, Any]]:
    """The cloud in the unit frame, without strays and with normals where the configuration wants them; the trust
    in normals that were estimated; the frame; the configuration for such normals; and what was noticed."""
    for note in cloud.notes:
        notify(note)
    strays = stray_points(cloud.points)
    if strays.any():
        notify(_strays_left_out(int(strays.sum()), len(cloud)))
        cloud = _select(cloud, ~strays)
    details = {"name": cloud.name, "points": len(cloud), "strays": int(strays.sum())}
    visited = config.steps * config.sampling.surface
    if len(cloud) > visited:
        notify(f"taking {visited:,} of the points at random: a run of {config.steps:,} steps visits no more")
        rng = np.random.default_rng([config.seed, 7])
        cloud = _select(cloud, np.sort(rng.choice(len(cloud), visited, replace=False)))
    frame = unit_frame(cloud.points, radius=config.radius, strays=np.zeros(len(cloud), bool))
    points, given, trust = frame.to_unit(cloud.points), cloud.normals if normals == "auto" else None, None
    details["normals"] = "none"
    if given is not None:
        judged = judge_normals(points, given, seed=config.seed)
        if judged.sentence:
            notify(judged.sentence)
        given, trust, details["normals"] = judged.normals, judged.trust, judged.use
        figures = {"angle": judged.angle, "roughness": judged.roughness, "right": judged.right}
        details["given_normals"] = {name: round(figure, 3) for name, figure in figures.items()}
    if given is None and config.objective.estimated_normals:
        found = orient(points)
        notify(f"no normals are used as given; estimated them, {found.quality:.0%} of them with a clear side")
        given, trust = found.normals, found.confidence
        details["normals"] = "ignored, estimated" if cloud.normals is not None else "estimated"
        details["orientation"] = round(found.quality, 4)
        if found.errs_at_random:
            trust, config = np.clip(SURE * trust, 0, 1), _lasting_normals(config)
    return PointCloud(points, given, name=cloud.name), trust, frame, config, details


def _strays_left_out(count: int, total: int) -> str:
    if count == 1:
        return "left out 1 stray point, far from all others"
    return f"left out {count:,} stray points ({count / total:.2%}), scattered apart from the surface"


def _lasting_normals(config: Config) -> Config:
    """`config` for estimated normals that err at random: they keep their weight, on the side the field finds."""
    weights = dataclasses.replace(
        config.objective, estimated_normals=config.objective.normals, field_side=FIELD_KNOWS
    )
    return dataclasses.replace(config, objective=weights)


def cloud_sampler(cloud: PointCloud, trust: np.ndarray | None, config: Config) -> CloudSampler:
    """The batches of a prepared cloud, with what its normals tell about the space around."""
    known = None
    weights = config.objective
    wanted = weights.kind == "igr" and (weights.warm_start or weights.far_sign)
    if cloud.normals is not None and wanted:
        known = known_space(
            cloud.points, cloud.normals, extent=config.sampling.extent, seed=config.seed, trust=trust
        )
    return CloudSampler(
        cloud.points,
        config.sampling,
        seed=config.seed,
        normals=cloud.normals,
        trust=trust,
        known=known,
        unsigned=config.objective.kind != "igr",
    )


def _config(config: Config | str) -> Config:
    if isinstance(config, Config):
        if config.latents is not None or config.radius == 0:
            raise InputError(
                "the configuration is that of a shape space; one surface has no latents, and a radius"
            )
        return config
    if config not in PRESETS:
        raise InputError(f"there is no preset {config!r}; known are {', '.join(PRESETS)}")
    return PRESETS[config]


def _select(cloud: PointCloud, keep: np.ndarray) -> PointCloud:
    normals = None if cloud.normals is None else cloud.normals[keep]
    return dataclasses.replace(cloud, points=cloud.points[keep], normals=normals)


def _samples(points: np.ndarray, seed: int) -> np.ndarray:
    if len(points) <= MAX_SAMPLES:
        return points
    return points[np.random.default_rng([seed, 5]).choice(len(points), MAX_SAMPLES, replace=False)]


def _resumed(folder: RunFolder | None, surface: Surface) -> FitState | None:
    """The state to continue from, its parameters loaded into the field; None for a new run."""
    if folder is None:
        raise InputError("resuming needs the folder of the run: give --run DIR")
    return folder.load_state(surface)


def _residual(surface: Surface, notify: Callable[[str], None]) -> float:
    """Mean distance of the points to the surface, in their units; said where it is large for points so dense."""
    few = surface.frame.to_input(surface.samples[:: max(1, len(surface.samples) // 10_000)])
    residual = float(np.abs(surface.distance(few)).mean())
    expected = max(surface.details.get("spacing", np.inf), surface.details.get("noise", 0.0))
    if residual > MISSED * expected:
        notify(
            f"the surface misses the points by {residual:.3g} on average, and they are {expected:.3g} apart; "
            "reconstruct parts that are small and far apart one by one, and look at the normals"
        )
    return float(f"{residual:.4g}")


def _save_at_end(folder: RunFolder, surface: Surface, state: FitState, notify: Callable[[str], None]) -> None:
    """Save the finished run; where that is not possible the surface is still worth having."""
    try:
        folder.save(surface, state)
    except InputError as problem:
        surface.unsaved = str(problem)
        notify(f"the run is not saved: {problem}")
