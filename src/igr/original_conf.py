"""Reads the original implementation's configuration files (.conf, HOCON) into ours; needs the extra `legacy`."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import PAPER, Config, MLPConfig, OptimizerConfig
from .errors import InputError
from .store.atomic import read_small_text


@dataclass(frozen=True)
class OriginalShapeSpace:
    """What only the original's shape spaces have; its intervals are in epochs there."""

    dataset_path: Path | None = None
    """Folder of the samples, relative to the file's folder unless it is absolute."""
    latent_size: int = 0
    """Length of a latent; 0 for one surface."""
    local_sigma: float | None = None
    """σ of the space points; None where it is measured on the cloud."""
    latent_optimizer: OptimizerConfig | None = None
    """Schedule of the latents: the second entry of the list."""


@dataclass(frozen=True)
class OriginalConf:
    """What an original configuration file asks for."""

    config: Config
    """The preset `paper` with the file's settings."""
    input_path: Path | None = None
    """The cloud it names, relative to the file's folder unless it is absolute."""
    dimension: int | None = None
    """2 or 3, where it says so."""
    resolution: int | None = None
    """Cells of the plotted grid."""
    level: float = 0.0
    """Level set that was plotted."""
    shape_space: OriginalShapeSpace = OriginalShapeSpace()
    """What it says about a shape space."""
    warnings: tuple[str, ...] = ()
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


Convert = Callable[[Any], Any]
"""What an entry becomes; a TypeError or ValueError says what was expected instead."""


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(float(value)):
        raise ValueError("expected a finite number")
    return float(value)


def _such(holds: Callable[[Any], bool], otherwise: str, kind: Convert) -> Convert:
    """Converts a value by `kind` where it `holds`, and says `otherwise` elsewhere."""

    def convert(value: Any) -> Any:
        if not holds(value):
            raise ValueError(otherwise)
        return kind(value)

    return convert


COUNT = _such(lambda v: _number(v) == int(v) and int(v) >= 1, "expected a whole number of at least 1", int)
POSITIVE = _such(lambda v: _number(v) > 0, "expected a positive number", float)
WEIGHT = _such(lambda v: _number(v) >= 0, "expected a number of at least 0", float)
ZERO = _such(lambda v: _number(v) == 0, "which is not supported; set it to 0", float)
DIMENSION = _such(lambda v: v in (2, 3), "expected 2 or 3", int)
SPHERE = _such(
    lambda v: str(v).lower() == "true", "but the network always starts as a sphere; set it to True", bool
)
NETWORK, SAMPLER = (
    _such(lambda v, known=known: str(v).rpartition(".")[2] == known, f"only {known} is known here", str)
    for known in ("ImplicitNet", "NormalPerPoint")
)


SCHEDULE = {
    "factor": _such(lambda v: POSITIVE(v) <= 1, "expected a factor of at most 1", float),
    "initial": POSITIVE,
    "interval": COUNT,
}
"""What a schedule of the type Step may hold."""


def _schedules(value: Any) -> list[OptimizerConfig]:
    """The schedule of the network and, where there is a second, that of the latents."""
    entries = value if isinstance(value, list) else [value]
    if not 1 <= len(entries) <= 2:
        raise ValueError("expected one schedule, or two with that of the latents")
    return [_schedule(entry) for entry in entries]


def _schedule(entry: Any) -> OptimizerConfig:
    if not hasattr(entry, "items"):
        raise ValueError('expected { "Type" : "Step", "Initial" : …, "Interval" : …, "Factor" : … }')
    found = {str(key).strip('"').lower(): value for key, value in entry.items()}
    unknown = set(found) - {"type", *SCHEDULE}
    if str(found.get("type")).lower() != "step" or unknown:
        raise ValueError("expected the type Step, with Initial, Interval and Factor")
    chosen = {name: kind(found[name]) for name, kind in SCHEDULE.items() if name in found}
    return dataclasses.replace(PAPER.optimizer, **chosen)


def _widths(value: Any) -> list[int]:
    found = [COUNT(entry) for entry in value] if isinstance(value, list) else []
    if not found or len(set(found)) != 1:
        raise ValueError("expected a list of equal widths, one for each hidden layer")
    if not 8 <= found[0] <= 65536:
        raise ValueError("expected widths from 8 to 65536")
    return found


