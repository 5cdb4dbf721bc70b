"""One block of a field to triangles, on a lattice that all blocks share.

Every cell of the lattice belongs to one block, and a block makes the triangles of its own cells and no others.
Those of a cell follow from the field at its corners and on its edges, which every block that asks is told alike;
so the triangles of two blocks meet exactly, whichever was made first. Each vertex has a name, the same in all:
the edge of the lattice that it lies on, or the two such between which a border was cut.

A block looks at a rim of cells around its own, too: a surface that ends is cut there as in the neighbors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..mesh.border import Edge, beside
from ..mesh.cells import Grid, Voxels, all_voxels, follow
from ..mesh.cubes import triangulate
from ..mesh.extract import CLOSE, COARSEST
from ..mesh.gaps import Shape
from ..mesh.triangles import cut

RIM = 16
"""The same at least: where no width is given, holes that are closed are up to 6 spacings wide, 12 cells."""


@dataclass(frozen=True)
class Lattice:
    """Cubic cells that fill space."""

    origin: Float[np.ndarray, " 3"]
    step: float
    """Edge of a cell."""

    def cells(self, box: Float[np.ndarray, "2 3"]) -> Int[np.ndarray, "2 3"]:
        """First cell of a box along each axis, and the first one beyond it: those whose middles lie in it."""
        return np.ceil((box - self.origin) / self.step - 0.5).astype(np.int64)


@dataclass(frozen=True)
class Piece:
    """The triangles of a block."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    names: Int[np.ndarray, "v 2"]
    """The edges of the lattice that each vertex lies between: twice the same where it lies on one."""
    own: Bool[np.ndarray, " v"]
    """Whether a vertex belongs to this block: the first of its edges starts in one of its cells."""
    shared: Bool[np.ndarray, " v"]
    """Whether another block may ask for it."""


def rim_of(lattice: Lattice, holes: float | None) -> int:
    """Cells around a block's own that it looks at: as many as the holes that are closed are wide."""
    return max(RIM, math.ceil((holes or 0.0) / lattice.step))


def asked(lattice: Lattice, box: Float[np.ndarray, "2 3"], rim: int) -> Float[np.ndarray, "2 3"]:
    """The box of space whose field is asked for the triangles of a block: its cells, the rim around them, and what
    the coarsest cells that these lie in have beyond."""
    low, high = lattice.cells(box)
    start, shape, size = _coarsest(low - rim, high + rim)
    return lattice.origin + lattice.step * size * np.stack([start, start + shape])


def piece_of(
    field: Shape,
    lattice: Lattice,
    box: Float[np.ndarray, "2 3"],
    whole: Float[np.ndarray, "2 3"],
    edge: Edge | None,
) -> Piece | None:
    """The triangles of the cells in the box of a block; None where there are none.

    Args:
        field: the field of all blocks, in the frame of the lattice.
        lattice: its cells.
        box: of the block.
        whole: of all blocks: numbers the lattice's corners.
        edge: where the surface ends; None: nowhere.

    Raises:
        InputError: memory does not suffice.
    """
    (low, high), (first, last) = lattice.cells(box), lattice.cells(whole)
    rim = rim_of(lattice, None if edge is None else edge.holes)
    numbers = _grid(lattice, first - rim, last - first + 2 * rim + 2)
    found = _voxels(field, lattice, low - rim, high + rim, edge)
    made = None if found is None else triangulate(_values(field), found, CLOSE * lattice.step)
    if found is None or made is None or len(made.faces) == 0:
        return None
    grid, cells = found.grid, found.cells[made.cells]
    corner = _places(grid, found.keys[made.corner])
    name = 3 * ((corner - numbers.offset) @ numbers.strides) + made.axis
    vertices, faces, of = made.vertices, made.faces, np.arange(len(made.faces))
    between = np.arange(len(vertices))[:, None].repeat(2, 1)
    if edge is not None:
        vertices, faces, between, of = cut(vertices, faces, *edge.gap(vertices, faces))
    inside = _within(_places(grid, cells[of]), low, high)
    used, faces = np.unique(faces[inside], return_inverse=True)
    if len(used) == 0:
        return None
    between = between[used]
    between = np.take_along_axis(between, np.argsort(name[between], axis=1), axis=1)
    at = corner[between[:, 0]]
    own = _within(at, low, high)
    return Piece(vertices[used], faces.reshape(-1, 3), name[between], own, ~own | (at == low).any(1))


def _voxels(field: Shape, lattice: Lattice, low: np.ndarray, high: np.ndarray, edge: Edge | None) -> Voxels | None:
    """The cells from `low` to `high` that the surface passes through."""
    start, shape, size = _coarsest(low, high)
    near = None if edge is None else beside(edge.near, edge.reach())

    def wanted(grid: Grid, cells: np.ndarray) -> np.ndarray:
        place, halved = _places(grid, cells), round(grid.step / lattice.step)
        asked = np.asarray(((place * halved < high) & ((place + 1) * halved > low)).all(1))
        if near is not None:
            asked[asked] = near(grid, cells[asked])
        return asked

    def evaluate(grid: Grid, keys: np.ndarray) -> np.ndarray:
        return _values(field)(grid.points(keys)[0])

    grid = _grid(Lattice(lattice.origin, lattice.step * size), start, shape)
    corners = np.arange(int(np.prod(shape + 1)), dtype=grid.key_type)
    values = evaluate(grid, corners).reshape(shape + 1)
    slope = max(float(np.abs(np.diff(values, axis=axis)).max(initial=0)) for axis in range(3)) / grid.step
    found = follow(
        evaluate, all_voxels(grid, values), size.bit_length() - 1, max(slope, 1.0), wanted, int((high - low).max())
    )
    return None if found is None else found[0]


def _coarsest(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """First, number along each axis, and edge in cells, of the coarsest cells that those from `low` to `high` are
    looked for in."""
    size = 2 ** max(0, int(np.log2(float((high - low).max()) / COARSEST)))
    return low // size, -(-high // size) - low // size, size


def _grid(lattice: Lattice, start: np.ndarray, shape: np.ndarray) -> Grid:
    """A part of a lattice."""
    x, y, z = (int(count) for count in shape)
    i, j, k = (int(first) for first in start)
    return Grid(lattice.origin, lattice.step, (x, y, z), (i, j, k))


def _values(field: Shape) -> Callable[[np.ndarray], np.ndarray]:
    return lambda places: field.distance(places).astype(np.float32)


def _places(grid: Grid, keys: np.ndarray) -> Int[np.ndarray, "n 3"]:
    """Where corners of a grid lie on its lattice, in steps."""
    return np.stack(grid.subscripts(keys.astype(np.int64)), axis=1) + np.array(grid.offset)


def _within(places: np.ndarray, low: np.ndarray, high: np.ndarray) -> Bool[np.ndarray, " n"]:
    return np.asarray(((places >= low) & (places < high)).all(1))
