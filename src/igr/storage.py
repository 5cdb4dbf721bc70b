"""Files that igr itself writes and reads: models and run folders. Whole or not at all, and never a pickle."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .config import Config
from .errors import InputError
from .fit import FitState

if TYPE_CHECKING:
    from .shapespace import ShapeSpace
    from .surface import Surface
    from .triangles import Mesh


def write_tensors(path: str | os.PathLike[str], tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write arrays and text to a safetensors file, under a temporary name until it is whole."""
    from safetensors.numpy import save

    data = save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata)
    write_bytes(path, data)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`, under a temporary name until it is whole and on the disk."""
    temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and text of a safetensors file.

    Raises:
        InputError: the file is missing, unreadable or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as problem:
        raise InputError(f"{path} is no saved model, or damaged ({problem})") from None


class RunFolder:
    """A run on disk, which can be moved: `config.json`, `model.safetensors` (surface or space),
    `state.safetensors` (all that a resumed run needs), `history.csv`, and every saved model under
    `checkpoints/STEP.safetensors`.

    Args:
        path: the folder; made when something is saved.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.written = False

    def save(self, model: Surface | ShapeSpace, state: FitState) -> None:
        """Write the model and the state of its fit; the previous ones stay until the new ones are whole."""
        checkpoints = self.path / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        progress = {k: v for k, v in dataclasses.asdict(state).items() if k != "history"}
        metadata = {"config": model.config.to_json(), "progress": json.dumps(progress)}
        metadata["history"] = json.dumps(state.history)
        write_tensors(self.path / "state.safetensors", model.field.state(optimizer=True), metadata)
        model.save(checkpoints / f"{state.step:06d}.safetensors")
        model.save(self.path / "model.safetensors")
        write_bytes(self.path / "config.json", (model.config.to_json() + "\n").encode())
        write_bytes(self.path / "history.csv", _csv(state.history).encode())
        self.written = True

    def load_state(self, config: Config) -> tuple[dict[str, np.ndarray], FitState] | None:
        """The field's state and the run's, or None if nothing was saved yet.

        Raises:
            InputError: the folder holds a run of another configuration, or a damaged one.
        """
        path = self.path / "state.safetensors"
        if not path.exists():
            return None
        tensors, metadata = read_tensors(path)
        try:
            saved = Config.from_json(metadata["config"])
            state = FitState(**json.loads(metadata["progress"]), history=json.loads(metadata["history"]))
        except (KeyError, TypeError, ValueError) as problem:
            raise InputError(f"{path} is damaged ({problem}); start anew in another folder") from None
        if dataclasses.replace(saved, steps=config.steps) != config:
            raise InputError(
                f"{self.path} holds a run with another configuration ({saved.preset}, seed {saved.seed}); "
                "resume it with the same options, or choose another --run folder"
            )
        return tensors, state

    def history(self) -> list[dict[str, float]]:
        """The recorded steps of the run, see `FitState.history`; none where the table is missing or damaged."""
        try:
            with (self.path / "history.csv").open(newline="") as file:
                return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        except (OSError, ValueError):
            return []

    def checkpoint(self, which: str = "latest") -> Path:
        """The saved surface of step `which` ("latest" or a number).

        Raises:
            InputError: there is no such checkpoint; the message lists those there are.
        """
        if which == "latest" and (self.path / "model.safetensors").exists():
            return self.path / "model.safetensors"
        found = sorted((self.path / "checkpoints").glob("*.safetensors"))
        for path in found:
            if which == "latest" or (which.isdigit() and int(path.stem) == int(which)):
                return found[-1] if which == "latest" else path
        known = ", ".join(str(int(path.stem)) for path in found if path.stem.isdigit()) or "none"
        raise InputError(f"{self.path} has no checkpoint {which!r}; there are: {known}")


def load_model(path: str | os.PathLike[str], *, checkpoint: str = "latest", device: str = "auto") -> Surface:
    """The surface of a saved model, or of a run folder's checkpoint.

    Raises:
        InputError: there is none, or it is damaged.
    """
    from .surface import Surface

    path = Path(path)
    if not path.is_dir():
        return Surface.load(path, device=device)
    surface = Surface.load(RunFolder(path).checkpoint(checkpoint), device=device)
    surface.history = RunFolder(path).history()
    return surface


def load_shape(path: str | os.PathLike[str]) -> Surface | Mesh:
    """The surface of a saved model or run folder, or else the triangles of a mesh file.

    Raises:
        InputError: it is neither, or damaged, or has no triangles.
    """
    path = Path(path)
    if path.is_dir() or _is_safetensors(path):
        return load_model(path)
    from .triangles import read_mesh

    mesh = read_mesh(path)
    if len(mesh[1]) == 0:
        raise InputError(f"{path} has points but no triangles; a mesh or a saved model is needed")
    return mesh


def is_space(path: str | os.PathLike[str]) -> bool:
    """Whether this is a shape space (a file, a run folder, the original's checkpoint, "bodies") and not
    one surface or mesh; it needs no torch to say so."""
    path = Path(path)
    if str(path) == "bodies" or path.suffix == ".pth":
        return True
    if path.is_dir():
        if any(path.rglob("*.pth")):
            return True
        path = RunFolder(path).checkpoint()
    return _is_safetensors(path) and read_tensors(path)[1].get("format", "").startswith("igr shape space")


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins like safetensors: the length of its header, then JSON."""
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return False


def _csv(rows: list[dict[str, float]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
