"""What a path holds: a saved surface, a run, a shape space, a mesh."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..store.atomic import check_file
from ..store.run import RunFolder
from ..store.tensors import read_tensors

if TYPE_CHECKING:
    from ..mesh.triangles import Mesh
    from .surface import Surface


SHIPPED = "bodies"
"""Name of the shape space that is shipped."""


def is_shipped(path: str | os.PathLike[str]) -> bool:
    """Whether a path means the shipped space: it is `bodies`, and nothing here has that name. What is here is the
    user's."""
    return os.fspath(path) == SHIPPED and not os.path.lexists(path)


def checkpoint_in(folder: str | os.PathLike[str], which: str = "latest") -> Path:
    """The checkpoint of a run folder, see `RunFolder.checkpoint`; says how to reach the shipped space where a
    folder has its name.

    Raises:
        InputError: there is no such checkpoint.
    """
    try:
        return RunFolder(folder).checkpoint(which)
    except InputError as problem:
        if os.fspath(folder) != SHIPPED:
            raise
        raise InputError(
            f"{problem}. It comes before the shipped space of that name: rename it, or work in another folder"
        ) from None


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
    if not path.is_dir():
        check_file(path)
    if path.is_dir() or _is_safetensors(path):
        return load_model(path)
    from ..mesh.triangles import read_mesh

    mesh = read_mesh(path)
    if len(mesh[1]) == 0:
        raise InputError(f"{path} has points but no triangles; a mesh or a saved model is needed")
    return mesh


def is_space(path: str | os.PathLike[str]) -> bool:
    """Whether this is a shape space (a file, a run folder, the original's checkpoint, "bodies") and not
    one surface or mesh; it needs no torch to say so."""
    path = Path(path)
    if is_shipped(path) or path.suffix == ".pth":
        return True
    if path.is_dir():
        if any(path.rglob("*.pth")):
            return True
        path = checkpoint_in(path)
    return _is_safetensors(path) and read_tensors(path)[1].get("format", "").startswith("igr shape space")


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins like safetensors: the length of its header, then JSON."""
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return False
