"""A field as a graph of ONNX operators, in the unit frame: its network in float32, and how it goes on beyond the
ball of its cloud (see `beyond.py`) in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..config import FeatureConfig, MLPConfig
from .beyond import SIDE, Beyond
from .features import HASH_PRIMES, Level, feature_levels
from .residual import BRICK, Grid, Residual

FEET = 128
"""Feet that places are compared with at once: bounds the memory."""


class Graph:
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


def continued_field(
    graph: Graph, x: str, network: FeatureConfig | MLPConfig, weights: dict[str, np.ndarray], beyond: Beyond
) -> str:
    """The field (n,) in float64 at `x` (n, d) in float64, as `field.NumpyField` computes it.

    What is not finite has no place in the grids of features: there the network is asked for the center, and the
    distances of the continuation are not finite.
    """
    from onnx import TensorProto

    dimension = beyond.near.points.shape[1]
    radius = graph.constant(np.float64(beyond.radius))
    length = graph.node("Sqrt", _square(graph, x))
    ratio = graph.node("Div", radius, graph.node("Max", length, radius))
    below = graph.node("Mul", x, graph.node("Unsqueeze", ratio, graph.constant(np.array([1]))))
    sound = graph.node("Where", graph.node("IsNaN", below), graph.constant(np.float64(0)), below)
    place = graph.node("Cast", sound, to=TensorProto.FLOAT)
    if isinstance(network, MLPConfig):
        value = _mlp(graph, place, network, weights)
    else:
        value = _feature_network(graph, place, network, weights, dimension)
        residual = Residual.of(weights, dimension, network.bound)
        for grid in residual.grids if residual else ():
            value = graph.node("Add", value, _grid(graph, place, grid, network.bound))
    value = graph.node("Cast", graph.node("Squeeze", value, graph.constant(np.array([1]))), to=TensorProto.DOUBLE)
    outside = graph.node("Not", graph.node("LessOrEqual", length, radius))
    rows = graph.node("Squeeze", graph.node("NonZero", outside), graph.constant(np.array([0])))
    x, below, f, length = (graph.node("Gather", part, rows, axis=0) for part in (x, below, value, length))
    return graph.node("ScatterElements", value, rows, _beyond(graph, x, below, f, length, beyond), axis=0)


def _beyond(graph: Graph, x: str, y: str, f: str, length: str, beyond: Beyond) -> str:
    """F at places `x` beyond the ball, from the places `y` below, the field there, and the lengths of `x`."""
    one, two, three = (graph.constant(np.float64(number)) for number in (1, 2, 3))
    radii = graph.node("Div", length, graph.constant(np.float64(beyond.radius)))
    share = graph.node("Min", graph.node("Sub", radii, one), one)
    slope = graph.node("Sub", three, graph.node("Mul", two, share))
    fallen = graph.node("Mul", graph.node("Mul", share, share), slope)
    share = graph.node("Sub", one, fallen)
    far, near = (_to_feet(graph, places, beyond.feet.points) for places in (x, y))
    near = graph.node("Max", near, graph.constant(np.float64(1e-12)))
    sign = graph.node("Div", graph.node("Mul", f, graph.constant(np.float64(SIDE))), near)
    sign = graph.node("Clip", sign, graph.constant(np.float64(-1)), one)
    more = graph.node("Sub", far, graph.node("Mul", share, near))
    return graph.node("Add", graph.node("Mul", share, f), graph.node("Mul", sign, more))


def _to_feet(graph: Graph, x: str, feet: np.ndarray) -> str:
    """Distance (n,) from `x` (n, d) to the nearest of the feet, by |x|² - 2 x·p + |p|²."""
    axes, least = graph.constant(np.array([1])), ""
    for start in range(0, len(feet), FEET):
        part = feet[start : start + FEET]
        squares = graph.constant(np.square(part).sum(1))
        differences = graph.node("Gemm", x, graph.constant(part), squares, alpha=-2.0, transB=1)
        lowest = graph.node("ReduceMin", differences, axes, keepdims=0)
        least = graph.node("Min", least, lowest) if least else lowest
    square = graph.node("Add", _square(graph, x), least)
    return graph.node("Sqrt", graph.node("Max", square, graph.constant(np.float64(0))))


def _square(graph: Graph, x: str) -> str:
    """|x|² (n,) of `x` (n, d)."""
    return graph.node("ReduceSum", graph.node("Mul", x, x), graph.constant(np.array([1])), keepdims=0)


def _mlp(graph: Graph, x: str, config: MLPConfig, weights: dict[str, np.ndarray]) -> str:
    """The paper's network, as `networks.MLP` computes it."""
    turned = [graph.node("Mul", x, graph.constant(np.float32(2.0**k))) for k in range(config.octaves)]
    waves = [graph.node(wave, angle) for angle in turned for wave in ("Sin", "Cos")]
    h = x = graph.node("Concat", x, *waves, axis=1) if waves else x
    for layer in range(config.layers + 1):
        weight, bias = weights[f"lin{layer}.weight"], weights[f"lin{layer}.bias"]
        if layer in config.skip:
            h, weight = graph.node("Concat", h, x, axis=1), weight / np.float32(np.sqrt(2))
        h = graph.linear(h, weight, bias)
        if layer < config.layers:
            h = graph.softplus(h, config.beta)
    return h


