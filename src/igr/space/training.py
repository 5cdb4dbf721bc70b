"""Training a shape space: the loop of `fit/loop.py` over batches of many scans."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import Config, MLPConfig
from ..errors import InputError
from ..field.torch_field import COMPILED_FROM, compiled
from ..fit.loop import Progress, Schedule, fit
from ..fit.objective import Loss, objective
from ..fit.sampling import Batch
from ..machine import across_ranks, in_bfloat16, joined_ranks, mean_over_ranks, rank_and_ranks, torch_device
from ..scans.batches import Ahead, ScanSampler, open_table, read_rows
from ..scans.folders import choose, read_split, scan_name
from ..scans.preprocess import FOLDER
from ..settings import Checked, Positive, Weight
from ..store.claim import check_run, open_run
from ..store.run import FitState, RunFolder
from .network import SpaceField, SpaceNetwork, first_latents, make_network
from .predict import evaluate_scans

if TYPE_CHECKING:
    from .space import ShapeSpace

logger = logging.getLogger(__name__)

MEASURED = 64
"""Scans whose size decides the scale of the unit frame."""


@dataclass(frozen=True)
class TrainingOptions(Checked):
    """How a training runs, beside its configuration."""

    split: str | os.PathLike[str] | None = None
    """Split file: only the scans it names."""
    seconds: Positive | None = None
    """Train for so long instead of for the configuration's steps."""
    device: str = "auto"
    """auto, cpu, or a torch device such as cuda."""
    run: str | os.PathLike[str] | None = None
    """Folder of the run: checkpoints, history, configuration."""
    resume: bool = False
    """Continue the run in that folder."""
    save_seconds: Weight = 60.0
    """Time between two checkpoints."""
    validation: Mapping[str, Path] = dataclass_field(default_factory=dict)
    """Scans by name that are encoded and meshed at every checkpoint, into RUN/validation/STEP."""
    overwrite: bool = False
    """Replace the run in that folder, once the first checkpoint of the new one is whole."""


def begun(
    data: str | os.PathLike[str], config: Config, options: TrainingOptions
) -> tuple[dict[str, Path], dict[str, Any]]:
    """The scans of a training, and what its shape space is made of at the start."""
    check_run(options.run, resume=options.resume, overwrite=options.overwrite)
    scans = training_scans(data, options.split)
    return scans, untrained(scans, lengths_in_steps(config, len(scans)), device=torch_device(options.device))


def train(
    space: ShapeSpace,
    scans: Mapping[str, Path],
    options: TrainingOptions,
    *,
    on_step: Callable[[Progress, ShapeSpace], bool | None] | None = None,
) -> ShapeSpace:
    """Train a shape space on sample files; see `ShapeSpace.train`."""
    config = space.config
    told = {"resume": options.resume, "overwrite": options.overwrite}
    writes = options.run is not None and rank_and_ranks()[0] == 0
    if options.resume and options.run is None:
        raise InputError("--resume needs --run, the folder of the run to continue")
    space.details["machine"] = space.field.machine() | {"processes": rank_and_ranks()[1]}
    with open_run(options.run, at_once=writes, **told) as folder, joined_ranks() as rank:
        if rank[1] > 1 and options.seconds is not None:
            raise InputError("a budget in seconds would stop the ranks at different steps; give steps instead")
        state = folder.load_state(space) if folder is not None and options.resume else None
        sampler = ScanSampler(
            list(scans.values()), config, dimension=space.dimension, scale=space.scale, rank=rank
        )
        network = space.field.space
        space.field.stepped = across_ranks(compiled(network) if _worth_compiling(config) else network)
        with Ahead(sampler) as ahead:
            state = fit(
                space.field,
                ahead,
                lambda f, g, batch, share: space_loss(space.field, f, g, batch, config, share),
                Schedule(config.optimizer, config.steps, options.seconds),
                state=state,
                on_step=lambda progress: _stopped(on_step, progress, space),
                save=(lambda state: _save(folder, space, state, options)) if folder and writes else None,
                save_seconds=options.save_seconds,
            )
        space.field.stepped = network
        space.details["training"] = _facts(space, state)
        space.history, space.seconds = state.history, state.seconds
        if folder is not None and writes:
            _save(folder, space, state, options)
    return space


