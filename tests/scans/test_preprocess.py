"""Scans to samples: on the surface, whole or not there, the same whoever else is sampled."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh

from igr.errors import InputError
from igr.scans.folders import write_split
from igr.scans.preprocess import FOLDER, Preprocessing, placement, preprocess, sample_scan

SMALL = Preprocessing(samples=500)
CENTER = np.array([5.0, -2.0, 1.0])


@pytest.fixture
def family(tmp_path):
    """Two subjects, two motions, two frames, in D-FAUST's layout: balls of different radius off the origin."""
    radius = 1.0
    for subject in ("50002", "50004"):
        for motion in ("hips", "knees"):
            folder = tmp_path / "src" / "scans" / subject / motion
            folder.mkdir(parents=True)
            for frame in (1, 2):
                ball = trimesh.creation.icosphere(subdivisions=2, radius=radius)
                ball.apply_translation(CENTER).export(folder / f"{motion}.{frame:06d}.ply")
                radius += 0.1
    return tmp_path / "src"


def samples(out, name):
    return np.load(out / FOLDER / f"{name}.npy")


def test_samples_lie_on_the_scan_with_its_normals_and_know_the_way_back(family, tmp_path):
    report = preprocess(family, tmp_path, SMALL, workers=1)
    assert (len(report.done), report.skipped, report.failed) == (8, (), ())
    table = samples(tmp_path, "50002/hips/hips.000001")
    assert (table.shape, table.dtype) == ((500, 6), np.float32)
    np.testing.assert_allclose(table[:, :3].mean(0), 0, atol=1e-6)
    center, scale = placement(tmp_path / FOLDER / "50002/hips/hips.000001.npy")
    ball = table[:, :3] * scale + center - CENTER
    np.testing.assert_allclose(np.linalg.norm(ball, axis=1), 1, atol=0.03)
    np.testing.assert_allclose(np.linalg.norm(table[:, 3:], axis=1), 1, atol=1e-6)
    assert (np.einsum("ij,ij->i", ball, table[:, 3:]) > 0.95).all()
    assert scale == 1


def test_big_triangles_get_more_points(tmp_path):
    trimesh.Trimesh([[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 2], [0, 2, 3]]).export(
        tmp_path / "a.ply"
    )
    table = sample_scan(tmp_path / "a.ply", 8000, np.random.default_rng(0))
    assert (table[:, 5] == 1).mean() == pytest.approx(0.75, abs=0.02)


def test_the_same_samples_whoever_else_is_sampled(family, tmp_path):
    preprocess(family, tmp_path / "all", SMALL, workers=2)
    preprocess(family, tmp_path / "one", Preprocessing(samples=500, names=("50004",)), workers=1)
    name = "50004/knees/knees.000002"
    np.testing.assert_array_equal(samples(tmp_path / "all", name), samples(tmp_path / "one", name))
    assert not (tmp_path / "one" / FOLDER / "50002").exists()


def test_shards_share_the_work(family, tmp_path):
    first, second = (preprocess(family, tmp_path, Preprocessing(50, shard=(k, 2)), workers=1) for k in (0, 1))
    assert len(first.done) == len(second.done) == 4
    assert not set(first.done) & set(second.done)


def test_skip_leaves_alone_what_is_there(family, tmp_path):
    preprocess(family, tmp_path, Preprocessing(50, names=("50002",)), workers=1)
    before = samples(tmp_path, "50002/hips/hips.000001")
    report = preprocess(family, tmp_path, Preprocessing(70, skip=True), workers=1)
    assert (len(report.done), len(report.skipped)) == (4, 4)
    np.testing.assert_array_equal(samples(tmp_path, "50002/hips/hips.000001"), before)


def test_damaged_and_missing_scans_are_named_and_do_not_stop_the_others(family, tmp_path):
    broken = family / "scans/50002/hips/hips.000001.ply"
    broken.write_bytes(broken.read_bytes()[:900])
    (family / "scans/50002/hips/hips.000002.ply").write_bytes(b"")
    write_split(tmp_path / "s.json", ["50002/hips/hips.000001", "50002/hips/hips.000002", "50002/hips/hips.000099",
                                      "50004/hips/hips.000001"])  # fmt: skip
    report = preprocess(family, tmp_path, Preprocessing(50, split=tmp_path / "s.json"), workers=2)
    assert [path.stem for path in report.done] == ["hips.000001"]
    assert [name.rpartition("hips.")[2] for name, _ in report.failed] == ["000001.ply", "000002.ply", "000099"]
    assert all(reason for _, reason in report.failed)


