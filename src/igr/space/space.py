"""A shape space: many shapes as one network f(x; z) with a latent z for each (section 4 of the paper).

The space's unit frame has a training scan's center at the origin; `scale` is its unit in the scans' units.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from ..cloud.frame import Frame
from ..cloud.shown import Shown
from ..config import FAST_SPACE, SPACE_PRESETS, Config, MLPConfig
from ..errors import InputError, usual_arithmetic
from ..field.torch_field import TorchField
from ..store.atomic import write_bytes
from ..store.tensors import tensor_bytes
from ..surface.surface import Surface
from .encode import EncodeOptions, Encoding, encode
from .files import FORMAT, parts_of, read_space
from .network import SpaceField, turn_places, whereabouts
from .training import TrainingOptions, begun, train

if TYPE_CHECKING:
    from ..fit.loop import Progress


class ShapeSpace(Shown):
    """A trained shape space: `encode` scans, `decode` latents, and go from one shape to another. It can be copied
    and pickled, for other processes too; a copy shares nothing with the original.

    Args:
        field: the trained field.
        config: what it was trained with.
        names: of the training shapes, one for each latent.
        scale: length of the unit frame in the scans' units.
        reach: how far the training shapes reach from their centers, in the scans' units.
        details: how it was trained, and on what.
    """

    def __init__(
        self,
        field: SpaceField,
        config: Config,
        *,
        names: Sequence[str],
        scale: float,
        reach: float,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.field, self.config, self.names = field, config, tuple(names)
        self.scale, self.reach = scale, reach
        self.details = {} if details is None else details
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        """Time of the training; not saved with the space, so that equal spaces are equal files."""

    @staticmethod
    def train(
        data: str | os.PathLike[str],
        *,
        config: Config | str = FAST_SPACE,
        options: TrainingOptions | None = None,
        on_step: Callable[[Progress, ShapeSpace], bool | None] | None = None,
    ) -> ShapeSpace:
        """Train a shape space on a folder of samples, as `igr dfaust preprocess` writes them.

        Args:
            data: the folder; every `.npy` below it is a shape, points (n, 3) or with normals (n, 6), centered.
            config: a `Config` with latents, or the name of a preset, "fast" or "paper".
            options: split, budget in seconds, device, run folder.
            on_step: told after every step, with the space; the run stops, saved, when it returns True.

        Raises:
            InputError: the folder holds no usable samples, or the configuration is of one shape.
            FitError: the training diverged.
        """
        if isinstance(config, str):
            if config not in SPACE_PRESETS:
                raise InputError(f"there is no preset {config!r}; known are {', '.join(SPACE_PRESETS)}")
            config = SPACE_PRESETS[config]
        if config.latents is None or not isinstance(config.network, MLPConfig):
            raise InputError("the configuration is that of one surface; a shape space needs latents, and an MLP")
        options = options or TrainingOptions()
        scans, parts = begun(data, config, options)
        return train(ShapeSpace(**parts), scans, options, on_step=on_step)

    @property
    def dimension(self) -> int:
        """2 for curves in the plane, 3 for surfaces in space."""
        return self.field.dimension

    @property
    def latents(self) -> Float[np.ndarray, "s z"]:
        """The latents of the training shapes, in the order of `names`."""
        return self.field.space.latents.detach().cpu().numpy()

    @property
    def residual(self) -> float:
        """Mean distance of the training shapes' points to their surfaces at the end of the training, in the scans'
        units; 0 where that is not known."""
        training = self.details.get("training")
        value = training.get("residual") if isinstance(training, dict) else None
        return float(value) if isinstance(value, int | float) and value > 0 else 0.0

    def principal(self) -> tuple[Float[np.ndarray, " z"], Float[np.ndarray, "c z"]]:
        """Mean of the training latents, and directions along which they vary by one standard deviation each, the
        strongest first. Without training shapes: zero, and what the paper draws new latents from."""
        latents, size = self.latents.astype(np.float64), self.field.space.latents.shape[1]
        if len(latents) < 2:
            return np.zeros(size), np.eye(size) / np.sqrt(256)
        mean = latents.mean(0)
        _, strength, directions = np.linalg.svd(latents - mean, full_matrices=False)
        strength /= np.sqrt(len(latents))
        kept = strength > 1e-3 * max(strength[0], 1e-12)
        return mean, (strength[:, None] * directions)[kept] if kept.any() else np.eye(size) / np.sqrt(256)

    def sample(self, count: int, *, seed: int = 0) -> Float[np.ndarray, "n z"]:
        """So many new latents, drawn from the normal distribution that the training latents have.

        Args:
            count: how many, at least 1.
            seed: of the draw.

        Raises:
            InputError: `count` is less than 1.
        """
        if count < 1:
            raise InputError(f"{count} shapes cannot be drawn; ask for 1 or more")
        mean, directions = self.principal()
        return mean + np.random.default_rng([seed, 12]).standard_normal((count, len(directions))) @ directions

    def encode(self, scan: Any, options: EncodeOptions | None = None) -> Encoding:
        """The latent of one scan, complete or partial, with or without normals; see `encode_all`."""
        return self.encode_all([scan], options)[0]

    @usual_arithmetic
    def encode_all(self, scans: Sequence[Any], options: EncodeOptions | None = None) -> list[Encoding]:
        """The latents of many scans, fitted together with the network frozen.

        Args:
            scans: paths, arrays (n, d | 2d) or `PointCloud`s, in any units and place.
            options: steps, pose, units, seed.

        Raises:
            InputError: a scan cannot be used.
        """
        return encode(self, scans, options)

    @usual_arithmetic
    def decode(self, shape: Encoding | Float[np.ndarray, " z"] | str, *, frame: Frame | None = None) -> Surface:
        """The surface of a latent, of an encoded scan (in its frame and units), or of a training shape by name.

        Args:
            shape: what to decode.
            frame: where to put a bare latent; by default the training scans' units, its center at the origin.

        Raises:
            InputError: there is no training shape of that name.
        """
        if isinstance(shape, str):
            shape = self.latent(shape)
        if not isinstance(shape, Encoding):
            place = frame or Frame(np.zeros(self.dimension), self.scale)
            shape = Encoding(np.asarray(shape, float), place, np.eye(self.dimension))
        network = self.field.space.network.decode(torch.as_tensor(shape.latent))
        turn_places(network, torch.as_tensor(shape.turn))
        config = dataclasses.replace(self.config, latents=None)
        field = TorchField(network, device=str(self.field.device), beta2=config.optimizer.beta2)
        details = {"latent": [round(float(value), 6) for value in shape.latent]}
        return Surface(field, shape.frame, config, samples=whereabouts(field), details=details)

    def latent(self, name: str) -> Float[np.ndarray, " z"]:
        """The latent of a training shape.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self.names:
            known = ", ".join(self.names[:6]) + (", …" if len(self.names) > 6 else "")
            raise InputError(f"there is no training shape {name!r}; there are {known or 'none'}")
        return self.latents[self.names.index(name)]

    def interpolate(
        self, first: Encoding | np.ndarray | str, second: Encoding | np.ndarray | str, *, steps: int = 8
    ) -> Iterator[Surface]:
        """Surfaces along the straight line between two latents, both ends included, in the first one's frame.

        Args:
            first: an encoded scan, a latent, or the name of a training shape.
            second: likewise.
            steps: how many surfaces, at least 2.
        """
        yield from map(self.decode, self.between(first, second, steps=steps))

    def between(
        self, first: Encoding | np.ndarray | str, second: Encoding | np.ndarray | str, *, steps: int = 8
    ) -> list[Encoding]:
        """The encodings that `interpolate` decodes, in the first one's frame."""
        if not isinstance(steps, int | np.integer) or steps < 2:
            raise InputError(f"an interpolation has at least its 2 ends, not {steps} shapes")
        ends = [shape if isinstance(shape, Encoding) else self._placed(shape) for shape in (first, second)]
        latents = [(1 - t) * ends[0].latent + t * ends[1].latent for t in np.linspace(0, 1, steps)]
        return [dataclasses.replace(ends[0], latent=latent) for latent in latents]

    def _placed(self, shape: np.ndarray | str) -> Encoding:
        latent = self.latent(shape) if isinstance(shape, str) else np.asarray(shape, float)
        return Encoding(latent, Frame(np.zeros(self.dimension), self.scale), np.eye(self.dimension))

    def save(self, path: str | os.PathLike[str], *, half: bool = False) -> None:
        """Write everything to one file (safetensors, no pickle); with `half` in half precision, half as large."""
        write_bytes(path, self.to_bytes(half=half))

    def to_bytes(self, *, half: bool = False) -> bytes:
        """The saved file: the same bytes for the same space."""
        return tensor_bytes(*self._contents(half=half))

    def _contents(self, *, half: bool = False) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """The arrays and the text entries of the file."""
        tensors = {f"field.{k}": v.astype(np.float16 if half else v.dtype) for k, v in self.field.state().items()}
        metadata = {
            "format": FORMAT,
            "dimension": str(self.dimension),
            "config": self.config.to_json(),
            "names": json.dumps(self.names),
            "scale": repr(self.scale),
            "reach": repr(self.reach),
            "details": json.dumps(self.details),
        }
        return tensors, metadata

    def __copy__(self) -> ShapeSpace:
        return copy.deepcopy(self)

    def __reduce__(self) -> tuple[Any, ...]:
        told = {"history": list(self.history), "seconds": self.seconds}
        return _restored, (*self._contents(), str(self.field.device)), told

    def __repr__(self) -> str:
        shapes, numbers = self.latents.shape
        kind = "surfaces" if self.dimension == 3 else "curves"
        return f"<igr.ShapeSpace of {kind}: {shapes:,} training shapes, latents of {numbers} numbers>"

    def source(self) -> str:
        """What the space was trained on: the names of the shapes as a checksum, their number, scale and reach."""
        names = zlib.crc32(json.dumps(self.names).encode())
        return f"{names:08x} {len(self.names)} {self.scale!r} {self.reach!r}"

    @staticmethod
    def load(path: str | os.PathLike[str], *, device: str = "auto", checkpoint: str = "latest") -> ShapeSpace:
        """A saved space.

        Args:
            path: the file, a run folder, a checkpoint of the original implementation (`.pth`, or a folder that
                has some), or "bodies" (the shipped space of human bodies, unless there is a file or folder of that
                name here).
            device: "auto", "cpu" or a torch device.
            checkpoint: which one of a folder, "latest" or a number.

        Raises:
            InputError: there is none, or it is damaged.
        """
        return ShapeSpace(**read_space(path, device=device, checkpoint=checkpoint))


def _restored(tensors: dict[str, np.ndarray], entries: dict[str, str], device: str) -> ShapeSpace:
    return ShapeSpace(**parts_of(tensors, entries, device))
