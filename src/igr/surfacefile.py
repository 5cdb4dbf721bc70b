"""A saved surface, read back."""

from __future__ import annotations

import json
import os

from .config import Config
from .errors import InputError
from .field import make_field
from .frame import Frame
from .storage import read_tensors
from .surface import FORMAT, Surface


def read_surface(path: str | os.PathLike[str], *, device: str = "auto") -> Surface:
    """The surface that `Surface.save` wrote to `path`, see `Surface.load`.

    Raises:
        InputError: the file is missing, damaged, or no saved surface.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is no saved surface of this version (format {metadata.get('format')!r})")
    try:
        config = Config.from_json(metadata["config"])
        field = make_field(config, int(metadata["dimension"]), device=device)
        field.load_state({k[6:]: v for k, v in tensors.items() if k.startswith("field.")})
        field.set_detail(1.0)
        frame = Frame(tensors["frame.center"], float(tensors["frame.scale"][0]))
        samples, details = tensors["samples"], json.loads(metadata["details"])
    except (KeyError, IndexError, ValueError, RuntimeError) as problem:
        raise InputError(f"{path} is damaged or incomplete ({problem})") from None
    return Surface(field, frame, config, samples=samples, details=details)
