"""Files made by someone who means harm, and things that are no files at all."""

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
from .sound import CONF, npy, npz, sound, table, text

MARKER = "igr-ran-this"
"""A file or folder that code in a hostile file would make."""
Place = Callable[[Path], Path]


class Trap:
    """Leaves the mark where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (MARKER,)


def _file(name: str, content: Callable[[], bytes]) -> Place:
    def place(folder: Path) -> Path:
        (folder / name).write_bytes(content())
        return folder / name

    return place


def _torch_file(content: object, **options: bool) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def _trapped_zip(name: str) -> bytes:
    """A checkpoint in torch's archive whose data.pkl runs code."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{name}/data.pkl", pickle.dumps({"model_state_dict": Trap()}))
        archive.writestr(f"{name}/version", "3")
    return stream.getvalue()


def _bomb(name: str, header: bytes, megabytes: int, *, dishonest: bool = False) -> bytes:
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


def _npy_header(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    return header.getvalue()


def _huge_weights() -> bytes:
    """Weights that are one number each in the file, and 10^12 in memory once they are copied."""
    import torch

    one = torch.zeros(1)
    state = {f"lin{i}.weight": one.expand(1_000_000, 1_000_000) for i in range(9)}
    state |= {f"lin{i}.bias": one.expand(1_000_000) for i in range(9)}
    return _torch_file({"epoch": 1, "model_state_dict": state})


def _large_model(**entries: object) -> bytes:
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


def _linked(target: str, name: str) -> Place:
    def place(folder: Path) -> Path:
        (folder / name).symlink_to(target)
        return folder / name

    return place


def _pipe(name: str) -> Place:
    def place(folder: Path) -> Path:
        os.mkfifo(folder / name)
        return folder / name

    return place


def _folder(name: str) -> Place:
    def place(folder: Path) -> Path:
        (folder / name).mkdir()
        return folder / name

    return place


def _loop_of_folders(folder: Path) -> Path:
    """Scans below a folder that holds itself, a dangling link, a pipe and a device."""
    scans = folder / "src" / "scans" / "a"
    scans.mkdir(parents=True)
    (scans / "b.xyz").write_bytes(text(table()))
    (scans / "again").symlink_to(folder / "src")
    (scans / "gone.xyz").symlink_to(folder / "nowhere.xyz")
    (scans / "zero.npy").symlink_to("/dev/zero")
    os.mkfifo(scans / "pipe.ply")
    return folder


def _named(name: bytes) -> Place:
    """A sound cloud of that name."""

    def place(folder: Path) -> Path:
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        path.write_bytes(text(table()))
        return path

    return place


def _run_of(name: str, place: Place) -> Place:
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


SUFFIXES = {
    "cloud": ("xyz", "csv", "npy", "npz", "ply", "obj", "glb", "stl", "off"),
    "mesh": ("ply", "obj", "glb", "stl", "off"),
    "model": ("igr",),
    "space": ("safetensors", "pth"),
    "conf": ("conf",),
    "split": ("json",),
    "samples": ("npy",),
    "grid": ("npz",),
}
"""What stands in for a file is tried under every name that the readers take."""
STAND_INS: dict[str, Callable[[str], Place]] = {
    "a pipe": _pipe,
    "a folder": _folder,
    "a link to itself": lambda name: _linked(name, name),
    "a link to nothing": lambda name: _linked("nowhere", name),
    "/dev/zero": lambda name: _linked("/dev/zero", name),
    "/dev/full": lambda name: _linked("/dev/full", name),
    "/dev/null": lambda name: _linked("/dev/null", name),
    "a pickle": lambda name: _file(name, lambda: pickle.dumps({"points": Trap(), "model_state_dict": Trap()})),
    "an archive of a pickle": lambda name: _file(name, lambda: _trapped_zip("archive")),
    "a torch file with code": lambda name: _file(name, lambda: _torch_file({"model_state_dict": Trap()})),
    "nothing": lambda name: _file(name, lambda: b""),
    "4 MB of '['": lambda name: _file(name, lambda: b"[" * 4_000_000),
    "4 MB of '{\"a\":'": lambda name: _file(name, lambda: b'{"a":' * 800_000),
    "4 MB of zeros": lambda name: _file(name, lambda: bytes(4_000_000)),
    "4 MB on one line": lambda name: _file(name, lambda: b"1 " * 2_000_000),
    "4 MB of lines": lambda name: _file(name, lambda: b"\n" * 4_000_000),
}

NAMES = (
    *(
        b"a b.xyz",
        b"-o.xyz",
        b"--help.xyz",
        b"a\nb.xyz",
        b"\x1b[31mred\x1b[0m.xyz",
        b"caf\xc3\xa9 \xe7\x82\xb9.xyz",
    ),
    *(b"\xff\xfe.xyz", b"<img src=x onerror=alert(1)>.xyz", b"%s%n{0}.xyz", b"$(touch x).xyz", b"~.xyz", b"*.xyz"),
    *(b"a" * 200 + b".xyz", b"con.xyz", b".xyz.xyz", "\u202egnp.xyz".encode()),
)


def _climbing() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"../{MARKER}", b"x")
        archive.writestr(f"/tmp/{MARKER}", b"x")
        archive.writestr("points.npy", npy(table()))
    return stream.getvalue()


