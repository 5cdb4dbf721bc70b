"""A surface for other programs: a mesh with all it carries, a regular grid (arrays, VTK), an ONNX model."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32

from ..errors import InputError
from ..field.beyond import Beyond
from ..field.field import NumpyField
from ..field.graph import Graph, continued_field
from ..machine import require
from ..mesh.pieces import pieces
from ..mesh.triangles import decimated, face_areas, is_watertight, moved
from ..mesh.write import write_mesh
from ..settings import whole
from .attributes import vertex_columns

if TYPE_CHECKING:
    from .surface import Surface

GRID_FORMATS = (".npz", ".vti")
"""Suffixes of grid files."""


def write_triangles(
    fitted: Surface,
    path: str | os.PathLike[str],
    resolution: int | None = None,
    level: float = 0.0,
    triangles: int | None = None,
    *,
    attributes: bool = True,
    **asked: Any,
) -> tuple[dict[str, Any], list[str]]:
    """Write the mesh of a surface with its confidence and, if asked for, the cloud's attributes at each vertex.

    Args:
        fitted: a surface in space.
        path: .ply, .obj, .stl, .glb or .off.
        resolution: as for `Surface.mesh`, also the level and what else is `asked`.
        level: see there.
        triangles: about how many to leave; None for all.
        attributes: whether to write those of the cloud.

    Returns:
        What there is to say of the mesh, and the names that attributes have in the file instead of their own.
    """
    resolution = resolution or fitted.resolution
    mesh = vertices, faces = fitted.triangles(resolution, level, **asked)
    facts: dict[str, Any] = {"resolution": resolution}
    if triangles is not None and len(faces) > triangles:
        vertices, faces = decimated(*mesh, triangles)
        mean, most = moved(mesh, (vertices, faces))
        facts["decimated"] = {"triangles": len(mesh[1]), "moved": mean, "moved_most": most}
    told: dict[str, Any] = {}
    if attributes:  # of the places of the surface below, where the mesh is beside it
        told = fitted.attributes(fitted.project(vertices) if level or "decimated" in facts else vertices)
    colors, confidence = told.pop("colors", None), fitted.confidence(vertices)
    columns = vertex_columns(confidence, told)
    write_mesh(path, vertices, faces, attributes=columns, colors=colors)
    area, trusted = face_areas(vertices, faces), confidence[faces].mean(1) >= 0.5
    facts |= {
        "vertices": len(vertices),
        "triangles": len(faces),
        "watertight": is_watertight(faces),
        "components": int(pieces(faces, len(vertices)).max()) + 1,
        "open": fitted.ends(level, **asked),
        "supported": round(float(area[trusted].sum() / area.sum()), 4),
    }
    kept = Path(path).suffix.lower() in (".ply", ".glb")
    return facts, sorted(set(columns) - set(told) - {"confidence"}) if kept else []


@dataclass(frozen=True, eq=False)
class DistanceGrid:
    """Signed distances on a regular grid: the value at index (i, j, k) belongs to origin + spacing · (i, j, k).

    >>> grid = DistanceGrid(np.zeros((3, 4, 5), np.float32), np.array([10.0, 0.0, 0.0]), 0.5)
    >>> grid.points().shape, grid.points()[-1]
    ((60, 3), array([11. ,  1.5,  2. ]))
    """

    values: Float32[np.ndarray, "*cells"]
    """Signed distance (x, y) or (x, y, z) at each place, input units, negative inside."""
    origin: Float[np.ndarray, " d"]
    """Place of index zero, in the input's frame."""
    spacing: float
    """Step between neighbors along every axis, input units."""

    def points(self) -> Float[np.ndarray, "n d"]:
        """The places (n, d) of all values, the last axis fastest: the order of `values.ravel()`."""
        indices = np.moveaxis(np.indices(self.values.shape), 0, -1).reshape(-1, self.values.ndim)
        return self.origin + self.spacing * indices

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the grid to a file, whole or not at all.

        Args:
            path: `.npz` (arrays `values`, `origin`, `spacing`) or `.vti` (VTK image data with the point array
                `distance` in float32, which ParaView opens; a planar grid is one layer thick).

        Raises:
            InputError: another suffix.
        """
        from ..store.atomic import write_bytes

        suffix = Path(path).suffix.lower()
        if suffix not in GRID_FORMATS:
            raise InputError(f"{path}: a grid is written as {' or '.join(GRID_FORMATS)}, not {suffix or 'bare'}")
        write_bytes(path, self._npz() if suffix == ".npz" else self._vti())

    @staticmethod
    def load(path: str | os.PathLike[str]) -> DistanceGrid:
        """The grid saved as `.npz`.

        Raises:
            InputError: the file is missing, or holds no grid.
        """
        from ..formats.arrays import read_arrays

        try:
            values, origin, spacing = read_arrays(Path(path), ("values", "origin", "spacing"))
        except OSError as problem:
            raise InputError(f"{path} cannot be read: {problem.strerror or problem}") from None
        sound = values.ndim in (2, 3) and origin.shape == (values.ndim,) and spacing.shape == ()
        if not sound or not np.isfinite(origin).all() or not 0 < float(spacing) < np.inf:
            raise InputError(f"{path} holds no grid of distances: they have no place in space")
        return DistanceGrid(values, origin, float(spacing))

    def _npz(self) -> bytes:
        stream = io.BytesIO()
        np.savez(stream, values=self.values, origin=self.origin, spacing=self.spacing)
        return stream.getvalue()

    def _vti(self) -> bytes:
        """VTK's XML image data 1.0, the values appended raw after their length in bytes (UInt64), x fastest."""
        planar = self.values.ndim == 2
        values = self.values[..., None] if planar else self.values
        data = np.asarray(values, "<f4").tobytes(order="F")
        extent = " ".join(f"0 {count - 1}" for count in values.shape)
        origin = " ".join(repr(float(x)) for x in (*self.origin, *([0.0] if planar else [])))
        spacing = " ".join([repr(float(self.spacing))] * 3)
        head = f"""<?xml version="1.0"?>
<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">
<ImageData WholeExtent="{extent}" Origin="{origin}" Spacing="{spacing}">
<Piece Extent="{extent}"><PointData Scalars="distance">
<DataArray type="Float32" Name="distance" format="appended" offset="0"/>
</PointData></Piece></ImageData>
<AppendedData encoding="raw">_"""
        return head.encode() + np.array(len(data), "<u8").tobytes() + data + b"\n</AppendedData></VTKFile>\n"