def _feature_network(
    graph: Graph, x: str, config: FeatureConfig, weights: dict[str, np.ndarray], dimension: int
) -> str:
    """Multiresolution features and two hidden layers, as `networks.FeatureNetwork` computes them."""
    table = graph.constant(weights["table"])
    features = [_level(graph, x, table, level, config, dimension) for level in feature_levels(config, dimension)]
    h = graph.node("Concat", x, *features, axis=1)
    h = graph.softplus(graph.linear(h, weights["weight1"], weights["bias1"]), config.beta)
    h = graph.softplus(graph.linear(h, weights["weight2"], weights["bias2"]), config.beta)
    return graph.linear(h, weights["weight3"][None], weights["bias3"])


def _level(graph: Graph, x: str, table: str, level: Level, config: FeatureConfig, dimension: int) -> str:
    """Features (n, features) of one grid: multilinear in the cell, constant outside the cube."""
    index, weight = _corners(graph, x, level.resolution, config.bound, dimension)
    rows = graph.node("Gather", table, _rows(graph, index, level, dimension), axis=0)
    return graph.node("ReduceSum", graph.node("Mul", rows, weight), graph.constant(np.array([1])), keepdims=0)


def _grid(graph: Graph, x: str, grid: Grid, bound: float) -> str:
    """The value (n, 1) of one grid of the residual, its corners looked up in bricks."""
    index, weight = _corners(graph, x, grid.resolution, bound, grid.dimension)
    size, (numbers, values) = graph.constant(np.array(BRICK)), grid.bricks
    brick = graph.node("Div", index, size)
    edge = grid.resolution // BRICK + 1
    number = graph.node(
        "Gather", graph.constant(numbers.astype(np.int64)), _place(graph, brick, edge, grid.dimension)
    )
    within = _place(graph, graph.node("Sub", index, graph.node("Mul", brick, size)), BRICK, grid.dimension)
    start = graph.node("Mul", number, graph.constant(np.array(BRICK**grid.dimension)))
    rows = graph.node("Gather", graph.constant(values[:, None]), graph.node("Add", start, within), axis=0)
    return graph.node("ReduceSum", graph.node("Mul", rows, weight), graph.constant(np.array([1])), keepdims=0)


def _corners(graph: Graph, x: str, resolution: int, bound: float, dimension: int) -> tuple[str, str]:
    """The corners (n, corners, d) around places on a grid, and their weights (n, corners, 1) there."""
    from onnx import TensorProto

    half, size = np.float32(0.5 * resolution), np.float32(resolution)
    shifted = graph.node("Add", graph.node("Div", x, graph.constant(np.float32(bound))), _one(graph))
    scaled = graph.node("Mul", shifted, graph.constant(half))
    place = graph.node("Clip", scaled, graph.constant(np.float32(0)), graph.constant(size))
    cell = graph.node("Min", graph.node("Floor", place), graph.constant(size - np.float32(1)))
    axes = graph.constant(np.array([1]))
    share = graph.node("Unsqueeze", graph.node("Sub", place, cell), axes)
    corners = np.stack(np.meshgrid(*[[0, 1]] * dimension, indexing="ij"), -1).reshape(1, -1, dimension)
    whole = graph.node("Unsqueeze", graph.node("Cast", cell, to=TensorProto.INT64), axes)
    index = graph.node("Add", whole, graph.constant(corners.astype(np.int64)))
    # The share of a corner along an axis is s where it is the upper one and 1 − s where it is the lower.
    sign, first = (
        graph.constant((2 * corners - 1).astype(np.float32)),
        graph.constant(1 - corners.astype(np.float32)),
    )
    factor = graph.node("Add", first, graph.node("Mul", sign, share))
    return index, graph.node("ReduceProd", factor, graph.constant(np.array([2])), keepdims=1)


def _place(graph: Graph, index: str, size: int, dimension: int) -> str:
    """Places (n, corners) in a cube of so many along an edge, from their indices (n, corners, d)."""
    strides = graph.constant(size ** np.arange(dimension)[::-1])
    return graph.node("ReduceSum", graph.node("Mul", index, strides), graph.constant(np.array([2])), keepdims=0)


def _rows(graph: Graph, index: str, level: Level, dimension: int) -> str:
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


def _one(graph: Graph) -> str:
    return graph.constant(np.float32(1))
