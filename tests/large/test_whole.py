"""A cloud in blocks, the whole way: one surface, whatever the order, wherever it was stopped."""

import dataclasses
import hashlib
import json
import shutil
from urllib.parse import unquote

import numpy as np
import pytest
import trimesh
from scipy.spatial import KDTree
from shapes import QUICK, torus

import igr
from igr.large.whole import LargeOptions, large_surface, reconstruct_large
from igr.large.work import Work
from igr.mesh.triangles import read_mesh

CONFIG = dataclasses.replace(QUICK, steps=120)


def off_torus(x, ring=0.6, tube=0.2):
    """Distance from the torus."""
    return np.abs(np.hypot(np.hypot(x[:, 0], x[:, 1]) - ring, x[:, 2]) - tube)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A torus far off in millimeters, in blocks: what was said, the mesh, and the folder."""
    folder = tmp_path_factory.mktemp("large")
    points, normals = torus(16_000)
    np.save(folder / "scan.npy", np.c_[1000 * points + [4e5, 0, 100], normals])
    options, notes = LargeOptions(block_points=4500), []
    told = reconstruct_large(
        [folder / "scan.npy"],
        folder / "mesh.ply",
        folder / "run",
        config=CONFIG,
        options=options,
        notify=notes.append,
    )
    return folder, told, notes


def mesh_of(folder, name="mesh.ply"):
    return trimesh.Trimesh(*read_mesh(folder / name), process=False)


def again(folder, name, **options):
    told = reconstruct_large(
        [folder / "scan.npy"],
        folder / name,
        folder / "run",
        config=CONFIG,
        options=LargeOptions(block_points=4500, resume=True, **options),
    )
    return told, hashlib.md5((folder / name).read_bytes()).hexdigest()


def test_the_mesh_is_one_closed_piece_on_the_surface(done):
    folder, told, _ = done
    mesh = mesh_of(folder)
    assert told["blocks"] == 4
    assert told["points"] == 16_000
    assert (told["components"], told["open_edges"], told["open"]) == (1, 0, False)
    assert mesh.is_watertight
    assert mesh.euler_number == 0
    assert mesh.volume > 0
    off = off_torus((mesh.vertices - [4e5, 0, 100]) / 1000)
    assert np.sqrt((off**2).mean()) < 0.004


def test_the_surface_at_the_seams_is_as_good_as_elsewhere(done):
    folder, _, _ = done
    boxes = Work(folder / "run").blocks.boxes
    vertices = np.asarray(mesh_of(folder).vertices)
    off = off_torus((vertices - [4e5, 0, 100]) / 1000)
    inner = np.zeros(len(vertices), bool)
    for low, high in boxes:
        inner |= ((vertices > low + 20) & (vertices < high - 20)).all(1)
    assert 100 < (~inner).sum() < len(vertices) / 2
    assert np.sqrt((off[~inner] ** 2).mean()) < 1.5 * np.sqrt((off[inner] ** 2).mean())


def test_progress_is_said_with_the_time_left(done):
    _, _, notes = done
    assert any(note.startswith("16,000 points sorted into 4 blocks") for note in notes)
    assert sum("meshed" in note for note in notes) == 4
    assert notes[-1].endswith("0 s left")


def test_what_is_missing_is_done_again_to_the_same_bytes(done):
    folder, _, _ = done
    expected = hashlib.md5((folder / "mesh.ply").read_bytes()).hexdigest()
    work = Work(folder / "run")
    for kind, block in (("block", 2), ("piece", 2), ("piece", 0), ("block", 1)):
        work.file(kind, block).unlink()
    told, found = again(folder, "again.ply")
    assert found == expected
    assert told["blocks"] == 4


@pytest.mark.parametrize("fitted", [True, False], ids=["fitted", "not yet fitted"])
def test_work_stopped_before_it_was_known_how_fine_to_mesh_ends_in_the_same_bytes(done, fitted):
    folder, _, _ = done
    expected = hashlib.md5((folder / "mesh.ply").read_bytes()).hexdigest()
    work = Work(folder / "run")
    known, work.plan = work.plan, dataclasses.replace(work.plan, step=None)
    for block in range(4):
        work.file("piece", block).unlink()
        if block != work.pilot or not fitted:
            work.file("block", block).unlink()
    assert again(folder, "again.ply")[1] == expected
    assert Work(folder / "run").plan == known


def test_blocks_meshed_in_another_order_have_the_same_bytes(done):
    folder, _, _ = done
    work = Work(folder / "run")
    first = [work.file("piece", block).read_bytes() for block in range(4)]
    for block in reversed(range(4)):
        Work(folder / "run").mesh(block)
    assert [work.file("piece", block).read_bytes() for block in range(4)] == first


def test_the_folder_is_a_surface_like_any_other(done):
    folder, _, _ = done
    surface = large_surface(folder / "run")
    x = np.array([[0.7, 0, 0], [0.75, 0, 0.3], [0, -0.6, 0.1], [2.5, 1, 0.0]]) * 1000 + [4e5, 0, 100]
    truth = np.hypot(np.hypot(x[:, 0] - 4e5, x[:, 1]) - 600, x[:, 2] - 100) - 200
    assert np.abs(surface.distance(x) - truth).max() < 40
    assert np.allclose(np.linalg.norm(surface.gradient(x[1:]), axis=1), 1, atol=0.3)  # a short fit
    assert np.abs(surface.distance(np.asarray(mesh_of(folder).vertices)[::50])).max() < 2
    hits = surface.cast_rays(x[:1] + [-100, 0, 500], np.array([[0, 0, -1.0]]))
    assert np.allclose(np.sort(hits[0][:, 2]), [-100, 300], atol=10)
    assert (surface.confidence(x[:1]) < 0.5).all()
    with pytest.raises(igr.InputError, match="folder of its blocks"):
        surface.save(folder / "x.igr")


def test_a_folder_that_lacks_blocks_says_so(done, tmp_path):
    folder, _, _ = done
    shutil.copytree(folder / "run", tmp_path / "run")
    Work(tmp_path / "run").file("block", 0).unlink()
    with pytest.raises(igr.InputError, match="holds 3 of 4 blocks"):
        large_surface(tmp_path / "run")


def test_a_folder_with_work_is_not_overwritten_silently(done):
    folder, _, _ = done
    with pytest.raises(igr.InputError, match="resume"):
        reconstruct_large([folder / "scan.npy"], folder / "x.ply", folder / "run", config=CONFIG)


def test_nothing_is_kept_unless_asked_for(done, tmp_path):
    folder, _, _ = done
    # QUICK as it is: in half the steps one seed of six has ghosts.
    options = LargeOptions(block_points=9000, keep=False)
    told = [folder / "scan.npy"], tmp_path / "mesh.ply", tmp_path / "run"
    again = reconstruct_large(*told, config=QUICK, options=options)
    assert again["components"] == 1
    assert json.dumps(again)
    assert [path.name for path in tmp_path.iterdir()] == ["mesh.ply"]


def test_an_open_scan_ends_where_its_points_do(tmp_path):
    places = np.random.default_rng(0).uniform(0, 100, (12_000, 2))
    height = 5 * np.sin(places[:, 0] / 15) * np.cos(places[:, 1] / 12)
    np.save(tmp_path / "scan.npy", np.c_[places, height])
    told = reconstruct_large(
        [tmp_path / "scan.npy"],
        tmp_path / "mesh.ply",
        tmp_path / "run",
        config=CONFIG,
        options=LargeOptions(block_points=4000),
    )
    mesh = mesh_of(tmp_path)
    assert (told["open"], told["components"]) == (True, 1)
    assert told["open_edges"] > 100
    assert mesh.euler_number == 1  # a disk: no hole, no crack
    assert mesh.area == pytest.approx(100 * 100 * 1.055, rel=0.06)
    assert (mesh.face_normals[:, 2] > 0).mean() > 0.999
    off = mesh.vertices[:, 2] - 5 * np.sin(mesh.vertices[:, 0] / 15) * np.cos(mesh.vertices[:, 1] / 12)
    assert np.sqrt((off**2).mean()) < 0.15


def test_tiles_for_viewers_are_the_same_mesh_where_the_scan_is(done):
    folder, told, _ = done
    name = "torus #1.json"
    other, own = folder / "torus #1-00077.glb", folder / "torus #1-1.glb"
    for path in (other, own):
        path.write_bytes(b"")
    (folder / name).write_text('{"uri": "torus%20%231-00077.glb"}')  # of a run with more blocks
    again(folder, name)
    assert not other.exists()
    assert own.exists()
    tileset = json.loads((folder / name).read_text())
    assert tileset["asset"]["version"] == "1.1"
    children, parts = tileset["root"]["children"], []
    for child in children:
        part = trimesh.load(folder / unquote(child["content"]["uri"]), force="mesh", process=False)
        assert part.vertex_attributes["_confidence"].max() > 0.9
        x, y, z = np.asarray(part.vertices).T
        local = np.stack([x, -z, y], axis=1)  # glTF has y upward, 3D Tiles z
        box = np.array(child["boundingVolume"]["box"]).reshape(4, 3)
        assert (np.abs(local - box[0]) <= np.diag(box[1:]) * (1 + 1e-6) + 1e-6).all()
        placed = np.array(child["transform"]).reshape(4, 4)
        parts.append(trimesh.Trimesh(local + placed[3, :3], part.faces, process=False))
    assert len(parts) == told["blocks"]
    assert sum(len(part.faces) for part in parts) == told["triangles"]
    whole, together = mesh_of(folder), trimesh.util.concatenate(parts)
    apart, index = KDTree(whole.vertices).query(together.vertices)
    assert apart.max() < 1e-3  # millimeters: single precision around the middle of a block
    corners = index[together.faces]
    assert {*map(frozenset, corners.tolist())} == {*map(frozenset, whole.faces.tolist())}
    assert trimesh.Trimesh(whole.vertices, corners, process=False).volume == pytest.approx(whole.volume)
    middle, *half = np.array(tileset["root"]["boundingVolume"]["box"]).reshape(4, 3)
    assert np.diag(half) * 2 == pytest.approx(whole.extents, rel=1e-6)
    assert middle == pytest.approx(whole.bounds.mean(0), rel=1e-9)


@pytest.mark.parametrize("name", ["mesh.glb", "nowhere/mesh.ply"])
def test_where_the_mesh_cannot_go_is_refused_before_the_work(tmp_path, name):
    with pytest.raises(igr.InputError, match=r"use \.ply, or \.json for 3D Tiles|there is no folder"):
        reconstruct_large([tmp_path / "scan.npy"], tmp_path / name, tmp_path / "run")
    assert not (tmp_path / "run").exists()