def _laughs() -> bytes:
    """Each line ten times the one before."""
    lines = ["a0 = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i + 1} = " + " ".join([f"${{a{i}}}"] * 10) for i in range(9)]
    return "\n".join(lines).encode()


def _elsewhere(address: str) -> bytes:
    tree = json.loads(sound("gltf").files["model.gltf"])
    for buffer in tree["buffers"]:
        buffer["uri"] = address
    return json.dumps(tree).encode()


def _gltf_tree() -> dict:
    """The tree of a sound glTF, with its buffers inside."""
    whole = sound("gltf").files
    tree = json.loads(whole["model.gltf"])
    for buffer in tree["buffers"]:
        buffer["uri"] = "data:application/octet-stream;base64," + base64.b64encode(whole[buffer["uri"]]).decode()
    return tree


def _zeros() -> bytes:
    tree = _gltf_tree()
    for accessor in tree["accessors"]:
        accessor.pop("bufferView")
        accessor["count"] = 10**9
    return json.dumps(tree).encode()


def _shown_often() -> bytes:
    tree = _gltf_tree()
    node = next(index for index, node in enumerate(tree["nodes"]) if "mesh" in node)
    first = len(tree["nodes"])
    tree["nodes"] += [{"mesh": tree["nodes"][node]["mesh"], "name": f"n{i}"} for i in range(100_000)]
    tree["scenes"][0]["nodes"] += list(range(first, first + 100_000))
    return json.dumps(tree).encode()


def _beside_a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    (folder / "a.gltf").write_bytes(_elsewhere("pipe"))
    return folder / "a.gltf"


