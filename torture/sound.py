"""Sound files of every format, small, made in code: what the mutations start from."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from igr.config import FAST, FAST_SPACE, PAPER, Config, FeatureConfig, LatentConfig, MLPConfig

from . import scanners

NETWORK = FeatureConfig(levels=3, coarsest=4, finest=12, log2_rows=10, width=32, start_levels=1)
PLAIN = MLPConfig(width=16, layers=3, skip=(2,), beta=100.0, radius=0.5)


@dataclass(frozen=True)
class Sound:
    """A format: its files, which one is damaged, and what is handed to the reader."""

    files: Mapping[str, bytes]
    """Contents by path below a folder."""
    damaged: tuple[str, ...]
    """Files that mutations are applied to."""
    given: str
    """What the reader is given, a file or folder; "" is the folder itself."""
    reader: str
    """Name of the reader in `reading.READERS`."""


def _one(name: str, content: bytes, reader: str = "cloud") -> Sound:
    return Sound({name: content}, (name,), name, reader)


def table(count: int = 200) -> np.ndarray:
    """Points (n, 6) of a sphere with their normals."""
    normals = np.random.default_rng(3).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return np.hstack([2 * normals + [10, 0, -3], normals]).round(6)


def text(values: np.ndarray, separator: str = " ") -> bytes:
    """Rows of numbers."""
    return "\n".join(separator.join(f"{x:.6f}" for x in row) for row in values).encode() + b"\n"


def npy(values: np.ndarray, **options: bool) -> bytes:
    """NumPy's format."""
    stream = io.BytesIO()
    np.save(stream, values, **options)
    return stream.getvalue()


def npz(*, compressed: bool = True, **arrays: np.ndarray) -> bytes:
    """NumPy's archive."""
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def ply(kind: str) -> bytes:
    """A cloud with normals and a few faces."""
    rows, faces = table(), [(0, 1, 2), (2, 3, 4)]
    names = "".join(f"property double {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz"))
    head = f"ply\nformat {kind} 1.0\ncomment made here\nelement vertex {len(rows)}\n{names}"
    head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    if kind == "ascii":
        return head.encode() + text(rows) + b"".join(b"3 %d %d %d\n" % face for face in faces)
    order = "<" if "little" in kind else ">"
    body = rows.astype(order + "f8").tobytes()
    return head.encode() + body + b"".join(b"\3" + np.array(face, order + "i4").tobytes() for face in faces)


def ply_lists(kind: str, *, uneven: bool = True) -> bytes:
    """A cloud that says in each vertex which pictures saw it."""
    rows, order = table(), ">" if "big" in kind else "<"
    names = "property double x\nproperty list uchar int seen\nproperty double y\nproperty double z\n"
    head = f"ply\nformat {kind} 1.0\nelement vertex {len(rows)}\n{names}end_header\n".encode()
    seen = [range(i % 4 if uneven else 3) for i in range(len(rows))]
    pairs = zip(seen, rows[:, :3].astype(order + "f8"), strict=True)
    if kind == "ascii":
        lines = (f"{x} {len(s)} {' '.join(map(str, s))} {y} {z}\n" for s, (x, y, z) in pairs)
        return head + "".join(lines).encode()
    parts = (row[:1].tobytes() + bytes([len(s)]) + np.array(s, order + "i4").tobytes() + row[1:3].tobytes()
             for s, row in pairs)  # fmt: skip
    return head + b"".join(parts)


def ply_splats() -> bytes:
    """Gaussian splats."""
    names = [
        "x",
        "y",
        "z",
        "nx",
        "ny",
        "nz",
        "f_dc_0",
        "f_dc_1",
        "f_dc_2",
        "f_rest_0",
        "opacity",
        "scale_0",
        "rot_0",
    ]
    properties = "".join(f"property float {name}\n" for name in names)
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex 200\n{properties}end_header\n"
    rows = np.zeros((200, len(names)), "<f4")
    rows[:, :3] = table()[:, :3]
    return head.encode() + rows.tobytes()


PTX_HEADER = b"20\n10\n5 5 5\n1 0 0\n0 1 0\n0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n5 5 5 1\n"


def _colored() -> np.ndarray:
    """Points, colors and normals (n, 9)."""
    return np.insert(table(), [3, 3, 3], np.random.default_rng(4).integers(0, 256, (200, 3)), axis=1)


def _survey() -> bytes:
    rows = enumerate(table()[:, :3])
    return "".join(f"P{i},{y:.3f},{x:.3f},{z:.3f},EG curb\n" for i, (x, y, z) in rows).encode()


