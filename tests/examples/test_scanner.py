"""The virtual scanner sees what is in front, and errs as it says."""

import dataclasses

import numpy as np
import pytest
import trimesh
from shapes import arrays, ball

from examples.clouds.scanner import Scanner, scan_mesh

PERFECT = Scanner(noise=0, tilt=0, drift=0, turn=0)


def test_a_perfect_scanner_gives_points_of_the_surface_wherever_it_stands():
    center = np.array([3000.0, -500, 80])
    points, normals = scan_mesh(arrays(ball(200, center)), 4000, np.random.default_rng(0), scanner=PERFECT)
    assert len(points) == 4000
    np.testing.assert_allclose(np.linalg.norm(points - center, axis=1), 200, atol=0.6)
    assert (((points - center) / 200) * normals).sum(1).min() > 0.99


def test_errors_are_as_large_as_stated():
    scanner = dataclasses.replace(PERFECT, noise=2.0, cameras=1, heights=(0.0,))
    points, _ = scan_mesh(arrays(ball(200)), 8000, np.random.default_rng(0), scanner=scanner)
    error = np.linalg.norm(points, axis=1) - 200
    facing = points[:, 0] * np.cos(0.2) + points[:, 1] * np.sin(0.2) > 190
    assert error[facing].std() == pytest.approx(2.0, rel=0.15)


def test_what_is_hidden_is_not_seen():
    front, back = ball(300, (600, 0, 0), 4), ball(200, (-600, 0, 0), 4)
    mesh = arrays(trimesh.util.concatenate([front, back]))
    toward = Scanner(cameras=1, heights=(0.0,))
    points, _ = scan_mesh(mesh, 4000, np.random.default_rng(0), scanner=toward)
    seen = points[:, 0] < 0
    assert 0 < seen.mean() < 0.1
    plain = 0.5 * (200 / 300) ** 2
    assert seen.mean() < 0.4 * plain
