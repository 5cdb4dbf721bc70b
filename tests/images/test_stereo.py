"""Depths from photographs that agree."""

import numpy as np
from photographed import ball

from igr.images.fusion import Carved
from igr.images.hull import Hull
from igr.images.stereo import depth_maps

CENTER = np.array([5.0, 0, -2])


def paint(x):
    rng = np.random.default_rng(3)
    waves = rng.normal(0, 4, (3, 12, 3))
    return np.stack([0.5 + 0.12 * np.sin(x @ w.T + rng.uniform(0, 6, 12)).sum(1).clip(-4, 4) for w in waves], 1)


def test_depths_are_those_of_the_ball():
    views = ball(14, pixels=64, color=paint)
    maps = depth_maps(views, Hull(views))
    seen = np.mean([np.isfinite(found.depth).sum() / found.view.mask.sum() for found in maps])
    assert seen > 0.1
    off = []
    for found in maps:
        rows, columns = np.nonzero(np.isfinite(found.depth))
        along = found.view.directions(np.stack([columns, rows], 1).astype(float))
        along /= (along @ found.view.rotation[2])[:, None]
        x = found.view.center + found.depth[rows, columns, None] * along
        off.append(np.linalg.norm(x - CENTER, axis=1) - 2)
    assert np.median(np.abs(np.concatenate(off))) < 0.15


def test_without_texture_nothing_is_carved():
    views = ball(8, pixels=48, color=lambda x: np.full(x.shape, 0.5))
    hull = Hull(views)
    maps = depth_maps(views, hull)
    assert all(np.isnan(found.depth).all() for found in maps)
    x = CENTER + np.random.default_rng(0).normal(0, 1.5, (200, 3))
    assert (np.sign(Carved(hull, maps)(x)) == np.sign(hull(x))).all()
