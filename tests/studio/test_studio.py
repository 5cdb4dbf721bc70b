"""The studio's page: what it shows at each stage, and in a browser every control, files, two tabs, closing."""

import dataclasses
import io
import time

import numpy as np
import pytest
import trimesh
from chromium import CHROMIUM, Page
from machine import free_port

import igr
from igr.config import FeatureConfig
from igr.errors import InputError
from igr.mesh.write import ply_bytes

pytest.importorskip("viser")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:websockets"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:viser"),
]
PLAIN = dataclasses.replace(igr.FAST.objective, warm_start=0.0, far_sign=0.0)
FEW = FeatureConfig(levels=3, coarsest=4, finest=16, log2_rows=12, width=32, start_levels=3)
SMALL = dataclasses.replace(igr.FAST, adapt=False, objective=PLAIN, network=FEW)


def wait_for(condition, seconds=600):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def write_ball(path, count=400):
    """A colored ball of radius 50."""
    normals = np.random.default_rng(3).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    colors = (127.5 * (normals + 1)).astype(np.uint8)
    path.write_bytes(ply_bytes(50 * normals, None, None, colors, normals=normals))


def write_sheet(path, count=900):
    """A wavy sheet with a hole, 200 wide."""
    x, y = np.random.default_rng(4).uniform(-100, 100, (2, count))
    kept = np.hypot(x, y) > 25
    np.savetxt(path, np.c_[x, y, 8 * np.sin(x / 30)][kept], fmt="%.3f")


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A function that opens a studio on a folder with a ball, a sheet and a file that is no scan."""
    from igr.studio.page import open_server
    from igr.studio.session import Session
    from igr.studio.studio import Studio

    monkeypatch.setattr(igr.Surface, "resolution", 48)  # of a ball, 256 are half a million triangles
    write_ball(tmp_path / "ball.ply")
    write_sheet(tmp_path / "sheet.xyz")
    (tmp_path / "bad.ply").write_bytes(b"ply\nformat nonsense\n")
    studios = []

    def open_studio(source=tmp_path, steps=60):
        session = Session(config=SMALL, options=igr.Options(steps=steps))
        studios.append(Studio(open_server(free_port()), source, session))
        return studios[-1]

    yield open_studio
    for studio in studios:
        studio.close()


def test_the_page_follows_a_scan_to_its_surface(opened, tmp_path):
    studio = opened()
    assert studio.files.options == ("choose a scan …", "bad.ply", "ball.ply", "sheet.xyz")
    assert not studio.start.visible
    studio.files.value = "ball.ply"
    wait_for(lambda: studio.start.visible)
    assert studio.files.value == "choose a scan …"
    assert "400 points with normals and colors" in studio.facts.content.replace("&#44;", ",")
    studio.session.read(tmp_path / "bad.ply")
    assert "not understood" in studio.facts.content
    studio.session.fit()
    assert studio.start.label == "Reconstruct again"
    assert not studio.bar.visible
    assert studio.viewer is not None
    controls, viewer = studio.viewer.controls, studio.viewer
    assert controls.colors.options == ("scan", "plain", "confidence", "error at the points", "normals")
    assert not controls.trim.visible
    for suffix in (".ply", ".obj", ".stl", ".glb"):
        mesh = trimesh.load_mesh(io.BytesIO(viewer.file(suffix)), file_type=suffix[1:])
        assert abs(mesh.bounds - [[-50] * 3, [50] * 3]).max() < 10
    studio.session.fit()
    assert studio.viewer is not viewer


def test_a_file_from_the_browser_is_read_and_not_held(opened, tmp_path):
    from viser import UploadedFile

    studio = opened()
    for name, told in (("ball.ply", "400 points"), ("../bad.ply", "not understood")):
        file = UploadedFile(name, (tmp_path / name.rpartition("/")[2]).read_bytes())
        studio._read_uploaded(file)
        assert told in studio.facts.content.replace("&#44;", ",")
        assert file.content == b""
    assert not studio.invitation.visible


def test_a_file_opens_at_once_and_an_open_scan_has_its_controls(opened, tmp_path):
    studio = opened(tmp_path / "sheet.xyz")
    wait_for(lambda: studio.session.stage == "scan")
    studio.session.fit()
    viewer = studio.viewer
    controls = viewer.controls
    assert controls.trim.visible
    wait_for(lambda: viewer.made_with == controls.asked())
    area = trimesh.Trimesh(*viewer.mesh).area
    controls.holes.value = 20.0  # by itself, up to six spacings: the hole is closed
    wait_for(lambda: viewer.made_with == controls.asked() and viewer.made_with.holes)
    assert trimesh.Trimesh(*viewer.mesh).area < area
    controls.trim.value = controls.trim.step * 20
    wait_for(lambda: viewer.made_with == controls.asked() and viewer.made_with.trim)
    assert controls.holes.disabled


def test_a_length_is_measured_between_two_clicks(opened, tmp_path):
    studio = opened()
    studio.session.read(tmp_path / "ball.ply")
    studio.session.fit()
    viewer = studio.viewer
    viewer.controls.measure.value = True
    wait_for(lambda: viewer.tape.listening)
    viewer.tape.add((0, 0, 5), (0, 0, -1))
    assert "second" in viewer.length.content
    viewer.tape.add((7, 0, 5), (0, 0, -1))  # beside the ball
    viewer.tape.add((0, 0, -5), (0, 0, 1))
    length = float(viewer.length.content.split("**")[1])
    assert length == pytest.approx(np.ptp(viewer.mesh[0][:, 2]), rel=0.02)
    viewer.tape.add((5, 0, 0), (-1, 0, 0))
    assert len(viewer.tape.ends) == 1
    viewer.controls.measure.value = False
    wait_for(lambda: not viewer.tape.ends)


def test_fewer_triangles_are_shown_and_taken_home(opened, tmp_path):
    studio = opened()
    studio.session.read(tmp_path / "ball.ply")
    studio.session.fit()
    viewer = studio.viewer
    controls = viewer.controls
    wait_for(lambda: viewer.made_with == controls.asked())
    whole = viewer.whole
    controls.triangles.value = 500
    wait_for(lambda: "decimated from" in viewer.facts.content)
    assert viewer.whole is whole, "the mesh was made anew"
    assert 400 < len(viewer.mesh[1]) <= 500
    assert len(viewer.shown[1]) == len(viewer.mesh[1])
    assert f"{len(whole[1]):,} triangles" in viewer.facts.content
    for suffix in (".ply", ".obj", ".stl", ".glb"):
        mesh = trimesh.load_mesh(io.BytesIO(viewer.file(suffix)), file_type=suffix[1:])
        assert len(mesh.faces) == len(viewer.mesh[1])
        assert mesh.is_watertight
    controls.triangles.value = 300
    assert len(trimesh.load_mesh(io.BytesIO(viewer.file(".stl")), file_type="stl").faces) <= 300
    controls.level.value = 5.0  # another mesh has as few
    wait_for(lambda: viewer.made_with == controls.asked() and viewer.made_with.level == 5)
    assert len(viewer.mesh[1]) <= 300 < len(viewer.whole[1])
    controls.triangles.value = 0
    wait_for(lambda: viewer.mesh is viewer.whole)
    wait_for(lambda: "decimated" not in viewer.facts.content)


def test_a_folder_that_is_none_is_refused(opened, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        opened(tmp_path / "nowhere")


def test_a_cut_takes_the_part_before_a_plane_away(opened, tmp_path):
    studio = opened()
    studio.session.read(tmp_path / "ball.ply")
    studio.session.fit()
    viewer = studio.viewer
    viewer.controls.cut.value = "x"
    wait_for(lambda: len(viewer.shown[0]) and viewer.shown[0][:, 0].max() < 0.1)
    viewer.controls.place.value = -0.25
    wait_for(lambda: viewer.shown[0][:, 0].max() < -0.3)


def test_a_scan_with_y_upward_is_stood_up(opened):
    studio = opened()
    first = studio.server.initial_camera
    assert np.array_equal(first.up, (0, 0, 1))
    height = first.position @ first.up
    studio.up.value = "y axis"
    wait_for(lambda: np.array_equal(first.up, (0, 1, 0)))
    assert first.position @ first.up == pytest.approx(height)


def test_a_cut_that_is_taken_back_while_it_is_drawn_leaves_the_page_alive(opened, tmp_path):
    studio = opened()
    studio.session.read(tmp_path / "ball.ply")
    studio.session.fit()
    viewer = studio.viewer
    viewer.closed = True  # only one thread draws at a time: this one, from here on
    viewer.changed.set()
    viewer.worker.join()

    class TakenBack:
        values = iter(["x", *["none"] * 100])
        value = property(lambda self: next(self.values))

    viewer.controls.cut = TakenBack()
    viewer._place()
    assert viewer.shown[0][:, 0].max() < 0.1


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_files_are_dropped_anywhere_on_the_page(opened, tmp_path):
    studio = opened()
    url = f"http://127.0.0.1:{studio.server.get_port()}"
    page, other = Page(url, 1280, 800), Page(url, 1280, 800)
    try:
        for tab in (page, other):
            tab.wait("document.body.innerText.includes('Open a scan') && document.ondrop != null")
        page.drop(tmp_path / "bad.ply")
        other.wait("document.body.innerText.includes('not understood')")
        page.drop(tmp_path / "ball.ply")
        other.wait("document.body.innerText.includes('400 points with normals and colors')")
        other.drop(tmp_path / "sheet.xyz", x=1100, y=60)  # on the controls
        page.wait("document.body.innerText.includes('sheet.xyz')")
        wait_for(lambda: studio.session.stage == "scan")
        page.evaluate("window.alert = text => { window.told = text }")
        for several in ((tmp_path,), (tmp_path / "ball.ply", tmp_path / "sheet.xyz")):
            page.drop(*several)
            page.wait("(window.told || '').includes('one scan at a time')")
            page.evaluate("window.told = ''")
        assert studio.session.scan.cloud.name == "sheet.xyz"
        assert page.errors == other.errors == []
    finally:
        page.close()
        other.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_newcomer_opens_fits_turns_every_control_and_takes_files_home(opened, tmp_path):
    studio = opened(steps=100_000)
    url = f"http://127.0.0.1:{studio.server.get_port()}"
    page = Page(url, 1280, 800)
    saved = tmp_path / "saved"
    saved.mkdir()
    page.save_into(saved)
    try:
        page.wait("document.body.innerText.includes('Open a scan')")
        page.upload(tmp_path / "bad.ply")
        page.wait("document.body.innerText.includes('not understood')")
        page.upload(tmp_path / "ball.ply")
        page.wait("document.body.innerText.includes('400 points with normals and colors')")
        page.push("Reconstruct")
        page.wait("document.body.innerText.includes('Cancel')")
        page.push("Cancel")
        page.wait("document.body.innerText.includes('cancelled')")
        studio.session.options = igr.Options(steps=60)
        page.push("Reconstruct")
        page.wait("document.body.innerText.includes('download')")
        other = Page(url, 390, 844)
        other.wait("document.body.innerText.includes('igr')")
        assert other.errors == []
        other.close()
        _turn_every_control(page, studio)
        for kind in ("PLY", "OBJ", "STL", "GLB"):
            page.push(kind)
            path = saved / f"ball_mesh.{kind.lower()}"
            wait_for(path.exists, 60)
            wait_for(lambda path=path: 100 < len(trimesh.load_mesh(path).faces) <= 1000, 60)
        before = studio.session.surface
        page.push("Reconstruct again")
        wait_for(lambda: studio.session.busy or studio.session.surface is not before)
        assert page.errors == []
        page.close()  # the fit goes on
        wait_for(lambda: studio.session.surface is not before)
    finally:
        if page.process.poll() is None:
            page.close()


def _turn_every_control(page, studio):
    viewer, controls = studio.viewer, studio.viewer.controls
    wait_for(lambda: viewer.made_with == controls.asked())
    for colors in ("plain", "confidence", "error at the points", "normals", "scan"):
        page.choose("colors", colors)
        wait_for(lambda colors=colors: controls.colors.value == colors)
    for control, key in ((controls.level, "ArrowRight"), (controls.resolution, "ArrowLeft")):
        before = control.value
        page.slide(control.label, key, 2)
        wait_for(lambda control=control, before=before: control.value != before)
    wait_for(lambda: viewer.made_with == controls.asked())
    page.evaluate(f"{page.control('triangles')}.focus()")
    page.press("ArrowUp")
    wait_for(lambda: controls.triangles.value == 1000)
    page.wait("document.body.innerText.includes('decimated from')")
    for ends in ("open", "closed", "as found"):
        page.choose("ends", ends)
        wait_for(
            lambda ends=ends: viewer.made_with == controls.asked() and controls.trim.visible == (ends == "open")
        )
    page.choose("cut across", "y")
    page.slide("cut at", "ArrowRight", 10)
    wait_for(lambda: controls.place.value > 0)
    page.choose("cut across", "none")
    for control in (controls.show_points, controls.show_mesh, controls.measure):
        before = control.value
        page.evaluate(f"{page.control(control.label)}.click()")
        wait_for(lambda control=control, before=before: control.value != before)
    page.evaluate(f"{page.control('surface')}.click()")
    wait_for(lambda: viewer.tape.listening and controls.show_mesh.value)
    time.sleep(1)
    middle = page.evaluate(
        "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('canvas').getBoundingClientRect())"
    )
    for _ in range(60):  # a busy browser listens late
        page.click(*middle)
        time.sleep(1)
        if viewer.tape.ends:
            break
    page.click(middle[0] + 60, middle[1] + 40)
    wait_for(lambda: "between" in viewer.length.content)
    page.choose("upward", "y axis")
    (client,) = studio.server.get_clients().values()
    wait_for(lambda: np.allclose(client.camera.up_direction, (0, 1, 0), atol=0.01))
    page.evaluate(f"{page.control('dark page')}.click()")
    wait_for(lambda: studio.dark.value)
