"""Files of scanners and of COLMAP, made by the libraries' own writers and by hand."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def las(path: Path, points: np.ndarray, *, form: int = 7, scale: float = 1e-4, **columns: np.ndarray) -> Path:
    """A las or laz file, by its suffix; columns by laspy's names."""
    import laspy

    header = laspy.LasHeader(point_format=form, version="1.4")
    header.scales, header.offsets = np.full(3, scale), np.floor(points.mean(axis=0))
    known = set(header.point_format.dimension_names)
    for name in [name for name in columns if name not in known]:
        header.add_extra_dim(laspy.ExtraBytesParams(name, columns[name].dtype))
    data = laspy.LasData(header)
    data.x, data.y, data.z = points.T
    for name, values in columns.items():
        data[name] = values
    data.write(path)
    return path


E57_LIMITS = {"colorRed": 255, "colorGreen": 255, "colorBlue": 255, "cartesianInvalidState": 2, "rowIndex": 65535,
              "sphericalInvalidState": 2}  # fmt: skip


def e57(path: Path, scans: Sequence[dict[str, Any]]) -> Path:
    """An e57 file. Of each scan, `pose` is a rotation (w x y z) and a translation, `color_top` what its colors
    reach to; all else are fields by their names in the standard, double where `E57_LIMITS` has no limit."""
    import pye57

    lib = pye57.libe57
    file = pye57.E57(str(path), "w")
    image = file.image_file
    image.extensionsAdd("nor", "http://www.libe57.org/E57_NOR_surface_normals.txt")
    for scan in map(dict, scans):
        pose, top = scan.pop("pose", None), scan.pop("color_top", None)
        node = lib.StructureNode(image)
        node.set("guid", lib.StringNode(image, "{1}"))
        if pose is not None:
            parts = lib.StructureNode(image)
            for part, names, values in zip(("rotation", "translation"), ("wxyz", "xyz"), pose, strict=True):
                inner = lib.StructureNode(image)
                for name, value in zip(names, values, strict=True):
                    inner.set(name, lib.FloatNode(image, float(value)))
                parts.set(part, inner)
            node.set("pose", parts)
        if top is not None:
            limits = lib.StructureNode(image)
            for name in ("Red", "Green", "Blue"):
                limits.set(f"color{name}Minimum", lib.IntegerNode(image, 0))
                limits.set(f"color{name}Maximum", lib.IntegerNode(image, top))
            node.set("colorLimits", limits)
        prototype, buffers = lib.StructureNode(image), lib.VectorSourceDestBuffer()
        count = len(next(iter(scan.values())))
        for name, values in scan.items():
            limit = top if top and name.startswith("color") else E57_LIMITS.get(name)
            prototype.set(
                name, lib.FloatNode(image, 0.0) if limit is None else lib.IntegerNode(image, 0, 0, limit)
            )
            scan[name] = np.ascontiguousarray(values, "f8" if limit is None else "u2")
            buffers.append(lib.SourceDestBuffer(image, name, scan[name], count, True, True))
        points = lib.CompressedVectorNode(image, prototype, lib.VectorNode(image, True))
        node.set("points", points)
        file.data3d.append(node)
        writer = points.writer(buffers)
        writer.write(count)
        writer.close()
    file.close()
    return path


def cartesian(points: np.ndarray) -> dict[str, np.ndarray]:
    """The fields of points."""
    return {f"cartesian{axis}": values for axis, values in zip("XYZ", points.T, strict=True)}


def pcd(
    path: Path, kind: str, fields: dict[str, np.ndarray], *, viewpoint: str = "0 0 0 1 0 0 0", **more: str
) -> Path:
    """A PCD file: ascii, binary or binary_compressed; `more` replaces lines of its header, "" leaves one out."""
    rows = np.rec.fromarrays(
        list(fields.values()), dtype=[(name, values.dtype) for name, values in fields.items()]
    )
    kinds = [values.dtype for values in fields.values()]
    head = {
        "VERSION": "0.7",
        "FIELDS": " ".join(fields),
        "SIZE": " ".join(str(each.itemsize) for each in kinds),
        "TYPE": " ".join(each.kind.upper() for each in kinds),
        "COUNT": " ".join("1" for _ in kinds),
        "WIDTH": str(len(rows)),
        "HEIGHT": "1",
        "VIEWPOINT": viewpoint,
        "POINTS": str(len(rows)),
    } | more
    text = "# .PCD v0.7\n" + "".join(f"{key} {value}\n" for key, value in head.items() if value) + f"DATA {kind}\n"
    if kind == "ascii":
        body = b"".join(" ".join(repr(value) for value in row.tolist()).encode() + b"\n" for row in rows)
    elif kind == "binary":
        body = rows.tobytes()
    else:
        import lzf

        plain = b"".join(values.tobytes() for values in fields.values())
        packed = lzf.compress(plain, 2 * len(plain) + 100)
        body = struct.pack("<II", len(packed), len(plain)) + packed
    path.write_bytes(text.encode() + body)
    return path


