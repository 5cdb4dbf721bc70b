"""What hostile files are made of."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .mutations import seal
from .sound import npy, sound, table, text

MARKER = "igr-ran-this"
"""A file or folder that code in a hostile file would make."""
Place = Callable[[Path], Path]


class Trap:
    """Leaves the mark where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (MARKER,)


def file(name: str, content: Callable[[], bytes]) -> Place:
    def place(folder: Path) -> Path:
        (folder / name).write_bytes(content())
        return folder / name

    return place


def torch_file(content: object, **options: bool) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def trapped_zip(name: str) -> bytes:
    """A checkpoint in torch's archive whose data.pkl runs code."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{name}/data.pkl", pickle.dumps({"model_state_dict": Trap()}))
        archive.writestr(f"{name}/version", "3")
    return stream.getvalue()


def bomb(name: str, header: bytes, megabytes: int, *, dishonest: bool = False) -> bytes:
    """An archive whose one member unpacks to so many MB of zeros; a `dishonest` one says that it is hardly packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(header) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = start + megabytes * block + packer.flush()
    size, said = len(header) + (megabytes << 20), 0xFFFFFFF0 if dishonest else len(packed)
    sizes = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0, 0, said, size)[2:]
    local = b"PK\3\4" + struct.pack("<H", 20) + sizes + struct.pack("<HH", len(name), 0) + name.encode()
    central = b"PK\1\2" + struct.pack("<HH", 20, 20) + sizes
    central += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name.encode()
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local) + len(packed), 0)
    return local + packed + central + end


def npy_header(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    return header.getvalue()


def huge_weights() -> bytes:
    """Weights that are one number each in the file, and 10^12 in memory once they are copied."""
    import torch

    one = torch.zeros(1)
    state = {f"lin{i}.weight": one.expand(1_000_000, 1_000_000) for i in range(9)}
    state |= {f"lin{i}.bias": one.expand(1_000_000) for i in range(9)}
    return torch_file({"epoch": 1, "model_state_dict": state})


def large_model(**entries: object) -> bytes:
    """A small model whose configuration asks for a large network."""
    data = sound("model").files["a.igr"]
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    texts = header["__metadata__"]
    config = json.loads(texts["config"])
    config["network"] |= entries
    texts["config"] = json.dumps(config)
    seal(texts, data[start:])
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[start:]


def linked(target: str, name: str) -> Place:
    def place(folder: Path) -> Path:
        (folder / name).symlink_to(target)
        return folder / name

    return place


def pipe(name: str) -> Place:
    def place(folder: Path) -> Path:
        os.mkfifo(folder / name)
        return folder / name

    return place


def folder(name: str) -> Place:
    def place(folder: Path) -> Path:
        (folder / name).mkdir()
        return folder / name

    return place


def loop_of_folders(folder: Path) -> Path:
    """Scans below a folder that holds itself, a dangling link, a pipe and a device."""
    scans = folder / "src" / "scans" / "a"
    scans.mkdir(parents=True)
    (scans / "b.xyz").write_bytes(text(table()))
    (scans / "again").symlink_to(folder / "src")
    (scans / "gone.xyz").symlink_to(folder / "nowhere.xyz")
    (scans / "zero.npy").symlink_to("/dev/zero")
    os.mkfifo(scans / "pipe.ply")
    return folder


def named(name: bytes) -> Place:
    """A sound cloud of that name."""

    def place(folder: Path) -> Path:
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        path.write_bytes(text(table()))
        return path

    return place


def run_of(name: str, place: Place) -> Place:
    """A run folder in which something else stands for one file."""

    def made(folder: Path) -> Path:
        whole = sound("run folder")
        for file, content in whole.files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            if file != f"run/{name}":
                (folder / file).write_bytes(content)
        place(folder / "run")
        return folder / "run"

    return made


def climbing() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"../{MARKER}", b"x")
        archive.writestr(f"/tmp/{MARKER}", b"x")
        archive.writestr("points.npy", npy(table()))
    return stream.getvalue()


def laughs() -> bytes:
    """Each line ten times the one before."""
    lines = ["a0 = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i + 1} = " + " ".join([f"${{a{i}}}"] * 10) for i in range(9)]
    return "\n".join(lines).encode()


def elsewhere(address: str) -> bytes:
    tree = json.loads(sound("gltf").files["model.gltf"])
    for buffer in tree["buffers"]:
        buffer["uri"] = address
    return json.dumps(tree).encode()


def gltf_tree() -> dict:
    """The tree of a sound glTF, with its buffers inside."""
    whole = sound("gltf").files
    tree = json.loads(whole["model.gltf"])
    for buffer in tree["buffers"]:
        buffer["uri"] = "data:application/octet-stream;base64," + base64.b64encode(whole[buffer["uri"]]).decode()
    return tree


def zeros() -> bytes:
    tree = gltf_tree()
    for accessor in tree["accessors"]:
        accessor.pop("bufferView")
        accessor["count"] = 10**9
    return json.dumps(tree).encode()


def shown_often() -> bytes:
    tree = gltf_tree()
    node = next(index for index, node in enumerate(tree["nodes"]) if "mesh" in node)
    first = len(tree["nodes"])
    tree["nodes"] += [{"mesh": tree["nodes"][node]["mesh"], "name": f"n{i}"} for i in range(100_000)]
    tree["scenes"][0]["nodes"] += list(range(first, first + 100_000))
    return json.dumps(tree).encode()


def beside_a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    (folder / "a.gltf").write_bytes(elsewhere("pipe"))
    return folder / "a.gltf"