def untrained(scans: Mapping[str, Path], config: Config, *, device: str) -> dict[str, Any]:
    """What a shape space is made of at the start of its training on sample files."""
    files = list(scans.values())
    dimension = 3 if open_table(files[0]).shape[1] in (3, 6) else 2
    network = SpaceNetwork(make_network(config, dimension), first_latents(config, len(files)))
    assert config.latents is not None
    assert isinstance(config.network, MLPConfig)
    field = SpaceField(
        network,
        latent_weight=config.objective.latent,
        latent_rate=config.latents.rate,
        device=device,
        beta2=config.optimizer.beta2,
        bfloat16=in_bfloat16(config.precision, config.network.width, device),
    )
    reach = farthest(files, dimension)
    scale = reach / config.radius if config.radius else 1.0
    return {"field": field, "config": config, "names": tuple(scans), "scale": scale, "reach": reach}


def _worth_compiling(config: Config) -> bool:
    assert config.latents is not None
    assert isinstance(config.network, MLPConfig)
    return config.latents.enters == "input" and config.network.width * config.steps >= COMPILED_FROM


def training_scans(data: str | os.PathLike[str], split: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """The sample files below a folder, by the names of their scans, all with the same columns.

    Raises:
        InputError: there are none, the split names missing ones, or some lack normals that others have.
    """
    top = Path(data)
    if not top.is_dir():
        raise InputError(f"{top}: there is no such folder")
    top = top / FOLDER if (top / FOLDER).is_dir() else top
    found = {scan_name(path.relative_to(top)): path for path in sorted(top.rglob("*.npy"))}
    if not found:
        raise InputError(
            f"{top} holds no samples (.npy); make them: igr dfaust preprocess --src-path SCANS --out-path OUT"
        )
    if split is not None:
        found, missing = choose(found, read_split(split))
        if missing:
            raise InputError(f"{split} names {len(missing)} scans that are not in {top}, such as {missing[0]}")
    columns = {name: open_table(path).shape[1] for name, path in found.items()}
    first = next(iter(columns))
    for name, number in columns.items():
        if number != columns[first]:
            raise InputError(
                f"{found[name]} has {number} columns and {found[first]} {columns[first]}; train on one kind"
            )
    return found


def lengths_in_steps(config: Config, shapes: int) -> Config:
    """The configuration with its epochs, where it counts in those, turned into steps."""
    latents = config.latents
    assert latents is not None
    epoch = -(-shapes // min(latents.shapes, shapes))
    steps = latents.epochs * epoch if latents.epochs else config.steps
    interval = latents.halving_epochs * epoch if latents.halving_epochs else config.optimizer.interval
    return dataclasses.replace(
        config,
        steps=steps,
        optimizer=dataclasses.replace(config.optimizer, interval=interval),
        latents=dataclasses.replace(latents, epochs=0, halving_epochs=0),
    )


def farthest(files: Sequence[Path], dimension: int) -> float:
    """How far the points of the scans reach from their centers, judged by some of the scans."""
    chosen = files[:: max(1, len(files) // MEASURED)]
    rng = np.random.default_rng(0)
    samples = [read_rows(path, 4000, rng)[:, :dimension] for path in chosen]
    return float(max(np.linalg.norm(points, axis=1).max() for points in samples))


def space_loss(field: SpaceField, f: object, g: object, batch: Batch, config: Config, share: float) -> Loss:
    """The objective with the latents' term, its values averaged over the ranks."""
    loss = objective(f, g, batch, config.objective, share)
    terms = loss.terms | {"latents": field.latent_length}
    total = loss.total + config.objective.latent * field.latent_length
    *means, total = mean_over_ranks([*terms.values(), total])
    return dataclasses.replace(loss, terms=dict(zip(terms, means, strict=True)), total=total)


def _facts(space: ShapeSpace, state: FitState) -> dict[str, float]:
    """How long a space was trained, and how near it came to its shapes, by the latest tenth of the steps."""
    facts = {"steps": state.step, "recoveries": state.recoveries, "shapes": len(space.names)}
    latest = [row["surface"] for row in state.history if row["step"] > 0.9 * state.step]
    return facts | ({"residual": space.scale * float(np.mean(latest))} if latest else {})


def _save(folder: RunFolder, space: ShapeSpace, state: FitState, options: TrainingOptions) -> None:
    """A checkpoint, and what it makes of the validation scans."""
    space.details["training"] = _facts(space, state)
    folder.save(space, state)
    if options.validation:
        place = folder.path / "validation" / f"{state.step:06d}"
        for row in evaluate_scans(space, options.validation, place, resolution=96):
            logger.info("validation %s", {key: value for key, value in row.items() if key != "latent"})


def _stopped(
    on_step: Callable[[Progress, ShapeSpace], bool | None] | None, progress: Progress, space: ShapeSpace
) -> bool:
    """Whether any rank asks to stop."""
    stop = bool(on_step is not None and on_step(progress, space))
    return mean_over_ranks([float(stop)])[0] > 0
