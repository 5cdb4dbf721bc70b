"""How much memory a piece of work takes, and whether it is there: asked before, not found out in the middle.

The figures are bounds: measured peaks stay below them, usually by 1.2 to 3 (`python -m torture memory`).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from ..config import Config, FeatureConfig, MLPConfig
from ..field.features import USUAL, feature_levels, resolution_of
from ..machine import require
from .adapt import grown, useful

PROGRAM = 250e6
"""The program itself with its libraries, in bytes; torch takes as much again."""
CHECK_NUMBER = 36
"""Bytes that checking a cloud takes for each of its numbers."""
FIT_POINT = {True: 350, False: 600}
"""Bytes a point takes while it is prepared and fitted: with given normals, and without."""
TORCH_NEURON = 34
"""Bytes a neuron takes for each row of a batch in a training step of the paper's network."""
COPIES = 6
"""Of a network and its moments: in the field, in the last good state, and where a checkpoint is made."""
MESH_CELL = 300
"""Bytes that meshing takes for each cell of the finest level that is looked into."""
MESH_FACE = 420
"""Bytes that meshing, judging and writing together take for each triangle."""
MESH_CELLS = 4 * math.pi / 6
"""Cells of a mesh for each point, at most: two along the edge of a field's finest cell, which is as wide as the
distance to the sixth neighbor."""
CONTOUR_CELL = 120
"""Bytes that a planar contour takes for each cell of the square of its resolution."""


def fitting(points: int, dimension: int, config: Config, *, with_normals: bool) -> float:
    """Bytes that preparing and fitting a cloud of so many points takes."""
    used, config = useful(config, points, dimension), grown(config, points, dimension)
    network, sampling = config.network, config.sampling
    columns = dimension * (2 if with_normals else 1)
    cloud = max(points * columns * CHECK_NUMBER, points * columns * 8 + used * FIT_POINT[with_normals])
    rows = min(points, sampling.surface) * (1 + sampling.near + sampling.uniform)
    if isinstance(network, MLPConfig):
        return PROGRAM + cloud + TORCH_NEURON * rows * network.width * network.layers
    assert isinstance(network, FeatureConfig)
    rows = sum(level.rows for level in feature_levels(network, dimension))
    return PROGRAM + cloud + COPIES * 12 * rows * network.features


def expected_resolution(points: Float[np.ndarray, "n d"], config: Config) -> int:
    """Resolution at which a cloud is meshed where nobody asks for another, at most: by the grids that its fit may
    have, and by its points, of which the finest grid has a cell or more between two."""
    if points.shape[1] == 2:
        return 512
    most = resolution_of(grown(config, len(points)).network, 2 * config.radius)
    if not isinstance(config.network, FeatureConfig) or not config.adapt:
        return most
    boxes, filled = _filled(points, most)
    return int(np.clip(boxes * math.sqrt(MESH_CELLS * len(points) / filled), min(USUAL[0], most), most))


def meshing(points: Float[np.ndarray, "n d"], resolution: int) -> float:
    """Bytes that a mesh or contour of a cloud takes, until it is written, by the boxes that its points fill.

    What a surface has beyond its points (membranes, ghosts) is allowed for by as much area again.
    """
    if points.shape[1] == 2:
        return PROGRAM + CONTOUR_CELL * resolution**2
    boxes, filled = _filled(points, resolution)
    cells = 2 * filled * (resolution / boxes) ** 2
    return PROGRAM + 3 * MESH_FACE * max(cells, 3.0 * min(resolution, USUAL[0]) ** 2)


def _filled(points: Float[np.ndarray, "n 3"], resolution: int) -> tuple[int, int]:
    """Boxes along the longest side of a cloud, no more than a resolution, and how many of them its points fill."""
    few = points[:: max(1, len(points) // 20_000)]
    boxes = min(resolution, int(len(few) ** 0.5) // 3 + 1)  # a dozen points a box leave few between them empty
    place = ((few - few.min(0)) * (boxes / (1.1 * float(np.ptp(few, axis=0).max())))).astype(np.int64)
    return boxes, len(np.unique(place @ [boxes * boxes, boxes, 1]))


def affordable(cells: np.ndarray) -> tuple[int, ...]:
    """The shape of a grid of so many cells along each axis, which is evaluated everywhere.

    Raises:
        InputError: there is not enough memory for it.
    """
    shape = tuple(int(count) + 1 for count in cells)
    require(
        (MESH_CELL if len(shape) == 3 else CONTOUR_CELL) * math.prod(shape),
        f"a grid of {' × '.join(f'{count:,}' for count in shape)} places",
        "use a lower resolution, or a level closer to the surface",
    )
    return shape
