"""The viewer: the page opens, controls change what is shown, nothing goes outside; a fit is watched cheaply."""

import io
import time
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh
from analytic import AnalyticField, sphere_surface, to_sphere
from chromium import CHROMIUM, Page
from machine import free_port

from igr.config import FAST
from igr.errors import FitError, InputError
from igr.surface.attributes import Measured

pytest.importorskip("viser")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:websockets"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:viser"),
]


@pytest.fixture
def server(monkeypatch):
    """A server; what shows something on it is ended before it is."""
    from igr.studio.page import LiveMesh, open_server

    shown, begin = [], LiveMesh.__init__

    def noted(self, *given, **options):
        shown.append(self)
        begin(self, *given, **options)

    monkeypatch.setattr(LiveMesh, "__init__", noted)
    found = open_server(free_port())
    yield found
    for one in shown:
        one.closed = True
        one.changed.set()
        if one.worker.is_alive():
            one.worker.join()
    found.stop()


def wait_for(condition, seconds=600):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_controls_change_the_mesh(server):
    from igr.studio.viewer import Viewer

    viewer = Viewer(server, sphere_surface(50.0, (1e6, 0, 0)))
    assert np.linalg.norm(viewer.mesh[0] - [1e6, 0, 0], axis=1) == pytest.approx(50, abs=0.01)
    viewer.controls.level.value = 10.0
    wait_for(lambda: np.linalg.norm(viewer.mesh[0] - [1e6, 0, 0], axis=1).max() > 59)
    before = len(viewer.mesh[1])
    viewer.controls.resolution.value = 32
    wait_for(lambda: len(viewer.mesh[1]) < before / 2)
    for colors in ("normals", "confidence", "error at the points", "plain"):
        viewer.controls.colors.value = colors
        viewer.changed.set()
        wait_for(
            lambda: ("yellow" in viewer.facts.content) == (viewer.controls.colors.value == "error at the points")
        )
    viewer.controls.cut.value = "z"
    wait_for(lambda: not viewer.changed.is_set())
    viewer.controls.level.value = -100.0
    wait_for(lambda: "no surface at level" in viewer.facts.content)
    viewer.closed = True
    viewer.changed.set()
    viewer.worker.join(10)


@pytest.mark.parametrize("kind", [InputError, FitError])
def test_what_cannot_be_shown_is_told_and_the_viewer_goes_on(server, kind):
    """Its thread died of the first mesh for which there was too little memory; the command ended as if closed."""
    from igr.studio.viewer import Viewer

    surface = sphere_surface(50.0)
    viewer = Viewer(server, surface)
    mesh, refused = surface.triangles, kind("it takes too much memory")
    surface.triangles = raising(refused)
    viewer.controls.resolution.value = 64
    wait_for(lambda: "too much memory" in viewer.facts.content)
    surface.triangles = mesh
    viewer.controls.level.value = 10.0
    wait_for(lambda: len(viewer.mesh[0]) and np.linalg.norm(viewer.mesh[0], axis=1).max() > 59)
    viewer.close()


@pytest.mark.parametrize("kind", [InputError, FitError])
def test_a_viewer_opens_though_the_first_mesh_cannot_be_made(server, kind):
    from igr.studio.viewer import Viewer

    surface = sphere_surface(50.0)
    mesh, surface.triangles = surface.triangles, raising(kind("it takes too much memory"))
    viewer = Viewer(server, surface)
    assert "too much memory" in viewer.facts.content
    surface.triangles = mesh
    viewer.controls.resolution.value = 64
    wait_for(lambda: "triangles" in viewer.facts.content)
    viewer.close()


@pytest.mark.parametrize("kind", [InputError, FitError])
def test_a_latent_that_is_no_surface_is_told_and_the_viewer_goes_on(server, kind):
    from untrained import space as untrained_space

    from igr.studio.spaceviewer import SpaceViewer

    space = untrained_space()
    viewer = SpaceViewer(server, space)
    wait_for(lambda: viewer.resolution_shown == 128)
    decode = space.decode
    space.decode = raising(kind("this latent is no surface"))
    viewer.share.value = 0.5
    wait_for(lambda: "this latent is no surface" in viewer.facts.content)
    space.decode = decode
    viewer.share.value = 0.25
    wait_for(lambda: "triangles" in viewer.facts.content)
    viewer.close()


def test_a_fit_goes_on_while_it_cannot_be_shown(server, monkeypatch):
    import igr
    from igr.fit.loop import Progress
    from igr.studio.watch import Watch

    monkeypatch.setattr(igr.Surface, "triangles", raising(InputError("it takes too much memory")))
    Watch(server, igr.FAST)(Progress(1, 0.1, 0.0, None), sphere_surface().field)


def raising(problem):
    """A function that fails in this way."""

    def fail(*arguments, **options):
        raise problem

    return fail


