"""Files made by someone who means harm, and things that are no files at all."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np

from .bait import (
    Place,
    Trap,
    beside_a_pipe,
    bomb,
    climbing,
    elsewhere,
    file,
    folder,
    huge_weights,
    large_model,
    laughs,
    linked,
    loop_of_folders,
    named,
    npy_header,
    pipe,
    run_of,
    shown_often,
    torch_file,
    trapped_zip,
    zeros,
)
from .sound import CONF, npy, npz, sound, table

SUFFIXES = {
    "cloud": ("xyz", "csv", "npy", "npz", "ply", "obj", "glb", "stl", "off", "las", "laz", "e57", "pcd"),
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
    "a pipe": pipe,
    "a folder": folder,
    "a link to itself": lambda name: linked(name, name),
    "a link to nothing": lambda name: linked("nowhere", name),
    "/dev/zero": lambda name: linked("/dev/zero", name),
    "/dev/full": lambda name: linked("/dev/full", name),
    "/dev/null": lambda name: linked("/dev/null", name),
    "a pickle": lambda name: file(name, lambda: pickle.dumps({"points": Trap(), "model_state_dict": Trap()})),
    "an archive of a pickle": lambda name: file(name, lambda: trapped_zip("archive")),
    "a torch file with code": lambda name: file(name, lambda: torch_file({"model_state_dict": Trap()})),
    "nothing": lambda name: file(name, lambda: b""),
    "4 MB of '['": lambda name: file(name, lambda: b"[" * 4_000_000),
    "4 MB of '{\"a\":'": lambda name: file(name, lambda: b'{"a":' * 800_000),
    "4 MB of zeros": lambda name: file(name, lambda: bytes(4_000_000)),
    "4 MB on one line": lambda name: file(name, lambda: b"1 " * 2_000_000),
    "4 MB of lines": lambda name: file(name, lambda: b"\n" * 4_000_000),
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


SPECIAL: dict[str, tuple[str, Place]] = {
    "npz: 40 GB of zeros": ("cloud", file("a.npz", lambda: bomb("points.npy", npy_header((10**9, 3)), 300))),
    "npz: 1.5 GB, packed 200 times": (
        "cloud",
        file("a.npz", lambda: bomb("points.npy", npy_header((1_500_000_000 // 24, 3)), 1500, dishonest=True)),
    ),
    "npz: 250 MB of bytes that become 2 GB": (
        "cloud",
        file("a.npz", lambda: bomb("points.npy", npy_header((83_000_000, 3), "|u1"), 249)),
    ),
    "npz: grid of 3 GB": (
        "grid",
        file("a.npz", lambda: bomb("values.npy", npy_header((750, 1000, 1000), "<f4"), 2900)),
    ),
    "npz: names that climb out": ("cloud", file("a.npz", climbing)),
    "npy: objects": ("cloud", file("a.npy", lambda: npy(np.array([Trap(), 1], object), allow_pickle=True))),
    "npz: objects": ("cloud", file("a.npz", lambda: npz(points=np.array([Trap(), 1], object)))),
    "npz: objects for a grid": ("grid", file("a.npz", lambda: npz(values=np.array([Trap(), 1], object)))),
    "npy: objects for samples": (
        "samples",
        file("a.npy", lambda: npy(np.array([Trap()], object), allow_pickle=True)),
    ),
    "npy: 10^18 rows": ("cloud", file("a.npy", lambda: npy_header((10**18, 3)) + bytes(100))),
    "npy: rows of no numbers": ("cloud", file("a.npy", lambda: npy_header((10**18, 0)))),
    "npy: 10^18 rows for samples": (
        "samples",
        file("a.npy", lambda: npy_header((10**18, 6), "<f4") + bytes(100)),
    ),
    "npy: samples in an archive": ("samples", file("a.npy", lambda: npz(points=table()))),
    "pth: weights of 4 TB out of one number": ("space", file("a.pth", huge_weights)),
    "pth: 2 GB of zeros": ("space", file("a.pth", lambda: bomb("archive/data.pkl", b"", 2000))),
    "pth: old kind of file": (
        "space",
        file("a.pth", lambda: torch_file({"model_state_dict": Trap()}, _use_new_zipfile_serialization=False)),
    ),
    "model: network of 10^18 numbers": ("model", file("a.igr", lambda: large_model(width=10**9))),
    "model: grid of 10^15 corners": ("model", file("a.igr", lambda: large_model(finest=10**5, log2_rows=60))),
    "model: 10^9 levels": ("model", file("a.igr", lambda: large_model(levels=10**9))),
    "model: no levels": ("model", file("a.igr", lambda: large_model(levels=0, start_levels=0))),
    "conf: a billion laughs": ("conf", file("a.conf", laughs)),
    "conf: includes /etc/passwd": ("conf", file("a.conf", lambda: b'train { include "/etc/passwd" }\n' + CONF)),
    "conf: includes an address": (
        "conf",
        file("a.conf", lambda: b'train { a = 1, include url("http://127.0.0.1:9/x") }\n'),
    ),
    "conf: names the environment": ("conf", file("a.conf", lambda: b"train { expname = ${HOME} }\n")),
    "split: names that climb out": (
        "split",
        file("a.json", lambda: b'{"scans": {"..": {"..": ["../../etc/passwd"]}}}'),
    ),
    "scans: folders in a circle": ("scans", loop_of_folders),
    "gltf: buffer elsewhere": ("cloud", file("a.gltf", lambda: elsewhere("../../../../../../etc/passwd"))),
    "gltf: buffer at an address": ("cloud", file("a.gltf", lambda: elsewhere("http://127.0.0.1:9/x"))),
    "gltf: buffer from a device": ("cloud", file("a.gltf", lambda: elsewhere("/dev/zero"))),
    "gltf: 10^9 zeros that are not there": ("cloud", file("a.gltf", zeros)),
    "gltf: 10^9 zeros that are not there, for triangles": ("mesh", file("a.gltf", zeros)),
    "gltf: a mesh shown 10^5 times": ("cloud", file("a.gltf", shown_often)),
    "gltf: a mesh shown 10^5 times, for triangles": ("mesh", file("a.gltf", shown_often)),
    "gltf: buffer from a pipe": ("cloud", beside_a_pipe),
    "stl: 4 billion triangles": ("mesh", file("a.stl", lambda: bytes(80) + b"\xff" * 4 + bytes(100))),
    "ply: 10^17 faces": (
        "mesh",
        file("a.ply", lambda: sound("mesh ply").files["a.ply"].replace(b"face 80", b"face 99999999999999999")),
    ),
    "off: 10^17 faces": (
        "mesh",
        file("a.off", lambda: b"OFF\n3 99999999999999999 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"),
    ),
    "obj: vertex 10^17": ("mesh", file("a.obj", lambda: b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999999999\n")),
    "obj: a polygon of 10^6 corners": (
        "mesh",
        file("a.obj", lambda: b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf" + b" 1 2 3" * 300_000 + b"\n"),
    ),
    "run: history of a million columns": (
        "run",
        run_of("history.csv", file("history.csv", lambda: b"a," * 10**6 + b"\n1,2,3")),
    ),
    "run: pipe for its state": ("run", run_of("state.safetensors", pipe("state.safetensors"))),
    "run: pipe for its history": ("run", run_of("history.csv", pipe("history.csv"))),
    "run: pipe for its model": ("run", run_of("model.safetensors", pipe("model.safetensors"))),
}


def _row() -> bytes:
    return b"1 2 3\n"


def _hostile() -> dict[str, tuple[str, Place]]:
    found = dict(SPECIAL)
    for reader, suffixes in SUFFIXES.items():
        for suffix in suffixes:
            for what, place in STAND_INS.items():
                found[f"{reader}, .{suffix}: {what}"] = (reader, place(f"a.{suffix}"))
            found[f"{reader}, .{suffix}: not to be read"] = (f"{reader}, no rights", file(f"a.{suffix}", _row))
    for name in NAMES:
        found[f"name: {name!r}"] = ("cloud", named(name))
    return found


HOSTILE = _hostile()
"""Name of the reader, and what puts the file into a folder and says where it is."""
