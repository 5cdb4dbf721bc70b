"""Triangles of blocks on one lattice: together they are those of the whole."""

from itertools import pairwise

import numpy as np
import pytest
import trimesh
from shapes import sphere

from igr.cloud.neighbors import Neighbors
from igr.large.join import join
from igr.large.lattice import RIM, Lattice, asked, piece_of
from igr.mesh.border import Edge
from igr.mesh.triangles import face_areas, read_mesh

WHOLE = np.array([[-1.3, -1.2, -1.1], [1.2, 1.3, 1.25]])


class Ball:
    """The exact field of a sphere with a bump."""

    def distance(self, x):
        return np.linalg.norm(x, axis=1) - 1 - 0.1 * np.sin(5 * x[:, 0])

    def gradient(self, x):
        return x / np.linalg.norm(x, axis=1, keepdims=True) - 0.5 * np.cos(5 * x[:, :1]) * [[1, 0, 0]]

    def distance_and_gradient(self, x):
        return self.distance(x), self.gradient(x)


class Sheet(Ball):
    def distance(self, x):
        return x[:, 2] - 0.1 * np.sin(5 * x[:, 0])


def cut_up(*places):
    """The boxes between planes along each axis."""
    edges = [[low, *inner, high] for low, inner, high in zip(WHOLE[0], places, WHOLE[1], strict=True)]
    sides = [list(pairwise(one)) for one in edges]
    return np.array([np.transpose([x, y, z]) for x in sides[0] for y in sides[1] for z in sides[2]])


def as_arrays(piece, samples=1):
    """What joining reads of a piece that is one part."""
    if piece is None:
        return {}
    rows = np.flatnonzero(piece.shared)
    arrays = {"vertices": piece.vertices, "faces": piece.faces.astype(np.int32), "own": piece.own, "shared": rows}
    arrays |= {"names": piece.names[rows], "label": np.zeros(len(piece.vertices), int)}
    arrays |= {"area": np.array([face_areas(piece.vertices, piece.faces).sum()]), "support": np.array([samples])}
    return arrays | {"confidence": np.ones(len(piece.vertices), np.float32)}


def written(field, boxes, path, step=0.04, ends=None, origin=(0.003, 0.0, -0.01)):
    lattice = Lattice(np.array(origin), step)
    pieces = [as_arrays(piece_of(field, lattice, box, WHOLE, ends)) for box in boxes]
    told = join(path, len(boxes), pieces.__getitem__)
    return told, trimesh.Trimesh(*read_mesh(path), process=False)


def same_triangles(mesh, other):
    """Whether two meshes have the same triangles, wherever they stand in them."""
    corners = [np.sort(np.round(m.triangles, 9).reshape(-1, 9), axis=0) for m in (mesh, other)]
    return corners[0].shape == corners[1].shape and np.allclose(*corners)


@pytest.mark.parametrize("planes", [([0.0], [], []), ([-0.31, 0.4], [0.123], [0.0, 0.7])])
def test_blocks_make_the_triangles_of_the_whole(planes, tmp_path):
    whole, expected = written(Ball(), cut_up([], [], []), tmp_path / "whole.ply")
    told, mesh = written(Ball(), cut_up(*planes), tmp_path / "blocks.ply")
    assert expected.is_watertight
    assert whole.open_edges == told.open_edges == 0
    assert told.components == 1
    assert mesh.is_watertight
    assert len(mesh.vertices) == len(expected.vertices) == told.vertices
    assert same_triangles(mesh, expected)


def test_the_order_of_the_blocks_changes_nothing_but_the_order(tmp_path):
    boxes = cut_up([-0.31, 0.4], [0.123], [0.0])
    _, mesh = written(Ball(), boxes, tmp_path / "one.ply")
    _, other = written(Ball(), boxes[::-1], tmp_path / "other.ply")
    assert other.is_watertight
    assert same_triangles(mesh, other)


