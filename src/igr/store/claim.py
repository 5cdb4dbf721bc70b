"""Which folder a run gets, and what becomes of the run that is in it already."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import InputError
from .run import MODEL, STATE, FitState, Model, RunFolder, holds_run


@contextlib.contextmanager
def open_run(
    path: str | os.PathLike[str] | None, *, at_once: bool, resume: bool = False, overwrite: bool = False
) -> Iterator[RunFolder | None]:
    """The run folder `path`, which no other process writes to meanwhile; None where there is no path.

    Args:
        path: the folder, perhaps a `RunFolder`.
        at_once: claim it now, so that what is wrong with it is known before the work. Else it is claimed at the
            first save, and a path with a run in it is `numbered`.
        resume: a run that it holds is continued.
        overwrite: a run that it holds is replaced, at the first save.

    Raises:
        InputError: another process has it, or it cannot be written to, or as `check_run`.
    """
    folder = path if isinstance(path, RunFolder) or path is None else None
    if path is not None and folder is None:
        folder = RunFolder(path, numbered=not (at_once or overwrite))
    try:
        if folder is not None and at_once:
            folder.claim()
            check_run(folder, resume=resume, overwrite=overwrite)  # again, now that nobody else can save there
        yield folder
    finally:
        if folder is not None:
            folder.release()


def choose_folder(
    named: str | os.PathLike[str] | None, otherwise: str | os.PathLike[str], *, resume: bool, overwrite: bool
) -> RunFolder:
    """The run folder that was named; or else `otherwise`, `numbered` unless it is said what becomes of its run.

    Raises:
        InputError: as `check_run`.
    """
    numbered = named is None and not resume and not overwrite
    folder = RunFolder(otherwise if named is None else named, numbered=numbered)
    check_run(folder, resume=resume, overwrite=overwrite)
    return folder


def check_run(path: str | os.PathLike[str] | None, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder with a run in it, unless it is said what shall become of that.

    Raises:
        InputError: it holds a run; or there is nothing to resume it from; or both were said.
    """
    if resume and overwrite:
        raise InputError("--resume continues a run and --overwrite replaces it; give one of them")
    if path is None or overwrite or (isinstance(path, RunFolder) and path.numbered) or not holds_run(Path(path)):
        return
    folder = Path(path)
    if not resume:
        raise InputError(
            f"{folder} holds a run already: --resume continues it, --overwrite starts anew in its place; "
            "or choose another folder"
        )
    if not (folder / STATE).exists() and (folder / MODEL).exists():  # else: first saves, cut short
        raise InputError(
            f"{folder} holds models of a run, but no {STATE} to resume it from; --overwrite replaces it"
        )


def resumed(folder: RunFolder | None, model: Model) -> FitState | None:
    """The state to continue from, its parameters loaded into the model; None for a new run.

    Raises:
        InputError: there is no folder, or as `RunFolder.load_state`.
    """
    if folder is None:
        raise InputError("resuming needs the folder of the run: give --run DIR")
    return folder.load_state(model)


def saved_at_end(folder: RunFolder, model: Model, state: FitState, notify: Callable[[str], None]) -> str:
    """Save the finished run, or say why that is not possible: what was fitted is still worth having."""
    try:
        folder.save(model, state)
    except InputError as problem:
        notify(f"the run is not saved: {problem}")
        return str(problem)
    return ""
