"""Reads the original implementation's configuration files (.conf, HOCON) into ours; needs the extra `legacy`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import PAPER, Config, MLPConfig
from .errors import InputError


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
    warnings: tuple[str, ...]
    """Keys that are not known, or have no meaning here."""


IGNORED = {
    "train.expname": "give --run instead",
    "train.dataset": "igr reads the cloud itself",
    "train.plot_frequency": "any saved checkpoint can be meshed with `igr mesh`",
    "train.checkpoint_frequency": "checkpoints are saved by time",
    "train.status_frequency": "progress is shown live",
    "train.network_class": "there is one network",
    "train.num_of_points": "all points are used",
    "plot.is_uniform_grid": "the grid follows the points",
    "plot.verbose": "",
    "plot.save_html": "give --report PAGE.html instead",
    "plot.save_ply": "give -o FILE.ply instead",
    "plot.overwrite": "",
    "network.inputs.geometric_init": "always on",
    "network.sampler.sampler_type": "there is one sampler",
}
"""Known keys without an effect here, and what to do instead."""


def read_conf(path: str | os.PathLike[str]) -> OriginalConf:
    """Read an original `.conf` file.

    Args:
        path: a HOCON file with the sections train, network and plot.

    Raises:
        InputError: pyhocon is not installed, the file cannot be read, or a setting is impossible.
    """
    path = Path(path)
    entries = _flat(_parsed(path))
    take = _Taker(path, entries)
    width, layers = _layers(take)
    optimizer = _schedule(take)
    network = MLPConfig(
        width=width,
        layers=layers,
        skip=tuple(take("network.inputs.skip_in", list(PAPER.network.skip), _layer_list)),  # type: ignore[union-attr]
        beta=take("network.inputs.beta", 100.0, _positive),
        radius=take("network.inputs.radius_init", 1.0, _positive),
    )
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
    steps = take("train.nepoch", take("train.max_iterations", PAPER.steps, _count), _count)
    config = dataclasses.replace(
        PAPER, network=network, objective=objective, sampling=sampling, optimizer=optimizer, steps=steps
    )
    cloud = take("train.input_path", None, str)
    dimension = take("train.d_in", None, _dimension)
    resolution, level = take("plot.resolution", None, _count), take("plot.mc_value", 0.0, float)
    if take("train.weight_decay", 0.0, _weight) != 0:
        raise InputError(f"{path}: train.weight_decay is not supported; set it to 0")
    place = None if cloud is None else path.parent / cloud
    return OriginalConf(config, place, dimension, resolution, level, take.warnings())


class _Taker:
    """Takes entries out of a configuration, each checked, and remembers which were left."""

    def __init__(self, path: Path, entries: dict[str, Any]) -> None:
        self.path, self.entries, self.taken = path, entries, {"network.sampler.properties.local_sigma"}

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
    try:
        text = path.read_text()
    except OSError as problem:
        raise InputError(f"{path} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text file") from None
    if "include" in text:
        raise InputError(f"{path}: includes are not followed; write the settings into one file")
    try:
        return pyhocon.ConfigFactory.parse_string(text)
    except (
        ConfigException,
        ParseBaseException,
        RecursionError,
        TypeError,
        ValueError,
    ) as problem:
        first = str(problem).splitlines()[0] if str(problem) else "not valid"
        raise InputError(f"{path} is no HOCON file ({first})") from None


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a nested configuration."""
    entries = {}
    for key, value in tree.items():
        if hasattr(value, "items"):
            entries |= _flat(value, f"{prefix}{key}.")
        else:
            entries[prefix + key] = value
    return entries


def _layers(take: _Taker) -> tuple[int, int]:
    """Width and number of the hidden layers."""

    def widths(value: Any) -> list[int]:
        found = [_count(entry) for entry in value]
        if not found or len(set(found)) != 1:
            raise ValueError("expected a list of equal widths, one for each hidden layer")
        return found

    dims = take("network.inputs.dims", [512] * 8, widths)
    return dims[0], len(dims)


def _schedule(take: _Taker) -> Any:
    """The learning rate from the first entry of its schedule."""

    def steps(value: Any) -> dict[str, float]:
        entry = value[0] if isinstance(value, list) else value
        found = {str(key).strip('"').lower(): entry[key] for key in entry}
        if str(found.get("type")).lower() != "step":
            raise ValueError("expected the type Step")
        return {key: _positive(found[key]) for key in ("initial", "interval", "factor") if key in found}

    found = take("train.learning_rate_schedule", {}, steps)
    if "interval" in found:
        found["interval"] = int(found["interval"])
    return dataclasses.replace(PAPER.optimizer, **found)


def _positive(value: Any) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError("expected a positive number")
    return number


def _weight(value: Any) -> float:
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError("expected a number of at least 0")
    return number


def _count(value: Any) -> int:
    if isinstance(value, bool) or int(value) != float(value) or int(value) < 1:
        raise ValueError("expected a whole number of at least 1")
    return int(value)


def _dimension(value: Any) -> int:
    if value not in (2, 3):
        raise ValueError("expected 2 or 3")
    return int(value)


def _layer_list(value: Any) -> list[int]:
    return [_count(entry) for entry in value]
