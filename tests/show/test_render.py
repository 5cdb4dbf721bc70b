"""Pictures show what geometry says: outlines, nearest faces, colors, the same object from field and mesh."""

import sys

import numpy as np
import pytest
import trimesh
from analytic import sphere_surface
from shapes import arrays, ball

import igr
from igr.errors import InputError
from igr.show.colors import colorbar, colorize, vertex_errors, write_error_map
from igr.show.raster import rasterize
from igr.show.render import VIEWS, View, render, render_mesh, save_film
from igr.surface.attributes import Measured


def covered(image):
    return (image != 255).any(-1)


@pytest.mark.parametrize("view", VIEWS)
def test_a_sphere_is_a_disk_from_everywhere(view):
    image = render_mesh(*arrays(ball()), View(*VIEWS[view], 200, tight=False))
    radius = 100 / (0.55 * np.sqrt(12))
    assert covered(image).sum() == pytest.approx(np.pi * radius**2, rel=0.02)
    rows, columns = np.nonzero(covered(image))
    assert abs(rows.mean() - 99.5) < 0.5
    assert abs(columns.mean() - 99.5) < 0.5


def test_a_picture_is_filled_from_everywhere():
    long = ball().vertices * [3, 0.5, 0.5] + [5, 0, 1e3]
    for view in VIEWS.values():
        rows, columns = np.nonzero(covered(render_mesh(long, ball().faces, View(*view, 200))))
        assert 180 < max(np.ptp(rows), np.ptp(columns)) < 190
        assert abs(rows.min() + rows.max() - 199) < 3
        assert abs(columns.min() + columns.max() - 199) < 3


def test_field_and_mesh_look_the_same():
    surface = sphere_surface(2.0, (10, 20, 1e6))
    mesh = surface.mesh(resolution=64)
    one, other = render(surface, View(pixels=128)), render_mesh(mesh.vertices, mesh.faces, View(pixels=128))
    ratio = covered(one).sum() / covered(other).sum()
    assert ratio == pytest.approx(1, rel=0.1)  # where the surface is seen is known to a 64th of the picture
    middle = one[50:78, 50:78].astype(int) - other[50:78, 50:78]
    assert abs(middle).mean() < 6


def test_the_nearest_face_is_seen_at_every_pixel():
    low, high = -1.0, 60.0
    square = np.array([[low, low], [high, low], [high, high], [low, high]])
    places = np.concatenate([np.c_[square, np.full(4, 5.0)], np.c_[square / 2, np.full(4, 3.0)]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    shown = rasterize(places, faces, 50)
    np.testing.assert_array_equal(shown.pixels, np.arange(2500))
    front = (shown.faces >= 2).reshape(50, 50)
    assert front[:30, :30].all()
    assert front.sum() == 900
    np.testing.assert_allclose(shown.weights.sum(1), 1)


def test_a_mesh_of_many_small_faces_has_no_holes():
    vertices, faces = arrays(ball())
    many = trimesh.Trimesh(vertices, faces).subdivide().subdivide()
    image = covered(render_mesh(many.vertices, many.faces, View(pixels=100)))
    for row in image:
        filled = np.flatnonzero(row)
        assert len(filled) == 0 or row[filled[0] : filled[-1] + 1].all()


def test_colors_are_those_of_the_vertices():
    vertices, faces = arrays(ball())
    red = np.tile(np.array([255, 0, 0], np.uint8), (len(vertices), 1))
    image = render_mesh(vertices, faces, View(pixels=64), colors=red)
    assert image[32, 32, 0] > 100
    assert image[32, 32, 1] == image[32, 32, 2] == 0


def test_the_scale_runs_from_dark_to_bright():
    colors = colorize(np.linspace(-1, 2, 50), 0.0, 1.0).astype(int)
    assert (np.diff(colors.sum(1)) >= -25).all()
    np.testing.assert_array_equal(colors[0], [68, 1, 84])
    bar = colorbar(0, 1, "distance", height=200)
    assert bar.shape == (200, 170, 3)
    np.testing.assert_allclose(bar[61, 20], [253, 231, 37], atol=10)


def test_errors_are_distances_to_triangles_and_to_points(tmp_path):
    near, far = arrays(ball(1.1)), arrays(ball(1.0))
    assert vertex_errors(near, far) == pytest.approx(0.1, abs=2e-3)
    assert vertex_errors(near, far[0]).min() >= 0.0999
    mesh, picture = write_error_map(tmp_path / "e.ply", near, far, pixels=64)
    from PIL import Image

    with Image.open(picture) as image:
        assert image.size == (64 + 64 + 170, 64)
    assert b"property float error" in mesh.read_bytes()[:400]


def test_films_are_gif_or_mp4(tmp_path):
    images = [np.full((32, 32, 3), 40 * step, np.uint8) for step in range(4)]
    save_film(tmp_path / "a.gif", iter(images))
    assert (tmp_path / "a.gif").read_bytes().startswith(b"GIF89a")
    with pytest.raises(InputError, match="films are written as"):
        save_film(tmp_path / "a.avi", iter(images))
    pytest.importorskip("imageio_ffmpeg")
    save_film(tmp_path / "a.mp4", iter(images))
    assert b"ftyp" in (tmp_path / "a.mp4").read_bytes()[:16]


def test_what_has_no_surface_cannot_be_rendered():
    with pytest.raises(InputError, match="a mesh without triangles"):
        render_mesh(ball().vertices, np.zeros((0, 3), int))
    with pytest.raises(InputError, match="write it as svg instead"):
        render(sphere_surface(center=(0.0, 0.0)))


def test_a_film_as_mp4_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(InputError, match=r"pip install imageio-ffmpeg; or write a \.gif"):
        save_film(tmp_path / "a.mp4", iter([]))
    assert not list(tmp_path.iterdir())


def painted():
    """A sphere whose points are red on one side and blue on the other."""
    surface = sphere_surface(2.0, (10, 20, 30))
    red = surface.samples[:, :1] > 0
    surface.measured = Measured({"colors": np.where(red, [250, 0, 0], [0, 0, 250]).astype(np.uint8)})
    return surface


def test_a_picture_shows_the_colors_of_the_scan_unless_told_otherwise():
    front, plain = VIEWS["front"], sphere_surface(2.0, (10, 20, 30))
    left, right = np.split(render(painted(), View(*front, 64)).astype(int), 2, axis=1)
    assert (left[32, 8:24] @ [1, 0, -1] < 0).all()
    assert (right[32, 8:24] @ [1, 0, -1] > 0).all()
    for view in (View(*front, 64, colors=False), View(*front, 64, confidence=True)):
        np.testing.assert_array_equal(render(painted(), view), render(plain, view))


def test_a_picture_of_an_open_surface_shows_no_more_than_its_mesh():
    surface = sphere_surface()
    high = surface.frame.to_input(surface.samples)[:, 2] > surface.frame.center[2]
    half = igr.Surface(
        surface.field, surface.frame, surface.config, samples=surface.samples[high], details={"open": True}
    )
    side = View(azimuth=0, elevation=0, pixels=200)
    rows, columns = np.nonzero(covered(render(half, side)))
    assert np.ptp(rows) < 0.65 * np.ptp(columns)  # half, and a little beyond the outermost samples
    rows, columns = np.nonzero(covered(render(surface, side)))
    assert np.ptp(columns) == pytest.approx(np.ptp(rows), rel=0.02)
