"""Meshes, curves and films of meshes to files, whole or not at all, in the formats that other programs read."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from ..errors import InputError
from ..formats.ply import PLY_TYPES
from ..formats.table import compact, linear_light
from ..store.atomic import check_folder, write_bytes

if TYPE_CHECKING:
    from trimesh.visual import TextureVisuals

MESH_FORMATS = (".ply", ".obj", ".stl", ".glb", ".off")
"""Suffixes of mesh files."""
CURVE_FORMATS = (".svg", ".dxf", ".json", ".npz")
"""Suffixes of files for planar curves."""
OWN_NAMES = {"x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "alpha"}
"""What files call positions, normals and colors."""


PLY_NAMES = {np.dtype(kind): name for name, kind in reversed(PLY_TYPES.items()) if not name[-1].isdecimal()}
"""The types of a PLY header by NumPy's, in the names that every program knows."""


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


def write_mesh(
    path: str | os.PathLike[str],
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    *,
    attributes: Mapping[str, np.ndarray] | None = None,
    colors: UInt8[np.ndarray, "v 3"] | None = None,
) -> None:
    """Write a triangle mesh in the format of the suffix.

    A PLY is in float64, since coordinates far from the origin lose millimetres in float32; GLB and STL know only
    float32.

    Args:
        path: .ply, .obj, .stl, .glb or .off.
        vertices: positions, in the unit that the file shall have.
        faces: triangles, counter-clockwise seen from outside.
        attributes: further numbers of each vertex (v,), by name; PLY, and GLB as _NAME in float32, keep them.
        colors: red, green and blue of each vertex, sRGB; PLY and OBJ keep them as they are, GLB in linear light,
            as glTF has it; STL and OFF have none.

    Raises:
        InputError: as `check_output`.
    """
    check_output(path, 3)
    write_bytes(path, mesh_bytes(Path(path).suffix, vertices, faces, attributes=attributes, colors=colors))


def mesh_bytes(
    suffix: str,
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    *,
    attributes: Mapping[str, np.ndarray] | None = None,
    colors: UInt8[np.ndarray, "v 3"] | None = None,
) -> bytes:
    """The file that `write_mesh` writes for such a suffix."""
    suffix = suffix.lower()
    if suffix == ".ply":
        return ply_bytes(vertices, faces, attributes, colors)
    import trimesh
    from trimesh.visual import ColorVisuals

    mesh = trimesh.Trimesh(np.asarray(vertices, np.float64), faces, process=False)
    if suffix == ".glb":
        mesh.visual = mesh.visual if colors is None else matt(colors)
        for name, values in (attributes or {}).items():
            mesh.vertex_attributes[name] = np.asarray(values, np.float32)
    elif suffix == ".obj":
        mesh.visual = ColorVisuals(mesh, vertex_colors=colors)
    text: dict[str, Any] = {"digits": 9} if suffix in (".obj", ".off") else {}
    data = mesh.export(file_type=suffix[1:], **text)
    return data.encode() if isinstance(data, str) else bytes(data)


def named_columns(attributes: Mapping[str, np.ndarray], taken: Collection[str]) -> dict[str, np.ndarray]:
    """Attributes as columns (v,) with names that files can have: letters, digits, `_`, `.` and `-`; what is called
    like a position, normal or color, or is `taken`, gets `scan_` before it, and columns their number behind it."""
    columns: dict[str, np.ndarray] = {}
    for name, values in attributes.items():
        for index, column in enumerate([values] if values.ndim == 1 else values.T):
            label = re.sub(r"[^A-Za-z0-9_.-]", "_", name if values.ndim == 1 else f"{name}_{index}") or "_"
            while label.lower() in {*OWN_NAMES, *taken, *columns}:
                label = f"scan_{label}"
            columns[label] = column
    return columns


def matt(colors: UInt8[np.ndarray, "v 3"]) -> TextureVisuals:
    """How glTF shows colors of vertices: in linear light, as it has them while pictures have sRGB, and without the
    shine of its default material. In 8 bits, since trimesh, which reads 16, cannot write them again."""
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    material = PBRMaterial(metallicFactor=0.0, roughnessFactor=0.9, doubleSided=True)
    light = np.round(255 * linear_light(colors)).astype(np.uint8)
    opaque = np.full((len(light), 1), 255, np.uint8)
    visual = TextureVisuals(material=material)
    visual.vertex_attributes["color"] = np.hstack([light, opaque])
    return visual


def _ply_column(values: np.ndarray) -> np.ndarray:
    """One property (v,) in a type of PLY, the shortest that loses nothing."""
    values = compact(values.astype(np.uint8) if values.dtype.kind == "b" else values)
    if values.dtype.itemsize == 8 and values.dtype.kind in "iu":
        whole = np.iinfo(np.int32)
        fits = values.min(initial=0) >= whole.min and values.max(initial=0) <= whole.max
        return values.astype(np.int32 if fits else np.float64)
    return values