def test_the_colors_of_the_scan_are_shown_first(server, monkeypatch):
    from igr.studio import viewer as module

    shown = []
    monkeypatch.setattr(module, "place_mesh", lambda server, v, f, colors, *, visible: shown.append(colors))
    surface = sphere_surface()
    surface.measured = Measured({"colors": np.full((len(surface.samples), 3), [255, 0, 9], np.uint8)})
    viewer = module.Viewer(server, surface)
    assert viewer.controls.colors.value == "scan"
    assert (shown[0] == [255, 0, 9]).all()
    viewer.closed = True
    viewer.changed.set()
    viewer.worker.join(10)


def test_a_mesh_is_shown_without_a_field(server):
    from igr.studio.viewer import Viewer

    ball = trimesh.creation.icosphere(subdivisions=2)
    viewer = Viewer(server, (np.asarray(ball.vertices), np.asarray(ball.faces)))
    assert "320 triangles" in viewer.facts.content
    assert not viewer.controls.level.visible
    viewer.controls.triangles.value = 100
    wait_for(lambda: "decimated from 320" in viewer.facts.content)
    assert len(trimesh.load_mesh(io.BytesIO(viewer.file(".stl")), file_type="stl").faces) <= 100
    viewer.controls.triangles.value = 3  # fewer than any solid has: all stay
    wait_for(lambda: len(viewer.mesh[1]) == 320)


def test_a_mesh_of_many_triangles_is_drawn_with_fewer_and_stays_whole(server, monkeypatch):
    from igr.studio import viewer as module

    monkeypatch.setattr(module, "SHOWN", 500)
    ball = trimesh.creation.icosphere(subdivisions=4)
    viewer = module.Viewer(server, (np.asarray(ball.vertices), np.asarray(ball.faces)))
    assert "shown with 500 of them" in viewer.facts.content
    viewer.controls.colors.value = "normals"
    viewer.attempt(viewer._show)
    assert "shown with 500 of them" in viewer.facts.content
    assert len(viewer.mesh[1]) == 5120


def test_iso_lines_lie_on_level_sets():
    from igr.studio.viewer import ISO_STEP, iso_lines

    surface = sphere_surface(3.0, (5.0, 6.0, 7.0))
    segments, colors = iso_lines(surface, surface.frame, 1, 0.1, surface.triangles(96))
    assert segments.shape == colors.shape
    values = surface.distance(surface.frame.to_input(segments.reshape(-1, 3)))
    step = ISO_STEP * (surface.box[1] - surface.box[0]).max() * surface.frame.scale
    assert abs(values / step - np.round(values / step)).max() < 0.02
    np.testing.assert_allclose(np.ptp(segments[..., 1]), 0)


def test_curves_and_taken_ports_are_refused(server):
    from igr.studio.page import open_server
    from igr.studio.viewer import Viewer

    with pytest.raises(InputError, match="use igr report"):
        Viewer(server, sphere_surface(1.0, (0.0, 0.0)))
    with pytest.raises(InputError, match="is not free"):
        open_server(server.get_port())


def test_a_port_is_free_again_after_the_viewer_was_closed():
    from websockets.sync.client import connect

    from igr.studio.page import open_server, stop

    port = free_port()
    for _ in range(2):
        server = open_server(port)
        with connect(f"ws://127.0.0.1:{port}", proxy=None):
            stop(server)


def test_only_this_machine_is_answered(server):
    assert server.get_host() == "127.0.0.1"


def test_watching_takes_at_most_a_twentieth_of_the_fit(server, monkeypatch):
    """By a clock that only the work moves: a step takes 10 ms, and each look at the field 10 ms more."""
    from igr.fit.loop import Progress
    from igr.fit.objective import Loss
    from igr.studio.watch import Watch

    now, looks = 0.0, 0
    monkeypatch.setattr("igr.studio.watch.time", SimpleNamespace(monotonic=lambda: now))

    def distance(x):
        nonlocal now, looks
        now, looks = now + 0.01, looks + 1
        return to_sphere(x, 0.5)

    field = AnalyticField(3, distance, lambda x: x / np.linalg.norm(x, axis=1, keepdims=True))
    watch = Watch(server, FAST)
    shown = 0
    for step in range(1, 3000):
        now, before = now + 0.01, looks
        watch(Progress(step, step / 3000, now, Loss({}, 0.0, np.zeros(0), np.zeros((0, 3)))), field)
        shown += looks > before
    assert shown > 3
    assert watch.spent == pytest.approx(0.01 * looks)
    assert watch.spent <= now / 20 + watch.cost
    assert "step" in watch.facts.content


