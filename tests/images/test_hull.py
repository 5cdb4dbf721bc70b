"""The visual hull: what no silhouette excludes."""

import dataclasses

import numpy as np
import pytest
from photographed import ball

from igr.errors import InputError
from igr.images.hull import Hull
from igr.images.views import check_views


def test_the_hull_of_a_ball_is_the_ball():
    """From 16 sides; nowhere smaller than the ball by more than half a pixel, nowhere larger by much."""
    hull = Hull(ball(16))
    vertices, faces = hull.mesh(64)
    radius = np.linalg.norm(vertices - [5, 0, -2], axis=1)
    assert radius.min() > 1.95
    assert radius.max() < 2.25
    assert len(faces) > 1000


def test_the_sign_tells_inside_from_outside_everywhere():
    hull = Hull(ball(16))
    x = np.random.default_rng(0).normal([5, 0, -2], 4, (2000, 3))
    away = np.linalg.norm(x - [5, 0, -2], axis=1)
    value = hull(x)
    assert (value[away < 1.95] < 0).all()
    assert (value[away > 2.4] > 0).all()


def test_a_camera_that_looks_elsewhere_is_named():
    views = ball(8)
    views[3] = dataclasses.replace(views[3], center=views[3].center + 9 * views[3].rotation[0])
    with pytest.raises(InputError, match=r"003\.png sees nothing of what the others see"):
        Hull(views)


def test_inverted_masks_are_said():
    inverted = [dataclasses.replace(view, mask=~view.mask) for view in ball(8)]
    with pytest.raises(InputError, match="they are inverted"):
        check_views(inverted)


def test_a_mask_that_others_do_not_fill_is_told():
    views = ball(8)
    shifted = np.roll(views[2].mask, 24, axis=1)
    views[2] = dataclasses.replace(views[2], mask=shifted)
    doubts = Hull(views).doubts()
    assert any("002.png" in doubt for doubt in doubts)
    assert Hull(ball(8)).doubts() == []


def test_cameras_that_are_all_off_are_told_in_one_sentence():
    rng = np.random.default_rng(0)
    views = [dataclasses.replace(view, center=view.center + rng.normal(0, 0.6, 3)) for view in ball(12)]
    (doubt,) = Hull(views).doubts()
    assert "the silhouettes contradict each other" in doubt