def _fields() -> np.ndarray:
    rows = np.zeros(200, [("x", "f8"), ("y", "f8"), ("z", "f4"), ("rgb", "u4"), ("normal", "f4", (3,))])
    rows["x"], rows["y"], rows["z"] = table()[:, :3].T
    rows["rgb"], rows["normal"] = np.arange(200) * 1000, table()[:, 3:]
    return rows


def _colored_obj() -> bytes:
    return b"".join(
        b"v " + line + b"\n" for line in text(_colored()[:, :6] / [1, 1, 1, 255, 255, 255]).splitlines()
    )


@functools.cache
def _mesh():
    import trimesh

    return trimesh.creation.icosphere(1)


def _exported(suffix: str) -> bytes:
    content = _mesh().export(file_type=suffix)
    return content if isinstance(content, bytes) else content.encode()


def _gltf() -> Sound:
    files = _mesh().export(file_type="gltf")
    return Sound({**files}, tuple(files), "model.gltf", "cloud")


def surface(network: FeatureConfig | MLPConfig):
    from igr.cloud.frame import Frame
    from igr.field.field import make_field
    from igr.surface.surface import Surface

    config = dataclasses.replace(FAST if isinstance(network, FeatureConfig) else PAPER, network=network)
    samples = 0.5 * table()[:, 3:]
    details = {"name": "formats.ply", "points": 200, "normals": "used", "units": {"scale": 2.0}}
    return Surface(make_field(config, 3), Frame(np.array([1.0, 2.0, 3.0]), 2.0), config,
                   samples=samples, details=details)  # fmt: skip