def colmap(
    folder: Path, points: np.ndarray, colors: np.ndarray, tracks: Sequence[Sequence[int]], centers: dict[int, np.ndarray],
    *, form: str = "bin",
) -> Path:  # fmt: skip
    """A sparse model: which images saw each point, and where each was taken from, by number. Cameras are turned by
    a different angle each, about an oblique axis."""
    from scipy.spatial.transform import Rotation

    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for number, center in centers.items():
        turn = Rotation.from_rotvec(0.3 * number * np.array([1.0, -2.0, 0.5]))
        x, y, z, w = turn.as_quat()
        images.append((number, w, x, y, z, *(-turn.apply(center)), 1, f"{number}.jpg"))
    places = [
        (7 * i + 1, *point, *color, 0.25 * i) for i, (point, color) in enumerate(zip(points, colors, strict=True))
    ]
    if form == "bin":
        data = struct.pack("<Q", len(images))
        for row in images:
            data += struct.pack("<I7dI", *row[:9]) + row[9].encode() + b"\0"
            data += struct.pack("<Q", 2) + struct.pack("<2dq", 1.5, 2.5, -1) * 2
        (folder / "images.bin").write_bytes(data)
        data = struct.pack("<Q", len(places))
        for row, track in zip(places, tracks, strict=True):
            data += struct.pack("<Q3d3BdQ", *row, len(track))
            data += b"".join(struct.pack("<II", image, 3) for image in track)
        (folder / "points3D.bin").write_bytes(data)
        return folder
    lines = ["# Image list with two lines of data per image:"]
    for row in images:
        lines += [" ".join(map(str, row)), "1.5 2.5 -1"]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    lines = ["# 3D point list with one line of data per point:"]
    for row, track in zip(places, tracks, strict=True):
        lines.append(" ".join([*map(str, row), *(f"{image} 3" for image in track)]))
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n")
    return folder


def fused(path: Path, points: np.ndarray, seen: Sequence[Sequence[int]]) -> Path:
    """A fused cloud with its file of visibility beside it."""
    names = "".join(f"property float {axis}\n" for axis in "xyz")
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{names}end_header\n"
    path.write_bytes(head.encode() + points.astype("<f4").tobytes())
    data = struct.pack("<Q", len(points)) + b"".join(struct.pack(f"<{len(s) + 1}I", len(s), *s) for s in seen)
    path.with_name(path.name + ".vis").write_bytes(data)
    return path


def cloud(count: int = 200) -> np.ndarray:
    """Points of a sphere far from the origin."""
    directions = np.random.default_rng(3).normal(size=(count, 3))
    return 2 * directions / np.linalg.norm(directions, axis=1, keepdims=True) + [100.0, 200.0, -3.0]


def small(kind: str) -> dict[str, bytes]:
    """The files of a small sound scan by name, the one to read first: what mutations start from."""
    points, rng = cloud(), np.random.default_rng(4)
    colors = rng.integers(0, 256, (len(points), 3))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if kind in ("las", "laz"):
            las(folder / f"a.{kind}", points, red=256 * colors[:, 0], intensity=colors[:, 1])
        elif kind == "e57":
            pose = ((0.6, 0.8, 0, 0), (1, 2, 3))
            e57(folder / "a.e57", [cartesian(points) | {"pose": pose, "intensity": colors[:, 0]}] * 2)
        elif kind.startswith("pcd"):
            fields = dict(zip("xyz", points.T.astype("f4"), strict=True)) | {"rgb": colors[:, 0].astype("u4")}
            pcd(folder / "a.pcd", kind.removeprefix("pcd "), fields, viewpoint="1 2 3 1 0 0 0")
        elif kind.startswith("colmap"):
            tracks = [rng.choice([3, 5, 8], i % 4, replace=False).tolist() for i in range(len(points))]
            centers = {3: np.zeros(3), 8: np.ones(3), 5: np.array([9.0, 0, 0])}
            colmap(folder, points, colors, tracks, centers, form=kind.removeprefix("colmap "))
        else:
            colmap(folder / "sparse", points, colors, [[]] * len(points), {3: np.zeros(3), 8: np.ones(3)})
            fused(folder / "fused.ply", points, [[0, 1][: i % 3] for i in range(len(points))])
        files = sorted(
            (path for path in folder.rglob("*") if path.is_file()), key=lambda p: ("points3D" not in p.name, p)
        )
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


KINDS = (
    "las",
    "laz",
    "e57",
    "pcd ascii",
    "pcd binary",
    "pcd binary_compressed",
    "colmap bin",
    "colmap txt",
    "fused",
)
"""What `small` makes."""
