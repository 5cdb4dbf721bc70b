"""Checkpoints of the original implementation: `.pth` files with the weights lin0 … linN, and its latent codes.

Read with `weights_only=True`: a file cannot run code.
"""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import pickletools
import re
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from .config import MLPConfig
from .errors import InputError
from .inputs import check_file
from .network import MLP
from .presets import PAPER, PAPER_SPACE
from .saved import check_parameters, parameter_shapes
from .spacefield import SpaceField, SpaceNetwork

BROKEN = (
    *(
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
    ),
    *(struct.error, AttributeError, ArithmeticError, AssertionError, NotImplementedError, MemoryError),
)
"""What zipfile and torch raise for files that are damaged, or that want to run code."""
NAMED = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"} | {
    f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int")
}
"""What the pickle in a file of tensors names."""
WEIGHTS, LATENTS = "ModelParameters", "LatentCodes"
"""Folders below the original's `checkpoints`."""


def is_original(path: str | os.PathLike[str]) -> bool:
    """Whether this is a checkpoint of the original: a `.pth` file, or a folder that has them."""
    path = Path(path)
    return path.suffix == ".pth" or _folder(path) is not None


def load_original(
    path: str | os.PathLike[str], *, checkpoint: str = "latest", device: str = "cpu"
) -> dict[str, Any]:
    """What the `ShapeSpace` in a checkpoint of the original is made of, by the names of its arguments.

    Args:
        path: `ModelParameters/EPOCH.pth`, or the folder that holds ModelParameters and perhaps LatentCodes (also
            its parents, up to the experiment's folder). Latent codes are optional: without them only new scans can
            be encoded.
        checkpoint: which one of a folder, "latest" or an epoch.
        device: where it computes.

    Raises:
        InputError: there is none, or it is damaged or of another network.
    """
    path = Path(path)
    folder = _folder(path)
    file = path if path.is_file() or folder is None else _chosen(folder, checkpoint)
    state = _state(_read(file, "model_state_dict"), file)
    network, size = _network(state, file)
    latents = torch.zeros(0, size)
    codes = file.parent.parent / LATENTS / file.name
    if file.parent.name == WEIGHTS and codes.is_file():
        values: Any = _read(codes, "latent_codes")
        values = values.get("weight") if isinstance(values, dict) else values
        latents = _numbers(values, codes)
        if latents.ndim != 2 or latents.shape[1] != size:
            raise InputError(f"{codes} holds latents {tuple(latents.shape)}, the network takes {size} numbers")
    config = dataclasses.replace(PAPER_SPACE, network=network.config)
    assert config.latents is not None
    config = dataclasses.replace(config, latents=dataclasses.replace(config.latents, size=size))
    field = SpaceField(SpaceNetwork(network, latents), device=device)
    names = tuple(f"shape{index:04d}" for index in range(len(latents)))
    parts = {"field": field, "config": config, "names": names, "details": {"original": file.name}}
    return parts | {"scale": 1.0, "reach": 1.0}


def _folder(path: Path) -> Path | None:
    """The `ModelParameters` folder in or below `path`."""
    if path.name == WEIGHTS and path.is_dir():
        return path
    return next(iter(sorted(path.glob(f"**/{WEIGHTS}"))), None) if path.is_dir() else None


def _chosen(folder: Path, checkpoint: str) -> Path:
    if (folder / f"{checkpoint}.pth").is_file():
        return folder / f"{checkpoint}.pth"
    epochs = sorted((p for p in folder.glob("*.pth") if p.stem.isdigit()), key=lambda p: int(p.stem))
    if checkpoint == "latest" and epochs:
        return epochs[-1]
    known = ", ".join(p.stem for p in epochs) or "none"
    raise InputError(f"{folder} has no checkpoint {checkpoint!r}; there are: {known}")


def _read(path: Path, entry: str) -> Any:
    """The entry of a `.pth` file, or its whole content where it is not wrapped."""
    check_file(path)
    try:
        _check_content(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except BROKEN as e:
        reason = str(e).splitlines()[0][:120] if str(e) else type(e).__name__
        raise InputError(f"{path} is no checkpoint of tensors alone, or damaged ({reason})") from None
    return content[entry] if isinstance(content, dict) and entry in content else content


def _check_content(path: Path) -> None:
    """Refuse, before torch sees it, an archive that unpacks to more than it is (torch does not pack), and a pickle
    that names more than tensors need: torch would refuse that too, but takes forever to word it.

    Raises:
        ValueError: it is so.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            for _ in range(5):  # magic number, version, machine, content, keys; the numbers follow
                _check_names(stream)
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        unpacked = sum(info.file_size for info in members)
        if unpacked > path.stat().st_size:
            raise ValueError(f"it would unpack to {unpacked:,} bytes")
        for info in members:
            if info.filename.endswith("/constants.pkl"):
                raise ValueError("it is a TorchScript program")
            if info.filename.endswith("/data.pkl"):
                _check_names(io.BytesIO(archive.read(info)))


def _check_names(stream: IO[bytes]) -> None:
    """Look at one pickle without loading it."""
    for code, name, _ in pickletools.genops(stream):
        if code.name in ("GLOBAL", "STACK_GLOBAL", "INST") and name not in NAMED:
            raise ValueError(f"it asks for {str(name)[:60]}")


def _numbers(value: Any, path: Path) -> Tensor:
    """A tensor in float32 that holds what it says, not one number shown many times, and is finite."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.device.type != "cpu":
        raise InputError(f"{path} holds something else than plain tensors")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InputError(f"{path} is damaged: a tensor {tuple(value.shape)} is larger than the file")
    if not value.is_floating_point() or not value.isfinite().all():
        raise InputError(f"{path} holds NaN or infinity, or no numbers")
    return value.detach().float()


def _state(values: Any, path: Path) -> dict[str, Tensor]:
    """Weights by name, without the prefix that DataParallel puts before them."""
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no weights by name")
    state = {re.sub(r"^(module\.)+", "", str(name)): _numbers(value, path) for name, value in values.items()}
    unknown = [name for name in state if not re.fullmatch(r"lin\d+\.(weight|bias)", name)]
    if unknown or "lin0.weight" not in state:
        raise InputError(
            f"{path} is of another network: expected lin0 … linN, found {str((unknown or list(state))[:1])[:80]}"
        )
    return state


def _network(state: dict[str, Tensor], path: Path) -> tuple[MLP, int]:
    """The network that the weights belong to, and the length of its latents."""
    last = sum(name.endswith(".weight") for name in state) - 1
    try:
        sizes = [tuple(state[f"lin{index}.weight"].shape) for index in range(last + 1)]
        width, inputs = sizes[1][1], sizes[0][1]
        skip = tuple(i for i in range(1, last + 1) if sizes[i - 1][0] != sizes[i][1])
        size = inputs - 3
        config = MLPConfig(width=sizes[0][0] if 1 not in skip else width, layers=last, skip=skip)
        plain = dataclasses.replace(PAPER, network=config)
        check_parameters({k: v.numpy() for k, v in state.items()}, parameter_shapes(plain, inputs))
        network = MLP(config, 3, latent=size)
        network.load_state_dict(state)
    except (KeyError, IndexError, RuntimeError, ValueError) as problem:
        reason = str(problem).splitlines()[0][:120]
        raise InputError(f"{path} does not fit the network of the original ({reason})") from None
    return network, size