def ply_bytes(
    vertices: Float[np.ndarray, "v d"],
    faces: Int[np.ndarray, "f 3"] | None = None,
    attributes: Mapping[str, np.ndarray] | None = None,
    colors: UInt8[np.ndarray, "v 3"] | None = None,
    *,
    normals: Float[np.ndarray, "v d"] | None = None,
) -> bytes:
    """Binary PLY of a mesh, or without `faces` of a cloud; see `write_mesh`. Positions and normals are in float64;
    trimesh would write float32. Attributes (v,) keep their types where PLY has them."""
    columns = {name: _ply_column(values) for name, values in (attributes or {}).items()}
    rows = ply_rows(vertices, columns, colors, normals=normals)
    corners = b"" if faces is None else ply_corners(faces).tobytes()
    return ply_head(rows.dtype, len(rows), None if faces is None else len(faces)) + rows.tobytes() + corners


def ply_rows(
    vertices: Float[np.ndarray, "v d"],
    attributes: Mapping[str, np.ndarray] | None = None,
    colors: UInt8[np.ndarray, "v 3"] | None = None,
    *,
    normals: Float[np.ndarray, "v d"] | None = None,
) -> np.ndarray:
    """The vertices of a PLY file as they lie in it; attributes of the types of PLY, all else as of `ply_bytes`."""
    axes = "xyz"[: vertices.shape[1]]
    columns = dict(zip(axes, vertices.astype("<f8").T, strict=True))
    if normals is not None:
        columns |= {f"n{axis}": values for axis, values in zip(axes, normals.astype("<f8").T, strict=True)}
    if colors is not None:
        columns |= dict(zip(("red", "green", "blue"), colors.T, strict=True))
    columns |= attributes or {}
    kinds = [(name, values.dtype.newbyteorder("<").str) for name, values in columns.items()]
    rows = np.empty(len(vertices), kinds)
    for name, values in columns.items():
        rows[name] = values
    return rows


def ply_corners(faces: Int[np.ndarray, "f 3"]) -> np.ndarray:
    """The triangles of a PLY file as they lie in it."""
    corners = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    corners["count"], corners["corners"] = 3, faces
    return corners


def ply_head(kinds: np.dtype, vertices: int, faces: int | None) -> bytes:
    """What stands before them: of so many vertices with these properties, and triangles, None for a cloud."""
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {vertices}"]
    for name in kinds.names or ():
        lines.append(f"property {PLY_NAMES[kinds[name].newbyteorder('=')]} {name}")
    if faces is not None:
        lines += [f"element face {faces}", "property list uchar int vertex_indices"]
    return ("\n".join([*lines, "end_header"]) + "\n").encode()


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


def write_animation(
    path: str | os.PathLike[str], meshes: Sequence[tuple[np.ndarray, np.ndarray]], *, frame_seconds: float = 0.25
) -> None:
    """Write meshes (vertices (v, 3), faces (f, 3)) to a GLB that shows each for `frame_seconds`, there and back.

    Each mesh is a node of its own, whose scale is animated in steps between 0 and 1.
    """
    import trimesh
    from trimesh.exchange.gltf import export_glb

    scene = trimesh.Scene()
    for index, (vertices, faces) in enumerate(meshes):
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        scene.add_geometry(mesh, node_name=f"frame{index:03d}", geom_name=f"frame{index:03d}")
    order = [*range(len(meshes)), *range(len(meshes) - 2, 0, -1)]

    def animate(tree: dict[str, Any]) -> None:
        _add_animation(tree, order, frame_seconds)

    write_bytes(path, export_glb(scene, include_normals=True, tree_postprocessor=animate))


def _add_animation(tree: dict[str, Any], order: Sequence[int], frame_seconds: float) -> None:
    """Keyframes of every node's scale, in a buffer of their own."""
    times = (np.arange(len(order) + 1) * frame_seconds).astype("<f4")
    nodes = {node["name"]: index for index, node in enumerate(tree["nodes"]) if "name" in node}
    data, channels, samplers = [times.tobytes()], [], []
    for index in sorted(set(order)):
        shown = np.array([*(float(at == index) for at in order), float(order[0] == index)], "<f4")
        data.append(np.repeat(shown[:, None], 3, 1).tobytes())
    accessors, views = tree["accessors"], tree["bufferViews"]
    first, buffer, at = len(accessors), len(tree["buffers"]), 0
    for part, block in enumerate(data):
        views.append({"buffer": buffer, "byteOffset": at, "byteLength": len(block)})
        kind: dict[str, Any] = (
            {"type": "VEC3"} if part else {"type": "SCALAR", "min": [0.0], "max": [float(times[-1])]}
        )
        accessors.append({"bufferView": len(views) - 1, "componentType": 5126, "count": len(times)} | kind)
        at += len(block)
    for index in sorted(set(order)):
        samplers.append({"input": first, "output": first + 1 + index, "interpolation": "STEP"})
        target = {"node": nodes[f"frame{index:03d}"], "path": "scale"}
        channels.append({"sampler": len(samplers) - 1, "target": target})
    uri = "data:application/octet-stream;base64," + base64.b64encode(b"".join(data)).decode()
    tree["buffers"].append({"byteLength": at, "uri": uri})
    tree["animations"] = [{"name": "interpolation", "channels": channels, "samplers": samplers}]
