"""A saved shape space, read back; and checkpoints of the original implementation: `.pth` files with the weights
lin0 … linN, and its latent codes. Those are read with `weights_only=True`: a file cannot run code.
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
from importlib import resources
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from ..config import PAPER, PAPER_SPACE, Config, MLPConfig
from ..errors import InputError
from ..field.features import parameter_shapes
from ..field.networks import MLP
from ..machine import torch_device
from ..settings import parse_json
from ..store.atomic import check_file
from ..store.tensors import check_parameters, read_tensors
from ..surface.file import saved_details, saved_dimension
from ..surface.opening import SHIPPED, checkpoint_in, is_shipped
from .network import SpaceField, SpaceNetwork, make_network

FORMAT = "igr shape space 1"
"""First entry of a saved space's metadata."""


def read_space(
    path: str | os.PathLike[str], *, device: str = "auto", checkpoint: str = "latest"
) -> dict[str, Any]:
    """What a saved `ShapeSpace` is made of, by the names of its arguments; see `ShapeSpace.load`.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if is_shipped(path):
        with resources.as_file(resources.files("igr") / "data" / f"{SHIPPED}.safetensors") as shipped:
            return read_space(shipped, device=device)
    if is_original(path):
        return load_original(path, checkpoint=checkpoint, device=torch_device(device))
    if not os.path.exists(path):
        raise InputError(f"{path}: no such run or file; `bodies` is the space that is shipped")
    path = checkpoint_in(path, checkpoint) if os.path.isdir(path) else path
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is no saved shape space of this version (format {metadata.get('format')!r})")
    try:
        return parts_of(tensors, metadata, torch_device(device))
    except (KeyError, ValueError, RuntimeError) as problem:
        raise InputError(f"{path} is damaged or incomplete ({problem})") from None


def parts_of(tensors: dict[str, np.ndarray], entries: dict[str, str], device: str) -> dict[str, Any]:
    """What a space is made of, from the arrays and text entries of a file.

    What does not fit together raises an error.
    """
    config, dimension = Config.from_json(entries["config"]), saved_dimension(entries["dimension"])
    names, state = _names(entries["names"]), _space_state(tensors, config, dimension)
    if len(names) != len(state["latents"]):
        raise InputError(f"it has {len(names):,} names for {len(state['latents']):,} latents")
    network = SpaceNetwork(make_network(config, dimension), torch.tensor(state["latents"]))
    field = SpaceField(network, device=device, beta2=config.optimizer.beta2)
    field.load_state(state)
    return {
        "field": field,
        "config": config,
        "names": names,
        "scale": _length(entries["scale"]),
        "reach": _length(entries["reach"]),
        "details": saved_details(entries["details"]),
    }


def _space_state(tensors: dict[str, np.ndarray], config: Config, dimension: int) -> dict[str, np.ndarray]:
    """The parameters of a saved space, all there, of the right shapes, and finite."""
    if config.latents is None or not isinstance(config.network, MLPConfig):
        raise InputError("its configuration is not that of a shape space")
    state = {k[6:]: v.astype(np.float32) for k, v in tensors.items() if k.startswith("field.")}
    check_parameters(state, parameter_shapes(config, dimension))
    check_parameters(state, {"latents": (len(state["latents"]), config.latents.size)})
    return state


def _names(text: str) -> list[str]:
    names = parse_json(text, "its list of names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("its names are no list of names")
    return names


def _length(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise InputError(f"a length of it is {text[:20]!r}, expected a positive number")
    return float(text)


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