def test_modes_choose_training_or_held_back_scans(family, tmp_path):
    (family / "splits").mkdir()
    write_split(family / "splits/train_all.json", ["50002/hips/000001", "50002/hips/hips.000002"])
    write_split(family / "splits/test_all.json", ["50004/knees/knees.000001"])
    train, test = (preprocess(family, tmp_path, Preprocessing(50, mode=mode), workers=1) for mode in (0, 1))
    assert [path.stem for path in train.done] == ["hips.000001", "hips.000002"]
    assert [path.stem for path in test.done] == ["knees.000001"]


def test_any_folder_of_meshes_and_clouds(tmp_path):
    source = tmp_path / "shapes"
    (source / "deep/er").mkdir(parents=True)
    ball = trimesh.creation.icosphere(subdivisions=1)
    ball.export(source / "ball.obj")
    ball.export(source / "deep/er/ball.glb")
    points = np.random.default_rng(0).normal(size=(60, 3))
    np.savetxt(source / "cloud.xyz", points)
    np.save(source / "oriented.npy", np.hstack([points, points]))
    (source / "notes.txt").write_text("not a scan")
    report = preprocess(source, source, SMALL, workers=1)
    assert not report.failed
    found = {name: samples(source, name).shape for name in ("ball", "deep/er/ball", "cloud", "oriented")}
    assert found == {"ball": (500, 6), "deep/er/ball": (500, 6), "cloud": (60, 3), "oriented": (60, 6)}
    assert len(preprocess(source, source, Preprocessing(500, skip=True), workers=1).skipped) == 4


def test_progress_counts_to_the_end(family, tmp_path):
    seen = []
    preprocess(family, tmp_path, SMALL, workers=1, on_scan=seen.append)
    assert [progress.finished for progress in seen] == list(range(1, 9))
    assert seen[-1].total == 8
    assert seen[-1].seconds_left == 0


def test_killed_in_the_middle_it_continues(family, tmp_path):
    code = (
        "from igr.dfaust import *\n"
        f"preprocess({str(family)!r}, {str(tmp_path)!r}, Preprocessing(400_000), workers=1)"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 600
    while not list(tmp_path.rglob("*.npy")) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    child.wait()
    left_over = tmp_path / FOLDER / "50004/knees/knees.000002.npy.1.tmp"
    left_over.parent.mkdir(parents=True, exist_ok=True)
    left_over.touch()
    report = preprocess(family, tmp_path, Preprocessing(400_000, skip=True), workers=1)
    assert len(report.skipped) >= 1
    assert len(report.done) + len(report.skipped) == 8
    assert all(samples(tmp_path, path.relative_to(tmp_path / FOLDER).with_suffix("")).shape == (400_000, 6)
               for path in report.skipped)  # fmt: skip
    assert not left_over.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Preprocessing(names=("50099",)), "no subject '50099'; there are 50002, 50004"),
        (Preprocessing(mode=0), "needs a folder of splits with train_all.json"),
        (Preprocessing(mode=7), "mode 7 is unknown"),
        (Preprocessing(samples=0), "0 samples"),
        (Preprocessing(shard=(2, 2)), "shard 2 of 2"),
        (Preprocessing(split=Path("none.json")), "none.json: no such file"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(family, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        preprocess(family, tmp_path, options, workers=1)


def test_a_folder_that_cannot_be_written_is_said(family, tmp_path):
    (tmp_path / FOLDER).write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        preprocess(family, tmp_path, SMALL, workers=1)


def test_damaged_placement_is_said(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"center": "here"}))
    with pytest.raises(InputError, match="damaged"):
        placement(tmp_path / "a.npy")
    np.testing.assert_array_equal(placement(tmp_path / "b.npy")[0], 0)