def test_an_open_surface_is_cut_alike_in_all_blocks(tmp_path):
    rng = np.random.default_rng(0)
    places = rng.uniform(-0.8, 0.8, (20_000, 2))
    places = places[np.linalg.norm(places - [0.2, 0.1], axis=1) > 0.3]
    samples = np.c_[places, 0.1 * np.sin(5 * places[:, 0])]
    ends = Edge(Neighbors(samples))
    _, expected = written(Sheet(), cut_up([], [], []), tmp_path / "whole.ply", ends=ends)
    told, mesh = written(Sheet(), cut_up([0.05], [0.0], []), tmp_path / "blocks.ply", ends=ends)
    assert told.components == 1
    assert mesh.euler_number == expected.euler_number == 0  # a square with a hole
    edges = np.unique(mesh.edges_sorted, axis=0, return_counts=True)[1]
    assert told.open_edges == (edges == 1).sum() > 0
    assert (edges <= 2).all()
    assert mesh.area == pytest.approx(expected.area, rel=1e-5)


def test_a_trimmed_surface_stays_beside_its_samples(tmp_path):
    samples = np.c_[np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 2)), np.zeros(5000)]
    _, mesh = written(
        Sheet(), cut_up([0.05], [], []), tmp_path / "x.ply", ends=Edge(Neighbors(samples), trim=0.15)
    )
    assert 0 < Neighbors(samples).at(mesh.vertices)[0].max() <= 0.155  # cut straight across triangles


def test_nothing_is_asked_beyond_the_box_that_is_told_before():
    """So the fields of all blocks that have a say there suffice."""

    class Watched(Ball):
        def distance(self, x):
            low, high = asked(lattice, box, RIM)
            assert ((x >= low - 1e-9) & (x <= high + 1e-9)).all()
            return super().distance(x)

    lattice = Lattice(np.array([0.003, 0.0, -0.01]), 0.011)
    for box in cut_up([0.3], [-0.2], []):
        piece = piece_of(Watched(), lattice, box, WHOLE, None)
        assert piece is not None
        assert len(piece.faces) > 1000


def test_crumbs_are_judged_by_the_whole_piece(tmp_path):
    """A piece that goes on in the next block is kept though a corner of it is small and bare there."""
    boxes = cut_up([0.985], [], [])
    lattice = Lattice(np.zeros(3), 0.04)
    pieces = [
        as_arrays(piece_of(Ball(), lattice, box, WHOLE, None), samples=n)
        for box, n in zip(boxes, (1000, 0), strict=True)
    ]
    assert join(tmp_path / "x.ply", 2, pieces.__getitem__).open_edges == 0
    far = {"vertices": 5 + 1e-3 * sphere(3)[0], "faces": np.array([[0, 1, 2]], np.int32), "own": np.ones(3, bool)}
    far |= {"shared": np.zeros(0, int), "names": np.zeros((0, 2), int), "label": np.zeros(3, int)}
    far |= {"area": np.array([1e-6]), "support": np.array([0]), "confidence": np.ones(3, np.float32)}
    told = join(tmp_path / "y.ply", 3, [*pieces, far].__getitem__)
    assert (told.components, told.crumbs, told.open_edges) == (1, 1, 0)


def test_a_hole_as_wide_as_is_asked_is_closed_across_blocks(tmp_path):
    places = np.random.default_rng(0).uniform(-0.8, 0.8, (20_000, 2))
    places = places[np.linalg.norm(places - [0.05, 0.0], axis=1) > 0.2]  # 35 spacings wide, over the border
    samples = np.c_[places, 0.1 * np.sin(5 * places[:, 0])]
    for holes, left in ((None, 0), (0.5, 1)):
        edge = Edge(Neighbors(samples), holes)
        _, expected = written(Sheet(), cut_up([], [], []), tmp_path / "whole.ply", step=0.01, ends=edge)
        told, mesh = written(Sheet(), cut_up([0.05], [], []), tmp_path / "blocks.ply", step=0.01, ends=edge)
        assert told.components == 1
        assert mesh.euler_number == expected.euler_number == left  # a square with the hole, or without
