"""Photographs of a painted ball become the ball, with its colors."""

import dataclasses

import numpy as np
import pytest
from photographed import ball

import igr
from igr.errors import InputError
from igr.idr.config import FAST_PHOTOS, PhotoConfig

SHORT = dataclasses.replace(
    FAST_PHOTOS,
    rays=1024,
    field=dataclasses.replace(
        FAST_PHOTOS.field,
        steps=150,
        network=dataclasses.replace(FAST_PHOTOS.field.network, levels=5, finest=64, log2_rows=14),
    ),
)
CENTER = np.array([5.0, 0, -2])


def paint(x):
    return 0.5 + 0.3 * np.sin(2 * x)


FEW = ball(6, pixels=48, color=paint)


@pytest.fixture(scope="module")
def views():
    return ball(14, pixels=64, color=paint)


@pytest.fixture(scope="module")
def surface(views):
    return igr.reconstruct_images(views, config=SHORT, options=igr.PhotoOptions(held_out=2))


def test_the_ball_is_found(surface):
    """To a quarter of a pixel, which is 0.09 of its units."""
    mesh = surface.mesh(resolution=48)
    off = np.abs(np.linalg.norm(mesh.vertices - CENTER, axis=1) - 2).mean()
    assert mesh.is_watertight
    assert off < 0.0225
    assert surface.distance(CENTER[None])[0] < -1


def test_photographs_that_were_held_out_are_foretold(surface):
    told = surface.details["held_out"]
    assert told["views"] == 2
    assert told["mask_iou"] > 0.97
    assert told["psnr"] > 24


def test_vertices_have_the_colors_of_the_ball(surface):
    mesh = surface.mesh(resolution=48)
    colors = np.asarray(mesh.visual.vertex_colors)[:, :3] / 255
    assert np.abs(colors - paint(np.asarray(mesh.vertices))).mean() < 0.06


def test_a_saved_surface_is_the_same(surface, tmp_path):
    surface.save(tmp_path / "ball.igr")
    again = igr.Surface.load(tmp_path / "ball.igr")
    x = CENTER + np.random.default_rng(0).normal(0, 2, (50, 3))
    assert (again.distance(x) == surface.distance(x)).all()
    assert (again.attributes(x)["colors"] == surface.attributes(x)["colors"]).all()
    assert again.details["held_out"] == surface.details["held_out"]


def test_the_same_seed_gives_the_same_surface():
    config, views = dataclasses.replace(SHORT, field=dataclasses.replace(SHORT.field, steps=25)), FEW
    one, two = (igr.reconstruct_images(views, config=config) for _ in range(2))
    assert one.to_bytes() == two.to_bytes()


def test_the_result_moves_with_the_cameras():
    """A scene ten times as large and elsewhere gives the same surface there."""
    config, views = dataclasses.replace(SHORT, field=dataclasses.replace(SHORT.field, steps=40)), FEW
    moved = [dataclasses.replace(view, center=10 * view.center + [100, 0, -50]) for view in views]
    one, two = (igr.reconstruct_images(each, config=config) for each in (views, moved))
    assert two.frame.scale == pytest.approx(10 * one.frame.scale, rel=1e-3)
    assert np.allclose(two.frame.center, 10 * one.frame.center + [100, 0, -50], atol=0.1)
    x = CENTER + np.random.default_rng(0).normal(0, 1, (50, 3))
    assert np.abs(two.distance(10 * x + [100, 0, -50]) / 10 - one.distance(x)).max() < 0.1


def test_options_that_make_no_sense_are_refused(views):
    with pytest.raises(InputError, match="cannot be held out"):
        igr.reconstruct_images(views, options=igr.PhotoOptions(held_out=12))
    with pytest.raises(InputError, match="there is no preset 'slow'"):
        igr.reconstruct_images(views, config="slow")
    with pytest.raises(InputError, match="rendering network goes with an MLP"):
        PhotoConfig(field=igr.PAPER)
    with pytest.raises(InputError, match="at least 3 are needed"):
        igr.reconstruct_images(views[:2])


@pytest.mark.slow
def test_without_the_native_core_torch_computes():
    """Slowly, and to rounding the same where the first batches are."""
    pytest.importorskip("torch")
    config = dataclasses.replace(SHORT, field=dataclasses.replace(SHORT.field, steps=10))
    found = []
    for device in ("cpu", "torch"):
        rows = []

        def told(progress, field, rows=rows):
            rows.append(progress.loss.total)

        options = igr.PhotoOptions(held_out=1, device=device)
        surface = igr.reconstruct_images(FEW, config=config, options=options, on_step=told)
        assert surface.details["held_out"]["views"] == 1
        found.append(rows)
    assert np.allclose(found[0][:4], found[1][:4], rtol=0.05)
