"""Meshes and curves to files, whole or not at all, in the formats that other programs read."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from .errors import InputError
from .files import destination, write_bytes

MESH_FORMATS = (".ply", ".obj", ".stl", ".glb", ".off")
"""Suffixes of mesh files."""
CURVE_FORMATS = (".svg", ".dxf", ".json", ".npz")
"""Suffixes of files for planar curves."""


def check_output(path: str | os.PathLike[str], dimension: int | None = None) -> None:
    """Refuse a file that could not be written, before the work that fills it.

    Args:
        path: the file.
        dimension: 2 for a curve, 3 for a mesh, None while that is not known yet.

    Raises:
        InputError: unknown suffix, or a folder that is missing or cannot be written to.
    """
    path = Path(path)
    known = {2: CURVE_FORMATS, 3: MESH_FORMATS}.get(dimension or 0, MESH_FORMATS + CURVE_FORMATS)
    if path.suffix.lower() not in known:
        what = {2: "a planar curve is", 3: "a mesh is"}.get(dimension or 0, "results are")
        raise InputError(f"{path}: {what} written as {', '.join(known)}, not {path.suffix or 'without a suffix'}")
    check_folder(path)


def check_folder(path: str | os.PathLike[str]) -> None:
    """Refuse a file of any kind that cannot be written: no folder is there, it is no file, or may not be changed.

    Raises:
        InputError: it is so.
    """
    path = Path(path)
    if not os.path.isdir(path.parent):
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")
    try:
        folder = destination(path).parent
    except OSError as problem:
        raise InputError(f"{path} cannot be written: {problem.strerror or problem}") from None
    if not folder.is_dir():
        raise InputError(f"{path} cannot be written: it is a link into {folder}, and there is no such folder")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path} cannot be written: no permission, or {folder} is read-only")


def write_mesh(
    path: str | os.PathLike[str],
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    *,
    attributes: Mapping[str, Float[np.ndarray, " v"]] | None = None,
    colors: UInt8[np.ndarray, "v 3"] | None = None,
) -> None:
    """Write a triangle mesh in the format of the suffix.

    A PLY is in float64, since coordinates far from the origin lose millimetres in float32; GLB and STL know only
    float32.

    Args:
        path: .ply, .obj, .stl, .glb or .off.
        vertices: positions, in the unit that the file shall have.
        faces: triangles, counter-clockwise seen from outside.
        attributes: further numbers of each vertex, by name; PLY and GLB (there as _NAME) keep them.
        colors: red, green and blue of each vertex; STL has none.

    Raises:
        InputError: as `check_output`.
    """
    import trimesh

    check_output(path, 3)
    mesh = trimesh.Trimesh(np.asarray(vertices, np.float64), faces, vertex_colors=colors, process=False)
    for name, values in (attributes or {}).items():
        mesh.vertex_attributes[name] = np.asarray(values, np.float32)
    suffix = Path(path).suffix.lower()
    if suffix == ".ply":
        data = ply_bytes(mesh.vertices, mesh.faces, attributes, colors)
    elif suffix == ".obj":
        data = mesh.export(file_type="obj", digits=9)
    elif suffix == ".off":
        data = mesh.export(file_type="off", digits=9)
    else:
        data = mesh.export(file_type=suffix[1:])
    write_bytes(path, data.encode() if isinstance(data, str) else bytes(data))


def write_curves(path: str | os.PathLike[str], curves: Sequence[Float[np.ndarray, "m 2"]]) -> None:
    """Write planar polylines; closed ones repeat their first point at the end.

    Args:
        path: .svg (y up, in the input's units), .dxf (LWPOLYLINE), .json (a list of curves) or .npz (curve0, …).
        curves: the polylines.

    Raises:
        InputError: as `check_output`.
    """
    check_output(path, 2)
    suffix = Path(path).suffix.lower()
    if suffix == ".svg":
        data = _svg(curves).encode()
    elif suffix == ".dxf":
        data = _dxf(curves).encode()
    elif suffix == ".json":
        data = (json.dumps({"curves": [curve.tolist() for curve in curves]}) + "\n").encode()
    else:
        stream = io.BytesIO()
        np.savez(stream, **{f"curve{index}": curve for index, curve in enumerate(curves)})  # pyright: ignore
        data = stream.getvalue()
    write_bytes(path, data)


def ply_bytes(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    attributes: Mapping[str, Float[np.ndarray, " v"]] | None = None,
    colors: UInt8[np.ndarray, "v 3"] | None = None,
) -> bytes:
    """Binary PLY with float64 positions, which trimesh writes only as float32; see `write_mesh`."""
    attributes = attributes or {}
    color = [] if colors is None else [("color", "u1", 3)]
    rows = np.empty(len(vertices), np.dtype([("xyz", "<f8", 3), *color, *[(name, "<f4") for name in attributes]]))
    rows["xyz"] = vertices
    if colors is not None:
        rows["color"] = colors
    for name, values in attributes.items():
        rows[name] = values
    corners = np.empty(len(faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    corners["count"], corners["corners"] = 3, faces
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property double {axis}" for axis in "xyz"]
    lines += [f"property uchar {name}" for name in (() if colors is None else ("red", "green", "blue"))]
    lines += [f"property float {name}" for name in attributes]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    return ("\n".join(lines) + "\n").encode() + rows.tobytes() + corners.tobytes()


def _svg(curves: Sequence[np.ndarray]) -> str:
    points = np.concatenate(list(curves))
    low, size = points.min(0), np.maximum(np.ptp(points, axis=0), 1e-12)
    margin = 0.02 * size.max()
    box = (low[0] - margin, -(low[1] + size[1]) - margin, size[0] + 2 * margin, size[1] + 2 * margin)
    path = " ".join(
        "M " + " L ".join(f"{x:.9g},{-y:.9g}" for x, y in curve) + (" Z" if (curve[0] == curve[-1]).all() else "")
        for curve in curves
    )
    frame = " ".join(f"{value:.9g}" for value in box)
    style = f'fill="none" stroke="black" stroke-width="{0.002 * size.max():.3g}" fill-rule="evenodd"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{frame}">\n<path {style} d="{path}"/>\n</svg>\n'


def _dxf(curves: Sequence[np.ndarray]) -> str:
    """The smallest DXF (R2000 entities) that CAD programs open: one light-weight polyline a curve."""
    lines = ["0", "SECTION", "2", "ENTITIES"]
    for curve in curves:
        closed = bool((curve[0] == curve[-1]).all())
        corners = curve[:-1] if closed else curve
        lines += ["0", "LWPOLYLINE", "8", "0", "100", "AcDbEntity", "100", "AcDbPolyline"]
        lines += ["90", str(len(corners)), "70", "1" if closed else "0"]
        for x, y in corners:
            lines += ["10", f"{x:.12g}", "20", f"{y:.12g}"]
    return "\n".join([*lines, "0", "ENDSEC", "0", "EOF"]) + "\n"
