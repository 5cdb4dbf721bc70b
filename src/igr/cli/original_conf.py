"""Reads the original implementation's configuration files (.conf, HOCON) into ours; needs the extra `legacy`."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import PAPER, Config, MLPConfig, OptimizerConfig
from ..errors import InputError
from ..store.atomic import read_small_text


@dataclass(frozen=True)
class OriginalShapeSpace:
    """What only the original's shape spaces have; its intervals are in epochs there."""

    dataset_path: Path | None
    """Folder of the samples, relative to the file's folder unless it is absolute."""
    latent_size: int
    """Length of a latent; 0 for one surface."""
    local_sigma: float | None
    """σ of the space points; None where it is measured on the cloud."""
    latent_optimizer: OptimizerConfig | None
    """Schedule of the latents: the second entry of the list."""


@dataclass(frozen=True)
class OriginalConf:
    """What an original configuration file asks for."""

    config: Config
    """The preset `paper` with the file's settings."""
    input_path: Path | None
    """The cloud it names, relative to the file's folder unless it is absolute."""
    dimension: int | None
    """2 or 3, where it says so."""
    resolution: int | None
    """Cells of the plotted grid."""
    level: float
    """Level set that was plotted."""
    shape_space: OriginalShapeSpace
    """What it says about a shape space."""
    warnings: tuple[str, ...]
    """Keys that are not known, or have no meaning here."""


IGNORED = {
    "train.expname": "give --run instead",
    "train.dataset": "the data is recognized by its form",
    "train.preprocess": "samples are made by `igr dfaust preprocess`",
    "train.plot_frequency": "any saved checkpoint can be meshed with `igr mesh`",
    "train.checkpoint_frequency": "checkpoints are saved by time",
    "train.status_frequency": "progress is shown live",
    "plot.is_uniform_grid": "the grid follows the points",
    "plot.verbose": "",
    "plot.save_html": "give --report PAGE.html instead",
    "plot.save_ply": "give -o FILE.ply instead",
    "plot.overwrite": "",
}
"""Known keys without an effect here, and what to do instead."""


LARGEST = 1 << 14
"""Bytes of a configuration; the original's have two thousand, and its reader takes a second for ten."""
BROKEN = (TypeError, ValueError, LookupError, AttributeError)
"""What pyhocon raises for some files besides its own exceptions."""


def read_conf(path: str | os.PathLike[str]) -> OriginalConf:
    """Read an original `.conf` file.

    Args:
        path: a HOCON file with the sections train, network and plot.

    Raises:
        InputError: pyhocon is not installed, the file cannot be read, or a setting is impossible.
    """
    path = Path(path)
    take = _Taker(path, _flat(_parsed(path)))
    for key, known in (("train.network_class", "ImplicitNet"), ("network.sampler.sampler_type", "NormalPerPoint")):
        take(key, known, _only(known))
    network = _network(take)
    objective = dataclasses.replace(
        PAPER.objective,
        eikonal=take("network.loss.lambda", PAPER.objective.eikonal, _weight),
        normals=take("network.loss.normals_lambda", PAPER.objective.normals, _weight),
        latent=take("network.loss.latent_lambda", 0.0, _weight),
    )
    sampling = dataclasses.replace(
        PAPER.sampling,
        surface=take("train.points_batch", PAPER.sampling.surface, _count),
        extent=take("network.sampler.properties.global_sigma", PAPER.sampling.extent, _positive),
    )
    optimizer, latent_optimizer = take("train.learning_rate_schedule", (PAPER.optimizer, None), _schedules)
    config = dataclasses.replace(
        PAPER,
        network=network,
        objective=objective,
        sampling=sampling,
        optimizer=optimizer,
        steps=take("train.nepoch", PAPER.steps, _count),
    )
    take("train.weight_decay", 0.0, _zero)
    return OriginalConf(
        config,
        take("train.input_path", None, path.parent.joinpath),
        take("train.d_in", None, _dimension),
        take("plot.resolution", None, _count),
        take("plot.mc_value", 0.0, _number),
        OriginalShapeSpace(
            take("train.dataset_path", None, path.parent.joinpath),
            take("train.latent_size", 0, _count),
            take("network.sampler.properties.local_sigma", None, _positive),
            latent_optimizer,
        ),
        take.warnings(),
    )


class _Taker:
    """Takes entries out of a configuration, each checked, and remembers which were left."""

    def __init__(self, path: Path, entries: dict[str, Any]) -> None:
        self.path, self.entries = path, entries
        self.taken: set[str] = set()

    def __call__(self, key: str, default: Any, convert: Callable[[Any], Any]) -> Any:
        """The entry `key` converted, or `default` where it is missing."""
        self.taken.add(key)
        if key not in self.entries:
            return default
        try:
            return convert(self.entries[key])
        except (TypeError, ValueError) as problem:
            raise InputError(f"{self.path}: {key} is {self.entries[key]!r}, {problem}") from None

    def warnings(self) -> tuple[str, ...]:
        """One sentence for every entry that has no effect."""
        found = []
        for key in sorted(set(self.entries) - self.taken):
            advice = IGNORED.get(key)
            found.append(
                f"unknown key {key} is ignored" if advice is None else f"{key} has no effect here; {advice}"
            )
        return tuple(text.removesuffix("; ") for text in found)


