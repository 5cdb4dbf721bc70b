"""Runs on disk: what a fit saves as it goes, and how it continues."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from ..config import Config
from ..errors import InputError, OutputError
from ..settings import parse_json
from .atomic import locked, make_folder, read_small_text, remove_left_over, write_files
from .tensors import check_parameters, read_tensors, tensor_bytes

STATE = "state.safetensors"
"""File of a run folder that decides what is resumed."""
MODEL = "model.safetensors"
"""File of a run folder that holds the model as it is now."""
KEPT = 100
"""Checkpoints that a run folder holds at most: then every second one goes, but the newest."""


@dataclass
class FitState:
    """Where a run stands; with the field's own state it is all that a resumed run needs."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Time spent fitting, over all sessions of the run."""
    recoveries: int = 0
    """Times the run stepped back from a divergence; the learning rate is halved each time."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One row a recorded step: step, seconds, learning rate, total loss and every term."""


class Model(Protocol):
    """What a run saves: a surface, or a shape space."""

    config: Config
    field: Any

    def source(self) -> str:
        """What it is fitted to; a run is resumed on the same only."""
        ...

    def to_bytes(self) -> bytes:
        """The saved model."""
        ...


class RunFolder:
    """A run on disk, which can be moved: `config.json`, `model.safetensors` (surface or space),
    `state.safetensors` (all that a resumed run needs), `history.csv`, and saved models under
    `checkpoints/STEP.safetensors`, the older ones thinned out. See `open_run` for writing to it.

    Args:
        path: the folder; made when it is claimed or something is saved.
        numbered: where it holds a run already, or is in use, the first free one of PATH-2, PATH-3, … is claimed
            instead, and `path` is that from then on.
    """

    def __init__(self, path: str | os.PathLike[str], *, numbered: bool = False) -> None:
        self.path = self.named = Path(path)
        self.numbered = numbered
        self.written = False
        """Whether this process has saved something."""
        self._own: set[str] | None = set()
        """Steps of this run that are saved, as long as there may be saved ones of another run beside them."""
        self._lock: IO[str] | None = None

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def claim(self) -> None:
        """Keep other processes from writing to this folder until `release`, or until this one ends.

        Raises:
            InputError: another process has it, or it cannot be written to.
        """
        if self._lock is not None:
            return
        self.path, self._lock = self._free_one() if self.numbered else (self.named, _lock(self.named))
        for folder in (self.path, self.path / "checkpoints"):
            remove_left_over(folder)

    def _free_one(self) -> tuple[Path, IO[str]]:
        """The first of the numbered folders that holds no run and is in nobody's use, and its lock."""
        for number in itertools.count(1):
            path = self.named if number == 1 else self.named.with_name(f"{self.named.name}-{number}")
            try:
                lock = _lock(path)
            except OutputError:
                raise
            except InputError:  # in use
                continue
            if not holds_run(path):
                return path, lock
            lock.close()
        raise AssertionError

    def release(self) -> None:
        """Let other processes write to it."""
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def save(self, model: Model, state: FitState) -> None:
        """Write the model and the state of its fit; the previous ones stay until all the new ones are whole.

        The state alone decides what is resumed. The saved model of its step is there before it, and the other
        files are replaced after it: if the process is killed between, they are those of the checkpoint before.
        A new run in the folder of another at last removes what is left of that.

        Raises:
            InputError: the folder cannot be written to, or another process has it.
        """
        self.claim()
        checkpoints = make_folder(self.path / "checkpoints")
        progress = {k: v for k, v in dataclasses.asdict(state).items() if k != "history"}
        metadata = {"config": model.config.to_json(), "progress": json.dumps(progress)}
        metadata |= {"history": json.dumps(state.history), "source": model.source()}
        metadata |= {} if self._own is None else {"beside_another_run": "perhaps"}
        saved, newest = model.to_bytes(), checkpoints / f"{state.step:06d}.safetensors"
        write_files(
            {
                newest: saved,
                self.path / STATE: tensor_bytes(model.field.state(optimizer=True), metadata),
                self.path / MODEL: saved,
                self.path / "config.json": (model.config.to_json() + "\n").encode(),
                self.path / "history.csv": _csv(state.history).encode(),
            }
        )
        others = sorted(path for path in checkpoints.glob("*.safetensors") if path != newest)
        if self._own is not None:
            _remove([path for path in others if path.stem not in self._own])
            for path in (self.path / "validation").glob("*"):
                if path.name not in self._own:
                    shutil.rmtree(path, ignore_errors=True)
            self._own = None
        elif len(others) >= KEPT:
            _remove(others[1::2])
        self.written = True

    def load_state(self, model: Model) -> FitState | None:
        """Where the run stands, its parameters and moments put into the model; None if nothing was saved yet.

        Raises:
            InputError: the folder holds a run of another configuration or on other data, or a damaged one.
        """
        path, config = self.path / STATE, model.config
        if not path.exists():
            return None
        tensors, metadata = read_tensors(path)
        try:
            saved = Config.from_json(metadata["config"])
            state = _fit_state(metadata)
        except (KeyError, TypeError, ValueError) as problem:
            raise InputError(f"{path} is damaged ({problem}); start anew in another folder") from None
        if metadata.get("source", model.source()) != model.source():  # first: configurations follow the cloud
            raise InputError(f"{self.path} holds a run on other data; choose another --run folder")
        if dataclasses.replace(saved, steps=config.steps) != config:
            raise InputError(
                f"{self.path} holds a run with another configuration ({saved.preset}, seed {saved.seed}); "
                "resume it with the same options, or choose another --run folder"
            )
        try:
            own = model.field.state(optimizer=True)
            check_parameters(tensors, {name: value.shape for name, value in own.items()}, largest=1e30)
            model.field.load_state(tensors)
        except (KeyError, ValueError, RuntimeError) as problem:
            raise InputError(f"{path} does not fit its configuration ({problem}); use another folder") from None
        self._own = {f"{state.step:06d}"} if "beside_another_run" in metadata else None
        return state

    def history(self) -> list[dict[str, float]]:
        """The recorded steps of the run, see `FitState.history`; none where the table is missing or damaged."""
        try:
            rows = list(csv.DictReader(io.StringIO(read_small_text(self.path / "history.csv"))))
            return [{k: float(v) for k, v in row.items() if v} for row in rows]
        except (InputError, ValueError, TypeError, csv.Error):
            return []

    def checkpoint(self, which: str = "latest") -> Path:
        """The saved surface of step `which` ("latest" or a number).

        Raises:
            InputError: there is no such checkpoint; the message lists those there are.
        """
        if which == "latest" and (self.path / MODEL).exists():
            return self.path / MODEL
        found = sorted((self.path / "checkpoints").glob("*.safetensors"))
        for path in found:
            if which == "latest" or (which.isdigit() and int(path.stem) == int(which)):
                return found[-1] if which == "latest" else path
        known = ", ".join(str(int(path.stem)) for path in found if path.stem.isdigit()) or "none"
        raise InputError(f"{self.path} has no checkpoint {which!r}; there are: {known}")


def holds_run(path: Path) -> bool:
    """Whether something of a run is there; one model alone is what a first save leaves that was cut short."""
    models = list((path / "checkpoints").glob("*.safetensors"))
    return any(map(os.path.lexists, (path / STATE, path / MODEL))) or len(models) > 1


def _lock(path: Path) -> IO[str]:
    return locked(make_folder(path) / "lock", f"the run folder {path}")


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _fit_state(metadata: dict[str, str]) -> FitState:
    """Where a saved run stands.

    Raises:
        KeyError, TypeError, ValueError: something is missing or makes no sense.
    """
    progress, history = parse_json(metadata["progress"], "progress"), parse_json(metadata["history"], "history")
    state = FitState(**progress, history=history)
    if type(state.step) is not int or type(state.recoveries) is not int or min(state.step, state.recoveries) < 0:
        raise ValueError("steps that cannot be counted")
    if type(state.seconds) not in (int, float) or not 0 <= state.seconds < 1e12:
        raise ValueError("an impossible time")
    if not all(isinstance(value, int | float) for row in history for value in row.values()):
        raise ValueError("a history that is no table of numbers")
    return state


def _csv(rows: list[dict[str, float]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
