"""Crumbs are told from pieces by the samples alone."""

import numpy as np
import pytest
import trimesh
from shapes import arrays, ball

from igr.examples import example_cloud
from igr.mesh.pieces import largest_piece, without_crumbs, without_curve_crumbs


def parts(*meshes):
    return arrays(trimesh.util.concatenate(meshes))


SPHERE = example_cloud("sphere", points=5000).points


def test_a_small_piece_without_points_is_a_crumb():
    vertices, faces, crumbs = without_crumbs(*parts(ball(), ball(0.03, [0.4, 0, 0])), SPHERE)
    assert crumbs == 1
    assert np.linalg.norm(vertices, axis=1).min() > 0.99
    assert trimesh.Trimesh(vertices, faces, process=False).is_watertight


def test_a_small_piece_with_points_is_kept():
    small = 0.05 * SPHERE[:50] + [2, 0, 0]
    mesh = parts(ball(), ball(0.05, [2, 0, 0]))
    vertices, _, crumbs = without_crumbs(*mesh, np.concatenate([SPHERE, small]))
    assert crumbs == 0
    assert vertices is mesh[0]


def test_a_large_piece_is_kept_even_without_points():
    assert without_crumbs(*parts(ball(), ball(0.5, [3, 0, 0])), SPHERE)[2] == 0


def test_a_single_piece_is_left_alone():
    mesh = parts(ball())
    assert without_crumbs(*mesh, SPHERE)[:2] == mesh


def test_a_small_loop_without_points_is_a_crumb():
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.c_[np.cos(angle), np.sin(angle)]
    points = circle[::2]
    kept = without_curve_crumbs([circle, 0.02 * circle + [0.3, 0]], points)
    assert len(kept) == 1
    assert kept[0] is circle
    with_points = np.concatenate([points, 0.02 * points + [3, 0]])
    assert len(without_curve_crumbs([circle, 0.02 * circle + [3, 0]], with_points)) == 2


def test_the_largest_piece_is_told_by_its_area():
    large, other = ball(2.0), trimesh.creation.box((1, 1, 1)).apply_translation([5, 0, 0])
    largest, share = largest_piece(trimesh.util.concatenate([other, large]))
    assert largest.volume == pytest.approx(large.volume)
    assert largest.is_watertight
    assert share == pytest.approx(large.area / (large.area + 6))
    assert largest_piece(large) == (large, 1.0)


def test_a_small_piece_with_a_handful_of_points_is_a_crumb_too():
    few = 0.02 * SPHERE[:5] + [2, 0, 0]
    assert without_crumbs(*parts(ball(), ball(0.02, [2, 0, 0])), np.concatenate([SPHERE, few]))[2] == 1