def _run() -> Sound:
    import tempfile
    from pathlib import Path

    from igr.store.run import FitState, RunFolder

    history = [{"step": float(i), "seconds": 0.1 * i, "total": 1.0 / (i + 1)} for i in range(20)]
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        run.save(surface(NETWORK), FitState(step=20, seconds=1.0, history=history))
        run.release()
        paths = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != "lock"]
        files = {f"run/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in paths}
    return Sound(files, ("run/state.safetensors", "run/model.safetensors", "run/history.csv"), "run", "run")


def _space() -> bytes:
    import torch

    from igr.space.network import SpaceField, SpaceNetwork, make_network
    from igr.space.space import ShapeSpace

    latents = LatentConfig(size=4, enters="weights")
    config = dataclasses.replace(FAST_SPACE, network=PLAIN, latents=latents)
    network = SpaceNetwork(make_network(config, 3), 0.1 * torch.randn(3, 4))
    space = ShapeSpace(SpaceField(network), config, names=("a", "b", "c"), scale=1.0, reach=0.8, details={})
    return space.to_bytes()


def _original(*, packed: bool = True) -> Sound:
    import torch

    from igr.field.networks import MLP

    network = MLP(MLPConfig(width=16, layers=8, skip=(4,)), 3, latent=4)
    weights, codes = io.BytesIO(), io.BytesIO()
    content = {"epoch": 7, "model_state_dict": network.state_dict()}
    torch.save(content, weights, _use_new_zipfile_serialization=packed)
    torch.save({"epoch": 7, "latent_codes": torch.randn(3, 4)}, codes, _use_new_zipfile_serialization=packed)
    files = {"ModelParameters/7.pth": weights.getvalue(), "LatentCodes/7.pth": codes.getvalue()}
    return Sound(files, tuple(files), "ModelParameters/7.pth", "space")


CONF = b"""
train { input_path = scans/armchair.xyz, d_in = 3, expname = single_shape, weight_decay = 0
  learning_rate_schedule = [{ "Type" : "Step", "Initial" : 0.004, "Interval" : 1500, "Factor" : 0.25 }]
  network_class = model.network.ImplicitNet }
plot { resolution = 100, mc_value = 0.0, is_uniform_grid = True, save_html = True }
network {
  inputs { dims = [256, 256, 256, 256], skip_in = [2], geometric_init = True, radius_init = 0.8, beta = 50 }
  sampler { sampler_type = NormalPerPoint, properties { global_sigma = 1.5, local_sigma = 0.01 } }
  loss { lambda = 0.2, normals_lambda = 0.5 } }
"""
SPLIT = {"scans": {"50002": {"hips": ["hips.000001", "hips.000002"]}, "50004": {"jumps": ["jumps.000007"]}}}


def _samples() -> Sound:
    facts = json.dumps({"center": [1.0, 2.0, 3.0], "scale": 1.0, "scan": "a.ply", "samples": 200}).encode()
    files = {"a.npy": npy(table().astype(np.float32)), "a.json": facts}
    return Sound(files, tuple(files), "a.npy", "samples")


def _scans() -> Sound:
    motion = "src/scans/50002/hips"
    files = {f"{motion}/hips.000001.ply": _exported("ply"), f"{motion}/b.obj": _exported("obj")}
    return Sound(files, tuple(files), "", "scans")


def _scanned(kind: str) -> Sound:
    files = scanners.small(kind)
    given = {"fused": "fused.ply"}.get(kind, "" if kind.startswith("colmap") else next(iter(files)))
    return Sound(files, tuple(files), given, "cloud")


def _grid() -> bytes:
    return npz(compressed=False, values=np.zeros((5, 5, 5)), origin=np.zeros(3), spacing=np.array(0.1))


MAKERS: dict[str, Callable[[], Sound]] = {
    "xyz": lambda: _one("a.xyz", text(table())),
    "csv": lambda: _one("a.csv", b"x,y,z,nx,ny,nz\n" + text(table(), ",")),
    "txt": lambda: _one("a.txt", b"# two columns\n" + text(table()[:, :2], "; ")),
    "pts": lambda: _one("a.pts", b"200\n" + text(table()[:, :3])),
    "csv, survey": lambda: _one("a.csv", b"Point,Northing,Easting,Elevation,Code\n" + _survey()),
    "asc, colors": lambda: _one("a.asc", b"//X Y Z R G B Nx Ny Nz\n200\n" + text(_colored())),
    "pts, several scans": lambda: _one("a.pts", 2 * (b"200\n" + text(_colored()[:, [0, 1, 2, 3, 3, 4, 5]]))),
    "ptx": lambda: _one("a.ptx", 2 * (PTX_HEADER + text(_colored()[:, [0, 1, 2, 8, 3, 4, 5]]))),
    "npy, named fields": lambda: _one("a.npy", npy(_fields())),
    "npy, image": lambda: _one("a.npy", npy(table()[:, :3].reshape(10, 20, 3))),
    "npz, attributes": lambda: _one("a.npz", npz(xyz=table()[:, :3], rgb=_colored()[:, 3:6], time=np.arange(200))),
    "ply, lists ascii": lambda: _one("a.ply", ply_lists("ascii")),
    "ply, lists": lambda: _one("a.ply", ply_lists("binary_little_endian")),
    "ply, lists of one length": lambda: _one("a.ply", ply_lists("binary_big_endian", uneven=False)),
    "ply, splats": lambda: _one("a.ply", ply_splats()),
    "obj, colors": lambda: _one("a.obj", _colored_obj()),
    "npy": lambda: _one("a.npy", npy(table())),
    "npz": lambda: _one("a.npz", npz(points=table()[:, :3], normals=table()[:, 3:])),
    "ply ascii": lambda: _one("a.ply", ply("ascii")),
    "ply little-endian": lambda: _one("a.ply", ply("binary_little_endian")),
    "ply big-endian": lambda: _one("a.ply", ply("binary_big_endian")),
    "obj": lambda: _one("a.obj", _exported("obj")),
    "off": lambda: _one("a.off", _exported("off")),
    "stl": lambda: _one("a.stl", _exported("stl")),
    "stl ascii": lambda: _one("a.stl", _exported("stl_ascii")),
    "glb": lambda: _one("a.glb", _exported("glb")),
    "gltf": _gltf,
    **{kind: functools.partial(_scanned, kind) for kind in scanners.KINDS},
    "mesh ply ascii": lambda: _one("a.ply", _mesh().export(file_type="ply", encoding="ascii"), "mesh"),
    "mesh ply": lambda: _one("a.ply", _exported("ply"), "mesh"),
    "mesh obj": lambda: _one("a.obj", _exported("obj"), "mesh"),
    "mesh off": lambda: _one("a.off", _exported("off"), "mesh"),
    "mesh stl": lambda: _one("a.stl", _exported("stl"), "mesh"),
    "mesh glb": lambda: _one("a.glb", _exported("glb"), "mesh"),
    "model": lambda: _one("a.igr", surface(NETWORK).to_bytes(), "model"),
    "model, paper's network": lambda: _one("a.igr", surface(PLAIN).to_bytes(), "model"),
    "run folder": _run,
    "shape space": lambda: _one("a.safetensors", _space(), "space"),
    "original .pth": _original,
    "original .pth of torch 1.5": lambda: _original(packed=False),
    "original .conf": lambda: _one("a.conf", CONF, "conf"),
    "configuration": lambda: _one("a.json", Config().to_json().encode(), "config"),
    "split": lambda: _one("a.json", json.dumps(SPLIT, indent=1).encode(), "split"),
    "samples": _samples,
    "D-FAUST scans": _scans,
    "grid": lambda: _one("a.npz", _grid(), "grid"),
}
"""Formats by name."""


@functools.cache
def sound(name: str) -> Sound:
    """The sound files of a format."""
    return MAKERS[name]()