def _skips(value: Any, layers: int) -> tuple[int, ...]:
    found = tuple(COUNT(entry) for entry in value) if isinstance(value, list) else (layers,)
    if any(entry >= layers for entry in found):
        raise ValueError(f"expected a list of hidden layers from 1 to {layers - 1}")
    return found


SKIPS = "network.inputs.skip_in"
"""The one setting that is checked by another, the number of layers."""
SETTINGS: dict[str, tuple[str, str, Convert]] = {
    "train.input_path": ("file", "input_path", Path),
    "train.d_in": ("file", "dimension", DIMENSION),
    "train.network_class": ("checked", "network", NETWORK),
    "train.weight_decay": ("checked", "decay", ZERO),
    "train.points_batch": ("sampling", "surface", COUNT),
    "train.learning_rate_schedule": ("train", "optimizers", _schedules),
    "train.nepoch": ("train", "steps", COUNT),
    "train.dataset_path": ("space", "dataset_path", Path),
    "train.latent_size": ("space", "latent_size", COUNT),
    "network.inputs.dims": ("network", "dims", _widths),
    "network.inputs.geometric_init": ("checked", "sphere", SPHERE),
    "network.inputs.beta": ("network", "beta", POSITIVE),
    "network.inputs.radius_init": ("network", "radius", POSITIVE),
    "network.sampler.sampler_type": ("checked", "sampler", SAMPLER),
    "network.sampler.properties.global_sigma": ("sampling", "extent", POSITIVE),
    "network.sampler.properties.local_sigma": ("space", "local_sigma", POSITIVE),
    "network.loss.lambda": ("objective", "eikonal", WEIGHT),
    "network.loss.normals_lambda": ("objective", "normals", WEIGHT),
    "network.loss.latent_lambda": ("objective", "latent", WEIGHT),
    "plot.resolution": ("file", "resolution", COUNT),
    "plot.mc_value": ("file", "level", _number),
}
"""Key by key: the part that the setting goes to (checked: none), its name there, and what it must be."""


def read_conf(path: str | os.PathLike[str]) -> OriginalConf:
    """Read an original `.conf` file.

    Args:
        path: a HOCON file with the sections train, network and plot.

    Raises:
        InputError: pyhocon is not installed, the file cannot be read, or a setting is impossible.
    """
    path = Path(path)
    entries = _flat(_parsed(path))

    def converted(key: str, convert: Convert) -> Any:
        try:
            return convert(entries[key])
        except (TypeError, ValueError) as problem:
            raise InputError(f"{path}: {key} is {entries[key]!r}, {problem}") from None

    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, (part, name, convert) in SETTINGS.items():
        if key in entries:
            value = converted(key, convert)
            found[part][name] = path.parent / value if isinstance(value, Path) else value
    network = found["network"]
    assert isinstance(PAPER.network, MLPConfig)
    widths = network.pop("dims", [PAPER.network.width] * PAPER.network.layers)
    network |= {"width": widths[0], "layers": len(widths)}
    if SKIPS in entries:
        network["skip"] = converted(SKIPS, lambda value: _skips(value, len(widths)))
    optimizer, *of_latents = found["train"].pop("optimizers", [PAPER.optimizer])
    parts = {p: dataclasses.replace(getattr(PAPER, p), **found[p]) for p in ("network", "objective", "sampling")}
    config = dataclasses.replace(PAPER, optimizer=optimizer, **parts, **found["train"])
    space = OriginalShapeSpace(**found["space"], latent_optimizer=of_latents[0] if of_latents else None)
    left = sorted(set(entries) - set(SETTINGS) - {SKIPS})
    return OriginalConf(config, **found["file"], shape_space=space, warnings=tuple(map(_warning, left)))


def _warning(key: str) -> str:
    """One sentence about an entry that has no effect."""
    if key not in IGNORED:
        return f"unknown key {key} is ignored"
    return f"{key} has no effect here; {IGNORED[key]}".removesuffix("; ")


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
