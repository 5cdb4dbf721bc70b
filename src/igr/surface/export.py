"""A field for other programs: sampled on a regular grid (arrays, VTK image data), or as an ONNX model."""

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

from ..config import FeatureConfig, MLPConfig
from ..errors import InputError
from ..field.features import HASH_PRIMES, Level, feature_levels
from ..machine import require
from ..settings import whole

if TYPE_CHECKING:
    from .surface import Surface

GRID_FORMATS = (".npz", ".vti")
"""Suffixes of grid files."""


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
        from ..cloud.read import read_arrays

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
    graph = _Graph()
    centered = graph.node("Sub", "points", graph.constant(surface.frame.center))
    unit = graph.node("Div", centered, graph.constant(np.float64(surface.frame.scale)))
    x = graph.node("Cast", unit, to=TensorProto.FLOAT)
    weights, network = surface.field.state(), surface.config.network
    if isinstance(network, MLPConfig):
        value = _mlp(graph, x, network, weights)
    else:
        value = _feature_network(graph, x, network, weights, surface.dimension)
    wide = graph.node("Cast", graph.node("Squeeze", value, graph.constant(np.array([1]))), to=TensorProto.DOUBLE)
    graph.node("Mul", wide, graph.constant(np.float64(surface.frame.scale)), output="distance")
    points = helper.make_tensor_value_info("points", TensorProto.DOUBLE, ["n", surface.dimension])
    distance = helper.make_tensor_value_info("distance", TensorProto.DOUBLE, ["n"])
    body = helper.make_graph(graph.nodes, "igr", [points], [distance], graph.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    model.doc_string = "signed distance, negative inside, in the frame and units of the scan"
    onnx.checker.check_model(model)
    return model.SerializeToString()


class _Graph:
    """Nodes and constants of a model under construction; every result is named by its number."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append an operation; returns the name of its result."""
        from onnx import helper

        name = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: np.ndarray | np.generic) -> str:
        """Append a constant; returns its name."""
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def linear(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """x Wᵀ + b."""
        return self.node("Gemm", x, self.constant(weight), self.constant(bias), transB=1)

    def softplus(self, x: str, beta: float) -> str:
        """log(1 + exp(βx))/β."""
        sharpness = self.constant(np.float32(beta))
        return self.node("Div", self.node("Softplus", self.node("Mul", x, sharpness)), sharpness)


def _mlp(graph: _Graph, x: str, config: MLPConfig, weights: dict[str, np.ndarray]) -> str:
    """The paper's network, as `network.MLP` computes it."""
    h = x
    for layer in range(config.layers + 1):
        weight, bias = weights[f"lin{layer}.weight"], weights[f"lin{layer}.bias"]
        if layer in config.skip:
            h, weight = graph.node("Concat", h, x, axis=1), weight / np.float32(np.sqrt(2))
        h = graph.linear(h, weight, bias)
        if layer < config.layers:
            h = graph.softplus(h, config.beta)
    return h


def _feature_network(
    graph: _Graph, x: str, config: FeatureConfig, weights: dict[str, np.ndarray], dimension: int
) -> str:
    """Multiresolution features and two hidden layers, as `network.FeatureNetwork` computes them."""
    table = graph.constant(weights["table"])
    features = [_level(graph, x, table, level, config, dimension) for level in feature_levels(config, dimension)]
    h = graph.node("Concat", x, *features, axis=1)
    h = graph.softplus(graph.linear(h, weights["weight1"], weights["bias1"]), config.beta)
    h = graph.softplus(graph.linear(h, weights["weight2"], weights["bias2"]), config.beta)
    return graph.linear(h, weights["weight3"][None], weights["bias3"])


def _level(graph: _Graph, x: str, table: str, level: Level, config: FeatureConfig, dimension: int) -> str:
    """Features (n, features) of one grid: multilinear in the cell, constant outside the cube."""
    from onnx import TensorProto

    half, size = np.float32(0.5 * level.resolution), np.float32(level.resolution)
    shifted = graph.node("Add", graph.node("Div", x, graph.constant(np.float32(config.bound))), _one(graph))
    scaled = graph.node("Mul", shifted, graph.constant(half))
    place = graph.node("Clip", scaled, graph.constant(np.float32(0)), graph.constant(size))
    cell = graph.node("Min", graph.node("Floor", place), graph.constant(size - np.float32(1)))
    axes = graph.constant(np.array([1]))
    share = graph.node("Unsqueeze", graph.node("Sub", place, cell), axes)
    corners = np.stack(np.meshgrid(*[[0, 1]] * dimension, indexing="ij"), -1).reshape(1, -1, dimension)
    whole = graph.node("Unsqueeze", graph.node("Cast", cell, to=TensorProto.INT64), axes)
    index = graph.node("Add", whole, graph.constant(corners.astype(np.int64)))
    rows = graph.node("Gather", table, _rows(graph, index, level, dimension), axis=0)
    # The share of a corner along an axis is s where it is the upper one and 1 − s where it is the lower.
    sign, first = (
        graph.constant((2 * corners - 1).astype(np.float32)),
        graph.constant(1 - corners.astype(np.float32)),
    )
    factor = graph.node("Add", first, graph.node("Mul", sign, share))
    weight = graph.node("ReduceProd", factor, graph.constant(np.array([2])), keepdims=1)
    return graph.node("ReduceSum", graph.node("Mul", rows, weight), axes, keepdims=0)


def _rows(graph: _Graph, index: str, level: Level, dimension: int) -> str:
    """Row of the table for each corner index (n, corners, d), by order or by the spatial hash."""
    parts = [graph.node("Gather", index, graph.constant(np.array(axis)), axis=2) for axis in range(dimension)]
    row = parts[0]
    for axis, part in enumerate(parts[1:], start=1):
        if level.hashed:
            row = graph.node(
                "BitwiseXor", row, graph.node("Mul", part, graph.constant(np.array(HASH_PRIMES[axis])))
            )
        else:
            stride = graph.constant(np.array(level.resolution + 1))
            row = graph.node("Add", graph.node("Mul", row, stride), part)
    if level.hashed:
        row = graph.node("BitwiseAnd", row, graph.constant(np.array(level.rows - 1)))
    return graph.node("Add", row, graph.constant(np.array(level.offset)))


def _one(graph: _Graph) -> str:
    return graph.constant(np.float32(1))