SPECIAL: dict[str, tuple[str, Place]] = {
    "npz: 40 GB of zeros": ("cloud", _file("a.npz", lambda: _bomb("points.npy", _npy_header((10**9, 3)), 300))),
    "npz: 1.5 GB, packed 200 times": (
        "cloud",
        _file("a.npz", lambda: _bomb("points.npy", _npy_header((1_500_000_000 // 24, 3)), 1500, dishonest=True)),
    ),
    "npz: 250 MB of bytes that become 2 GB": (
        "cloud",
        _file("a.npz", lambda: _bomb("points.npy", _npy_header((83_000_000, 3), "|u1"), 249)),
    ),
    "npz: grid of 3 GB": (
        "grid",
        _file("a.npz", lambda: _bomb("values.npy", _npy_header((750, 1000, 1000), "<f4"), 2900)),
    ),
    "npz: names that climb out": ("cloud", _file("a.npz", _climbing)),
    "npy: objects": ("cloud", _file("a.npy", lambda: npy(np.array([Trap(), 1], object), allow_pickle=True))),
    "npz: objects": ("cloud", _file("a.npz", lambda: npz(points=np.array([Trap(), 1], object)))),
    "npz: objects for a grid": ("grid", _file("a.npz", lambda: npz(values=np.array([Trap(), 1], object)))),
    "npy: objects for samples": (
        "samples",
        _file("a.npy", lambda: npy(np.array([Trap()], object), allow_pickle=True)),
    ),
    "npy: 10^18 rows": ("cloud", _file("a.npy", lambda: _npy_header((10**18, 3)) + bytes(100))),
    "npy: rows of no numbers": ("cloud", _file("a.npy", lambda: _npy_header((10**18, 0)))),
    "npy: 10^18 rows for samples": (
        "samples",
        _file("a.npy", lambda: _npy_header((10**18, 6), "<f4") + bytes(100)),
    ),
    "npy: samples in an archive": ("samples", _file("a.npy", lambda: npz(points=table()))),
    "pth: weights of 4 TB out of one number": ("space", _file("a.pth", _huge_weights)),
    "pth: 2 GB of zeros": ("space", _file("a.pth", lambda: _bomb("archive/data.pkl", b"", 2000))),
    "pth: old kind of file": (
        "space",
        _file("a.pth", lambda: _torch_file({"model_state_dict": Trap()}, _use_new_zipfile_serialization=False)),
    ),
    "model: network of 10^18 numbers": ("model", _file("a.igr", lambda: _large_model(width=10**9))),
    "model: grid of 10^15 corners": ("model", _file("a.igr", lambda: _large_model(finest=10**5, log2_rows=60))),
    "model: 10^9 levels": ("model", _file("a.igr", lambda: _large_model(levels=10**9))),
    "model: no levels": ("model", _file("a.igr", lambda: _large_model(levels=0, start_levels=0))),
    "conf: a billion laughs": ("conf", _file("a.conf", _laughs)),
    "conf: includes /etc/passwd": ("conf", _file("a.conf", lambda: b'train { include "/etc/passwd" }\n' + CONF)),
    "conf: includes an address": (
        "conf",
        _file("a.conf", lambda: b'train { a = 1, include url("http://127.0.0.1:9/x") }\n'),
    ),
    "conf: names the environment": ("conf", _file("a.conf", lambda: b"train { expname = ${HOME} }\n")),
    "split: names that climb out": (
        "split",
        _file("a.json", lambda: b'{"scans": {"..": {"..": ["../../etc/passwd"]}}}'),
    ),
    "scans: folders in a circle": ("scans", _loop_of_folders),
    "gltf: buffer elsewhere": ("cloud", _file("a.gltf", lambda: _elsewhere("../../../../../../etc/passwd"))),
    "gltf: buffer at an address": ("cloud", _file("a.gltf", lambda: _elsewhere("http://127.0.0.1:9/x"))),
    "gltf: buffer from a device": ("cloud", _file("a.gltf", lambda: _elsewhere("/dev/zero"))),
    "gltf: 10^9 zeros that are not there": ("cloud", _file("a.gltf", _zeros)),
    "gltf: 10^9 zeros that are not there, for triangles": ("mesh", _file("a.gltf", _zeros)),
    "gltf: a mesh shown 10^5 times": ("cloud", _file("a.gltf", _shown_often)),
    "gltf: a mesh shown 10^5 times, for triangles": ("mesh", _file("a.gltf", _shown_often)),
    "gltf: buffer from a pipe": ("cloud", _beside_a_pipe),
    "stl: 4 billion triangles": ("mesh", _file("a.stl", lambda: bytes(80) + b"\xff" * 4 + bytes(100))),
    "ply: 10^17 faces": (
        "mesh",
        _file("a.ply", lambda: sound("mesh ply").files["a.ply"].replace(b"face 80", b"face 99999999999999999")),
    ),
    "off: 10^17 faces": (
        "mesh",
        _file("a.off", lambda: b"OFF\n3 99999999999999999 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"),
    ),
    "obj: vertex 10^17": ("mesh", _file("a.obj", lambda: b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999999999\n")),
    "obj: a polygon of 10^6 corners": (
        "mesh",
        _file("a.obj", lambda: b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf" + b" 1 2 3" * 300_000 + b"\n"),
    ),
    "run: history of a million columns": (
        "run",
        _run_of("history.csv", _file("history.csv", lambda: b"a," * 10**6 + b"\n1,2,3")),
    ),
    "run: pipe for its state": ("run", _run_of("state.safetensors", _pipe("state.safetensors"))),
    "run: pipe for its history": ("run", _run_of("history.csv", _pipe("history.csv"))),
    "run: pipe for its model": ("run", _run_of("model.safetensors", _pipe("model.safetensors"))),
}


def _row() -> bytes:
    return b"1 2 3\n"


def _hostile() -> dict[str, tuple[str, Place]]:
    found = dict(SPECIAL)
    for reader, suffixes in SUFFIXES.items():
        for suffix in suffixes:
            for what, place in STAND_INS.items():
                found[f"{reader}, .{suffix}: {what}"] = (reader, place(f"a.{suffix}"))
            found[f"{reader}, .{suffix}: not to be read"] = (f"{reader}, no rights", _file(f"a.{suffix}", _row))
    for name in NAMES:
        found[f"name: {name!r}"] = ("cloud", _named(name))
    return found


HOSTILE = _hostile()
"""Name of the reader, and what puts the file into a folder and says where it is."""