def test_a_watched_command_says_where_and_keeps_stdout_for_results(tmp_path, capsys):
    from igr.cli.main import main

    port = str(free_port())
    assert main(["example", "sphere", str(tmp_path / "ball.ply"), "--points", "500"]) == 0
    assert main(["example", "outline", str(tmp_path / "leaf.xyz")]) == 0
    capsys.readouterr()
    quick = ["--steps", "20", "--resolution", "24", "--watch", "--port", port]
    assert main(["reconstruct", str(tmp_path / "ball.ply"), *quick]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert out.startswith("wrote ")
    assert f"http://127.0.0.1:{port}" in err
    assert main(["reconstruct", str(tmp_path / "leaf.xyz"), *quick]) == 2
    assert "shows surfaces in space" in capsys.readouterr().err


def test_a_page_is_served_until_ctrl_c_and_its_port_is_free_again(tmp_path):
    import signal
    import subprocess
    import sys
    from urllib.request import urlopen

    from igr.studio.page import open_server, stop

    trimesh.creation.icosphere(subdivisions=2).export(tmp_path / "ball.ply")
    port = free_port()
    command = [sys.executable, "-m", "igr", "view", tmp_path / "ball.ply", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as view:
        assert view.stdout is not None
        assert view.stdout.readline() == f"http://127.0.0.1:{port} (Ctrl-C ends it)\n"
        with urlopen(f"http://127.0.0.1:{port}", timeout=600) as page:
            assert page.status == 200
        view.send_signal(signal.SIGINT)
        assert view.wait(600) == 130
    stop(open_server(port))


def test_a_shape_space_is_walked_through(server, ellipsoids):
    from families import SMALL

    from igr.space.space import ShapeSpace
    from igr.studio.spaceviewer import COARSE, SpaceViewer

    space = ShapeSpace.train(ellipsoids, config=SMALL)
    viewer = SpaceViewer(server, space)
    wait_for(lambda: viewer.resolution_shown == 128)
    np.testing.assert_allclose(viewer.latent(), space.latents.mean(0), atol=1e-6)
    before = viewer.mesh[0]
    viewer.sliders[0].value = 2.0
    wait_for(lambda: viewer.resolution_shown == COARSE)
    wait_for(lambda: viewer.resolution_shown == 128)
    assert abs(np.ptp(viewer.mesh[0], 0) - np.ptp(before, 0)).max() > 0.02 * np.ptp(before)
    viewer.sliders[0].value = 0.0
    for end, name in zip(viewer.ends, (space.names[0], space.names[-1]), strict=True):
        end.value = name
    viewer.share.value = 0.25
    np.testing.assert_allclose(viewer.latent(), 0.75 * space.latents[0] + 0.25 * space.latents[-1], atol=1e-6)
    viewer._reset(None)
    assert [slider.value for slider in viewer.sliders] == [0.0] * len(viewer.sliders)
    viewer.close()
    assert not viewer.worker.is_alive()


def test_a_space_of_curves_is_not_shown(server):
    import torch
    from families import SMALL

    from igr.space.network import SpaceField, SpaceNetwork, make_network
    from igr.space.space import ShapeSpace
    from igr.studio.spaceviewer import SpaceViewer

    field = SpaceField(SpaceNetwork(make_network(SMALL, 2), torch.zeros(1, 4)))
    with pytest.raises(InputError, match="this is a shape space of planar curves"):
        SpaceViewer(server, ShapeSpace(field, SMALL, names=("a",), scale=1.0, reach=1.0))


def test_a_space_is_told_from_a_surface(tmp_path):
    from igr.space.files import FORMAT
    from igr.store.tensors import write_tensors
    from igr.surface.opening import is_space

    for name, kind in (("surface.igr", "igr surface 1"), ("space.igr", FORMAT)):
        write_tensors(tmp_path / name, {"one": np.zeros(1)}, {"format": kind})
    assert is_space("bodies")
    assert is_space(tmp_path / "space.igr")
    assert not is_space(tmp_path / "surface.igr")
    assert not is_space(tmp_path / "missing.ply")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_the_page_opens_a_slider_changes_the_surface_and_nothing_goes_wrong(tmp_path):
    from igr.studio.page import open_server
    from igr.studio.viewer import Viewer

    server = open_server(free_port())
    viewer = Viewer(server, sphere_surface(50.0, (1e6, 0, 0)))
    page = Page(f"http://127.0.0.1:{server.get_port()}")
    try:
        page.wait("document.body.innerText.includes('triangles')")
        before, picture = len(viewer.mesh[1]), page.settled()
        page.evaluate("document.querySelectorAll('[role=slider]')[0].focus()")
        page.press("ArrowRight", 30)
        wait_for(lambda: viewer.controls.level.value > 0 and viewer.made_with == viewer.controls.asked())
        assert len(viewer.mesh[1]) != before
        wait_for(lambda: page.screenshot(tmp_path / "page.png") != picture)
        outside = [
            url for url in page.requests if "127.0.0.1" not in url and not url.startswith(("data:", "blob:"))
        ]
        assert outside == []
        assert page.errors == []
    finally:
        page.close()
        viewer.close()
