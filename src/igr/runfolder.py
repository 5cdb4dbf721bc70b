"""Runs on disk: what a fit saves as it goes, and how it continues."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .config import Config
from .errors import InputError
from .files import locked, make_folder, remove_left_over, write_files
from .fit import FitState
from .inputs import read_small_text
from .saved import check_parameters
from .settings import parse_json
from .storage import read_tensors, tensor_bytes

if TYPE_CHECKING:
    from .shapespace import ShapeSpace
    from .surface import Surface


KEPT = 100
"""Checkpoints that a run folder holds at most: then every second one goes, but the newest."""


class RunFolder:
    """A run on disk, which can be moved: `config.json`, `model.safetensors` (surface or space),
    `state.safetensors` (all that a resumed run needs), `history.csv`, and saved models under
    `checkpoints/STEP.safetensors`, the older ones thinned out. See `open_run` for writing to it.

    Args:
        path: the folder; made when it is claimed or something is saved.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.written = False
        """Whether this process has saved something."""
        self.continued = False
        """Whether what is saved continues the run that was there."""
        self._lock: IO[str] | None = None

    def claim(self) -> None:
        """Keep other processes from writing to this folder until `release`, or until this one ends.

        Raises:
            InputError: another process has it, or it cannot be written to.
        """
        if self._lock is None:
            make_folder(self.path)
            self._lock = locked(self.path / "lock", f"the run folder {self.path}")
            for folder in (self.path, self.path / "checkpoints"):
                remove_left_over(folder)

    def release(self) -> None:
        """Let other processes write to it."""
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def save(self, model: Surface | ShapeSpace, state: FitState) -> None:
        """Write the model and the state of its fit; the previous ones stay until all the new ones are whole.

        Raises:
            InputError: the folder cannot be written to, or another process has it.
        """
        self.claim()
        checkpoints = make_folder(self.path / "checkpoints")
        progress = {k: v for k, v in dataclasses.asdict(state).items() if k != "history"}
        metadata = {"config": model.config.to_json(), "progress": json.dumps(progress)}
        metadata |= {"history": json.dumps(state.history), "source": model.source()}
        saved, newest = model.to_bytes(), checkpoints / f"{state.step:06d}.safetensors"
        write_files(
            {
                self.path / "state.safetensors": tensor_bytes(model.field.state(optimizer=True), metadata),
                newest: saved,
                self.path / "model.safetensors": saved,
                self.path / "config.json": (model.config.to_json() + "\n").encode(),
                self.path / "history.csv": _csv(state.history).encode(),
            }
        )
        others = sorted(path for path in checkpoints.glob("*.safetensors") if path != newest)
        if not self.written and not self.continued:  # a new run in an old folder: what is left is of another
            _remove(others)
        elif len(others) >= KEPT:
            _remove(others[1::2])
        self.written = True

    def load_state(self, model: Surface | ShapeSpace) -> FitState | None:
        """Where the run stands, its parameters and moments put into the model; None if nothing was saved yet.

        Raises:
            InputError: the folder holds a run of another configuration or on other data, or a damaged one.
        """
        path, config = self.path / "state.safetensors", model.config
        if not path.exists():
            return None
        tensors, metadata = read_tensors(path)
        try:
            saved = Config.from_json(metadata["config"])
            state = _fit_state(metadata)
        except (KeyError, TypeError, ValueError) as problem:
            raise InputError(f"{path} is damaged ({problem}); start anew in another folder") from None
        if dataclasses.replace(saved, steps=config.steps) != config:
            raise InputError(
                f"{self.path} holds a run with another configuration ({saved.preset}, seed {saved.seed}); "
                "resume it with the same options, or choose another --run folder"
            )
        if metadata.get("source", model.source()) != model.source():
            raise InputError(f"{self.path} holds a run on other data; choose another --run folder")
        try:
            own = model.field.state(optimizer=True)
            check_parameters(tensors, {name: value.shape for name, value in own.items()}, largest=1e30)
            model.field.load_state(tensors)
        except (KeyError, ValueError, RuntimeError) as problem:
            raise InputError(f"{path} does not fit its configuration ({problem}); use another folder") from None
        self.continued = True
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
        if which == "latest" and (self.path / "model.safetensors").exists():
            return self.path / "model.safetensors"
        found = sorted((self.path / "checkpoints").glob("*.safetensors"))
        for path in found:
            if which == "latest" or (which.isdigit() and int(path.stem) == int(which)):
                return found[-1] if which == "latest" else path
        known = ", ".join(str(int(path.stem)) for path in found if path.stem.isdigit()) or "none"
        raise InputError(f"{self.path} has no checkpoint {which!r}; there are: {known}")


@contextlib.contextmanager
def open_run(path: str | os.PathLike[str] | None, *, at_once: bool) -> Iterator[RunFolder | None]:
    """The run folder `path`, which no other process writes to meanwhile; None where there is no path.

    Args:
        path: the folder.
        at_once: claim it now, so that what is wrong with it is known before the work; else at the first save.

    Raises:
        InputError: another process has it, or it cannot be written to.
    """
    folder = None if path is None else RunFolder(path)
    try:
        if folder is not None and at_once:
            folder.claim()
        yield folder
    finally:
        if folder is not None:
            folder.release()


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