def _parsed(path: Path) -> Any:
    try:
        import pyhocon
        from pyhocon.exceptions import ConfigException
        from pyparsing import ParseBaseException
    except ImportError:
        raise InputError("reading an original .conf needs pyhocon: pip install 'igr[legacy]'") from None
    text = read_small_text(path, largest=LARGEST)
    if re.search(r"\binclude\s*(\"|\w+\s*\()", text) or "${" in text:
        raise InputError(
            f"{path}: includes and ${{…}}, which lead to other files and to the environment, are not followed; "
            "write the settings out"
        )
    try:
        tree = pyhocon.ConfigFactory.parse_string(text)
    except (*(ParseBaseException, ConfigException, RecursionError), *BROKEN) as problem:
        first = str(problem).splitlines()[0] if str(problem) else "not valid"
        raise InputError(f"{path} is no HOCON file ({first})") from None
    if not hasattr(tree, "items"):
        raise InputError(f"{path} is a list; sections train, network and plot are needed")
    return tree


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested configuration."""
    entries = {}
    for key, value in tree.items():
        if hasattr(value, "items"):
            entries |= _flat(value, f"{prefix}{key}.")
        else:
            entries[prefix + key] = value
    return entries


def _network(take: _Taker) -> MLPConfig:
    assert isinstance(PAPER.network, MLPConfig)
    dims = take("network.inputs.dims", [PAPER.network.width] * PAPER.network.layers, _widths)
    take("network.inputs.geometric_init", True, _true)
    return MLPConfig(
        width=dims[0],
        layers=len(dims),
        skip=take("network.inputs.skip_in", PAPER.network.skip, lambda value: _skips(value, len(dims))),
        beta=take("network.inputs.beta", PAPER.network.beta, _positive),
        radius=take("network.inputs.radius_init", PAPER.network.radius, _positive),
    )


def _schedules(value: Any) -> tuple[OptimizerConfig, OptimizerConfig | None]:
    """The schedules of the network and, where there is a second, of the latents."""
    entries = value if isinstance(value, list) else [value]
    if not 1 <= len(entries) <= 2:
        raise ValueError("expected one schedule, or two with that of the latents")
    schedules = [_schedule(entry) for entry in entries]
    return schedules[0], schedules[1] if len(schedules) == 2 else None


def _schedule(entry: Any) -> OptimizerConfig:
    if not hasattr(entry, "items"):
        raise ValueError('expected { "Type" : "Step", "Initial" : …, "Interval" : …, "Factor" : … }')
    found = {str(key).strip('"').lower(): value for key, value in entry.items()}
    unknown = set(found) - {"type", "initial", "interval", "factor"}
    if str(found.get("type")).lower() != "step" or unknown:
        raise ValueError("expected the type Step, with Initial, Interval and Factor")
    default = PAPER.optimizer
    factor = _positive(found.get("factor", default.factor))
    if factor > 1:
        raise ValueError("expected a factor of at most 1")
    return dataclasses.replace(
        default,
        initial=_positive(found.get("initial", default.initial)),
        interval=_count(found.get("interval", default.interval)),
        factor=factor,
    )


def _widths(value: Any) -> list[int]:
    found = [_count(entry) for entry in value] if isinstance(value, list) else []
    if not found or len(set(found)) != 1:
        raise ValueError("expected a list of equal widths, one for each hidden layer")
    if not 8 <= found[0] <= 65536:
        raise ValueError("expected widths from 8 to 65536")
    return found


def _skips(value: Any, layers: int) -> tuple[int, ...]:
    found = tuple(_count(entry) for entry in value) if isinstance(value, list) else (layers,)
    if any(entry >= layers for entry in found):
        raise ValueError(f"expected a list of hidden layers from 1 to {layers - 1}")
    return found


def _only(known: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if str(value).rpartition(".")[2] != known:
            raise ValueError(f"only {known} is known here")
        return known

    return check


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(float(value)):
        raise ValueError("expected a finite number")
    return float(value)


def _positive(value: Any) -> float:
    if _number(value) <= 0:
        raise ValueError("expected a positive number")
    return float(value)


def _weight(value: Any) -> float:
    if _number(value) < 0:
        raise ValueError("expected a number of at least 0")
    return float(value)


def _zero(value: Any) -> float:
    if _number(value) != 0:
        raise ValueError("which is not supported; set it to 0")
    return 0.0


def _true(value: Any) -> bool:
    if str(value).lower() != "true":
        raise ValueError("but the network always starts as a sphere; set it to True")
    return True


def _count(value: Any) -> int:
    if _number(value) != int(value) or int(value) < 1:
        raise ValueError("expected a whole number of at least 1")
    return int(value)


def _dimension(value: Any) -> int:
    if value not in (2, 3):
        raise ValueError("expected 2 or 3")
    return int(value)