def sampled_grid(
    distance: Callable[[np.ndarray], np.ndarray], box: Float[np.ndarray, "2 d"], resolution: int, margin: float
) -> DistanceGrid:
    """The grid of a distance function over a box, see `Surface.to_grid`; a slab at a time in memory.

    Raises:
        InputError: the resolution or the margin is out of range.
    """
    resolution = whole(resolution, "the resolution of a grid", 1, 2048)
    if not 0 <= margin < 10:
        raise InputError(f"a grid has a margin from 0 to 10, not {margin}")
    sides = box[1] - box[0]
    spacing = float(sides.max()) / resolution
    shape = np.maximum(np.ceil(sides / spacing + 2 * margin * resolution - 1e-9), 1).astype(int) + 1
    origin = (box[0] + box[1]) / 2 - spacing * (shape - 1) / 2
    require(12.0 * math.prod(shape), f"a grid of {resolution} cells", "use a lower resolution")
    values = np.empty(shape, np.float32)
    slab = np.moveaxis(np.indices((1, *shape[1:])), 0, -1).reshape(-1, len(shape))
    for layer in range(shape[0]):
        places = origin + spacing * (slab + layer * np.eye(len(shape), dtype=int)[0])
        values[layer] = distance(places).reshape(shape[1:])
    return DistanceGrid(values, origin, spacing)


OPSET = 18
"""Version of the operators: the first with bitwise ones, which the spatial hash needs."""


def onnx_bytes(surface: Surface) -> bytes:
    """The model file of `Surface.to_onnx`.

    Raises:
        InputError: onnx is not installed, or the surface is a combination of others.
    """
    try:
        import onnx
    except ImportError:
        raise InputError("ONNX models need onnx, which is not installed: pip install 'igr[export]'") from None
    from onnx import TensorProto, helper

    from .combine import CombinedField

    if isinstance(surface.field, CombinedField):
        raise InputError("a combination has no ONNX model: export its parts, or its grid")
    graph, scale = Graph(), np.float64(surface.frame.scale)
    centered = graph.node("Sub", "points", graph.constant(surface.frame.center))
    unit = graph.node("Div", centered, graph.constant(scale))
    network = surface.config.network
    beyond = Beyond(NumpyField(surface.field, network), surface.near)
    value = continued_field(graph, unit, network, surface.field.state(), beyond)
    graph.node("Mul", value, graph.constant(scale), output="distance")
    points = helper.make_tensor_value_info("points", TensorProto.DOUBLE, ["n", surface.dimension])
    distance = helper.make_tensor_value_info("distance", TensorProto.DOUBLE, ["n"])
    body = helper.make_graph(graph.nodes, "igr", [points], [distance], graph.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    model.doc_string = "signed distance, negative inside, in the frame and units of the scan" + (
        "; of the closed surface that the open one was cut from" if surface.is_open else ""
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()
