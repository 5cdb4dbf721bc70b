"""Folders of scans, and split files that say which of them are for training: the format of D-FAUST's users.

A scan is named by its path without suffix below the folder, such as 50002/hips/hips.000123. A split file is JSON,
{"scans": {SUBJECT: {MOTION: [FRAME, ...]}}}.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from ..errors import InputError
from ..settings import parse_json
from ..store.atomic import make_folder, read_small_text, write_bytes

SCAN_SUFFIXES = (
    *(".ply", ".obj", ".off", ".stl", ".glb", ".xyz", ".pts", ".npy", ".npz"),
    *(".las", ".laz", ".e57", ".pcd", ".ptx"),
)
"""Files that count as scans in a folder; text files of other names are rarely clouds."""


def list_scans(folder: str | os.PathLike[str], *, leave_out: Path | None = None) -> dict[str, Path]:
    """The scans below a folder, by name in order.

    Args:
        folder: with SUBJECT/MOTION/FRAME.ply below it or below its `scans`, as D-FAUST has it, or any other tree.
        leave_out: a folder not to look into.

    Raises:
        InputError: there is no such folder, no scan in it, or two files would have one name.
    """
    top = Path(folder)
    if not top.is_dir():
        raise InputError(f"{top}: there is no such folder")
    top = top / "scans" if (top / "scans").is_dir() else top
    scans: dict[str, Path] = {}
    for path in sorted(_files(top, leave_out)):
        name = scan_name(path.relative_to(top))
        if name in scans:
            raise InputError(f"{scans[name]} and {path.name} would get one name; keep only one of them")
        scans[name] = path
    if not scans:
        raise InputError(f"{top} has no scans in it; these are looked for: {' '.join(SCAN_SUFFIXES)}")
    return scans


def scan_name(path: Path) -> str:
    """A scan's name from its path below the folder; only the last suffix is cut: hips.000123.ply has a number."""
    return path.with_name(path.stem).as_posix()


def read_split(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names of the scans in a split file, in its order.

    Raises:
        InputError: the file is missing, no JSON, or of another form.
    """
    return tuple(dict.fromkeys(_names(parse_json(read_small_text(path), path), path)))


def write_split(path: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Write the names of scans as a split file; `read_split` gives them back, grouped."""
    scans: dict[str, dict[str, list[str]]] = {}
    for name in names:
        *folders, frame = PurePosixPath(name).parts
        subject, motion = (folders or ["."])[0], "/".join(folders[1:]) or "."
        scans.setdefault(subject, {}).setdefault(motion, []).append(frame)
    write_bytes(path, json.dumps({"scans": scans}, indent=1).encode())


def divide(
    names: Collection[str],
    *,
    by: Literal["scan", "subject"] = "scan",
    share: float = 0.75,
    seed: int = 0,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Scans for training and scans held back; at random, the same for the same seed.

    Args:
        names: of scans.
        by: `scan` holds back a share of every motion, `subject` all scans of some subjects.
        share: for training, in (0, 1).
        seed: of the choice.

    Raises:
        InputError: `share` is impossible, or leaves one side empty.
    """
    if not 0 < share < 1:
        raise InputError(f"the share for training is {share}; it must lie between 0 and 1")
    rng = np.random.default_rng(seed)
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(_folder(name) if by == "scan" else subject_of(name), []).append(name)
    units = [[name] for group in groups.values() for name in rng.permutation(group).tolist()]
    if by == "subject":
        units = [groups[subject] for subject in rng.permutation(sorted(groups)).tolist()]
    # Every 1/share-th unit is taken, so that each group of scans is divided alike.
    start = rng.random() if by == "scan" and len(units) > 8 else 0.5
    taken = np.diff(np.floor(np.arange(len(units) + 1) * share + start)) > 0
    sides = tuple(
        tuple(sorted(n for u, t in zip(units, taken, strict=True) if t == side for n in u)) for side in (1, 0)
    )
    if not sides[0] or not sides[1]:
        raise InputError(f"{len(units)} {by}s cannot be divided; one side would be empty")
    return sides[0], sides[1]


def split_folder(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    by: Literal["scan", "subject"] = "scan",
    share: float = 0.75,
    seed: int = 0,
) -> tuple[Path, Path]:
    """Divide the scans of a folder and write OUT/train_all.json and OUT/test_all.json; see `divide`.

    Raises:
        InputError: no scans, an impossible division, or a folder that cannot be written to.
    """
    sides = divide(list_scans(folder), by=by, share=share, seed=seed)
    files = (Path(out) / "train_all.json", Path(out) / "test_all.json")
    make_folder(out)
    for file, names in zip(files, sides, strict=True):
        write_split(file, names)
    return files


def choose(found: dict[str, Path], wanted: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Those of the scans found that a split names, and the names of which there is no file.

    Frames may carry their motion as prefix (hips.000123) in the split, in the folder, in both or in neither.
    """
    chosen: dict[str, Path] = {}
    missing = []
    for name in wanted:
        match = next((spelling for spelling in _spellings(name) if spelling in found), None)
        if match is None:
            missing.append(name)
        else:
            chosen[match] = found[match]
    return chosen, missing


def subject_of(name: str) -> str:
    """The first folder of a scan's name, or the name itself where there is none."""
    return PurePosixPath(name).parts[0]


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _files(top: Path, leave_out: Path | None) -> Iterator[Path]:
    """Scan files below `top`, through links to folders too, none twice; hidden ones are left aside."""
    entered = {os.path.realpath(leave_out)} if leave_out else set()
    for folder, below, files in os.walk(top, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            below.clear()
            continue
        entered.add(real)
        for file in files:
            if not file.startswith(".") and file.lower().endswith(SCAN_SUFFIXES):
                yield Path(folder, file)


def _names(values: Any, path: Any) -> Iterator[str]:
    """Names of scans in the JSON of a split, every level checked."""
    form = 'expected {"scans": {SUBJECT: {MOTION: [FRAME, ...]}}}'
    if not isinstance(values, dict) or not isinstance(values.get("scans"), dict):
        raise InputError(f"{path} is no split file; {form}")
    for subject, motions in values["scans"].items():
        if not isinstance(motions, dict):
            raise InputError(f"{path}: {subject} holds no motions; {form}")
        for motion, frames in motions.items():
            if not isinstance(frames, list) or not all(isinstance(frame, str) for frame in frames):
                raise InputError(f"{path}: {subject}, {motion} holds no list of frames; {form}")
            for frame in frames:
                name = PurePosixPath(subject, motion, frame)
                if ".." in name.parts or name.is_absolute() or not frame:
                    raise InputError(f"{path}: {str(name)!r} is no scan below a folder")
                yield name.as_posix()


def _spellings(name: str) -> Iterator[str]:
    yield name
    place = PurePosixPath(name)
    motion = place.parent.name
    if place.name.startswith(motion + "."):
        yield place.with_name(place.name.removeprefix(motion + ".")).as_posix()
    else:
        yield place.with_name(f"{motion}.{place.name}").as_posix()
