"""Pieces, ghosts and fields of known shapes."""

import dataclasses

import numpy as np
import pytest
import trimesh
from shapes import ball

from igr.judge.quality import field_quality, ghost_area, signed_distance, topology, volume_iou


def test_topology_counts_pieces_handles_and_holes():
    torus = trimesh.creation.torus(1, 0.3)
    both = trimesh.util.concatenate([torus, ball(0.01, (3, 0, 0), 2)])
    found = topology(both)
    assert dataclasses.asdict(found) | {"area": 0, "volume": 0} == {
        "components": 2,
        "large_components": 1,
        "watertight": True,
        "euler": 2,
        "genus": 1,
        "area": 0,
        "volume": 0,
    }
    opened = trimesh.Trimesh(torus.vertices, torus.faces[1:], process=False)
    assert topology(opened).watertight is False
    assert topology(opened).genus is None


def test_a_ghost_is_area_far_from_the_points():
    points = np.asarray(ball().vertices)
    assert ghost_area(ball(), points) == 0
    both = trimesh.util.concatenate([ball(), ball(center=(10, 0, 0))])
    assert ghost_area(both, points) == pytest.approx(0.5, abs=0.01)


def test_the_exact_field_has_no_residual_and_a_stretched_one_has():
    mesh = ball()
    exact = field_quality(
        lambda x: np.linalg.norm(x, axis=1) - 1,
        lambda x: x / np.linalg.norm(x, axis=1, keepdims=True),
        mesh,
        band=0.1,
        samples=5000,
    )
    assert max(exact.eikonal_band, exact.eikonal_box) < 1e-9
    assert max(exact.rms_band, exact.rms_box) < 2e-3
    double = field_quality(
        lambda x: 2 * np.linalg.norm(x, axis=1) - 2,
        lambda x: 2 * x / np.linalg.norm(x, axis=1, keepdims=True),
        mesh,
        band=0.1,
        samples=5000,
    )
    assert double.eikonal_box == pytest.approx(1)
    assert 0.04 < double.rms_band < 0.06


def test_signed_distance_is_negative_inside():
    mesh = ball()
    found = signed_distance(
        np.asarray(mesh.vertices), np.asarray(mesh.faces), np.array([[0, 0, 0.5], [0, 0, 1.5]])
    )
    np.testing.assert_allclose(found, [-0.5, 0.5], atol=2e-3)


def test_iou_of_nested_spheres_is_the_ratio_of_their_volumes():
    assert volume_iou(ball(0.8), ball()) == pytest.approx(0.512, abs=0.01)
