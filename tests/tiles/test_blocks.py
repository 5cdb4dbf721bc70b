"""Every point of a cloud is in one block, and the blocks are the same however the cloud was read."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial import KDTree

from igr.errors import InputError
from igr.mesh.write import ply_bytes
from igr.tiles.blocks import opened, sort, source_of
from torture import scanners

QUIET = {"notify": lambda note: None}


def hills(count, seed=0, at=(0.0, 0.0, 0.0)):
    """Points of hills 40 x 20, with noise."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 40, count), rng.uniform(0, 20, count)
    return np.stack([x, y, np.sin(x / 3) * np.cos(y / 4) + rng.normal(0, 0.02, count)], axis=1) + at


def saved(folder, name, points):
    np.save(folder / name, points)
    return folder / name


def rows(cloud):
    """The points in one order, with all that is known of them."""
    parts = [cloud.points, *(values.reshape(len(cloud), -1) for values in cloud.attributes.values())]
    parts += [] if cloud.normals is None else [cloud.normals]
    table = np.concatenate(parts, axis=1)
    return table[np.lexsort(table.T[::-1])]


def everything(blocks):
    return np.concatenate([blocks.points(i).points for i in range(len(blocks))])


def content(folder):
    return {path.name: path.read_bytes() for path in folder.glob("block_*")}


def test_every_point_is_in_one_block_and_in_its_box(tmp_path):
    points = hills(20_000)
    blocks = sort([saved(tmp_path, "a.npy", points)], tmp_path / "blocks", 1500, **QUIET)
    assert blocks.counts.sum() == len(points)
    assert blocks.counts.max() <= 1.2 * 1500
    assert blocks.counts.min() >= 0.5 * 1500
    found = everything(blocks)
    spacing = np.sqrt(40 * 20 / len(points))
    distance, row = KDTree(points).query(found)
    assert distance.max() < 1e-4 * spacing
    assert len(np.unique(row)) == len(points)
    for i in range(len(blocks)):
        own = blocks.points(i).points
        assert ((own >= blocks.boxes[i, 0]) & (own < blocks.boxes[i, 1])).all()
        np.testing.assert_array_equal(blocks.reaches[i], [own.min(axis=0), own.max(axis=0)])
        assert len(own) == blocks.counts[i]


def test_boxes_fill_the_box_of_the_cloud_and_no_two_overlap(tmp_path):
    points = hills(8000)
    blocks = sort([saved(tmp_path, "a.npy", points)], tmp_path / "blocks", 500, **QUIET)
    whole = np.stack([blocks.boxes[:, 0].min(axis=0), blocks.boxes[:, 1].max(axis=0)])
    assert (whole[0] <= points.min(axis=0)).all()
    assert (whole[1] >= points.max(axis=0)).all()
    places = np.random.default_rng(1).uniform(*whole, (5000, 3))
    low, high = blocks.boxes[:, None, 0], blocks.boxes[:, None, 1]
    assert (((places >= low) & (places < high)).all(axis=-1).sum(axis=0) == 1).all()


def test_blocks_are_the_same_whatever_is_read_at_a_time_and_in_whatever_order(tmp_path):
    paths = [
        saved(tmp_path, f"{name}.npy", hills(3000, seed, (9.0 * seed, 0, 0))) for seed, name in enumerate("abc")
    ]
    first = sort(paths, tmp_path / "one", 900, rows=1 << 20, **QUIET)
    other = sort(paths[::-1], tmp_path / "two", 900, rows=700, **QUIET)
    np.testing.assert_array_equal(first.boxes, other.boxes)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    np.testing.assert_array_equal(first.sample(500).points, other.sample(500).points)


@pytest.mark.parametrize("margin", [0.0, 0.5, 100.0])
def test_around_is_what_a_search_of_all_points_finds(tmp_path, margin):
    blocks = sort([saved(tmp_path, "a.npy", hills(6000))], tmp_path / "blocks", 600, **QUIET)
    found = everything(blocks)
    for i in range(len(blocks)):
        around, own = blocks.around(i, margin), blocks.points(i)
        np.testing.assert_array_equal(around.points[: len(own)], own.points)
        low, high = blocks.boxes[i] + [[-margin], [margin]]
        expected = found[((found >= low) & (found <= high)).all(axis=1)]
        np.testing.assert_array_equal(rows(around), expected[np.lexsort(expected.T[::-1])])
        np.testing.assert_array_equal(around.points, blocks.around(i, margin).points)


def test_the_sample_is_uniform_and_always_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("igr.tiles.blocks.SAMPLE", 4000)
    points = hills(40_000)
    blocks = sort([saved(tmp_path, "a.npy", points)], tmp_path / "blocks", 3000, seed=3, **QUIET)
    sample = blocks.sample(3000)
    assert len(sample) == 3000
    cells = [
        np.histogram2d(*part[:, :2].T, bins=(8, 4), range=((0, 40), (0, 20)))[0]
        for part in (sample.points, points)
    ]
    expected = cells[1] * 3000 / 40_000
    assert (np.square(cells[0] - expected) / expected).sum() < 61  # chi², 31 degrees of freedom, 1 in 1,000
    np.testing.assert_array_equal(sample.points, opened(tmp_path / "blocks").sample(3000).points)
    np.testing.assert_array_equal(sample.points[:100], blocks.sample(100).points)
    assert len(np.unique(sample.points, axis=0)) == 3000
    other = sort([tmp_path / "a.npy"], tmp_path / "blocks", 3000, seed=4, **QUIET)
    assert not np.array_equal(other.sample(3000).points, sample.points)


@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_scanners_files_lose_nothing(tmp_path, suffix):
    pytest.importorskip("lazrs")
    points = np.round(hills(5000, at=(4e5, 5e6, 100)), 3)
    intensity = np.arange(5000).astype(np.uint16)
    halves = [slice(0, 2000), slice(2000, None)]
    paths = [
        scanners.las(tmp_path / f"{i}.{suffix}", points[half], scale=1e-3, intensity=intensity[half])
        for i, half in enumerate(halves)
    ]
    blocks = sort(paths, tmp_path / "blocks", 800, **QUIET)
    assert blocks.step == 1e-3
    assert "intensity" in blocks.attributes
    for i in range(len(blocks)):
        cloud = blocks.points(i)
        np.testing.assert_allclose(cloud.points, points[cloud.attributes["intensity"]], rtol=0, atol=2e-9)


def test_normals_and_colors_come_back(tmp_path):
    points, rng = hills(4000), np.random.default_rng(1)
    normals = rng.normal(size=(4000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    colors = rng.integers(0, 256, (4000, 3)).astype(np.uint8)
    known = {"row": np.arange(4000)}
    (tmp_path / "a.ply").write_bytes(ply_bytes(points, attributes=known, colors=colors, normals=normals))
    blocks = sort([tmp_path / "a.ply"], tmp_path / "blocks", 700, **QUIET)
    assert blocks.has_normals
    for i in range(len(blocks)):
        cloud = blocks.around(i, 1.0)
        row = cloud.attributes["row"].astype(int)
        np.testing.assert_array_equal(cloud.attributes["colors"], colors[row])
        assert np.abs(cloud.normals - normals[row]).max() < 1e-4


def test_one_point_far_away_does_not_ruin_the_cut(tmp_path):
    points = np.concatenate([hills(9000), [[3e7, -2e7, 1e6]]])
    blocks = sort([saved(tmp_path, "a.npy", points)], tmp_path / "blocks", 1000, **QUIET)
    assert blocks.counts.sum() == len(points)
    assert blocks.counts.max() <= 1200
    assert len(blocks) <= 18


def test_a_cloud_that_is_far_denser_in_places_has_blocks_of_equal_numbers(tmp_path):
    rng = np.random.default_rng(2)
    parts = [hills(4000), *([20, 10, 0] + scale * rng.normal(size=(4000, 3)) for scale in (1e-2, 1e-4))]
    blocks = sort([saved(tmp_path, "a.npy", np.concatenate(parts))], tmp_path / "blocks", 500, **QUIET)
    assert blocks.counts.sum() == 12_000
    assert blocks.counts.max() <= 600


def test_points_that_are_there_twice_are_kept_once_and_told(tmp_path):
    told = []
    points = hills(3000)
    paths = [saved(tmp_path, "a.npy", points), saved(tmp_path, "b.npy", points[:700])]
    blocks = sort(paths, tmp_path / "blocks", 400, notify=told.append)
    assert told == ["removed 700 duplicate points"]
    assert blocks.counts.sum() == 3000


def test_what_is_no_cloud_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.npy has 1 usable point, at least 10 are needed"):
        sort([saved(tmp_path, "a.npy", np.zeros((100, 3)))], tmp_path / "blocks", 100, **QUIET)
    with pytest.raises(InputError, match="on one line"):
        sort([saved(tmp_path, "a.npy", np.arange(100)[:, None] * [1.0, 2, 3])], tmp_path / "blocks", 50, **QUIET)
    with pytest.raises(InputError, match="blocks of 3 points are too small"):
        sort([saved(tmp_path, "a.npy", hills(100))], tmp_path / "blocks", 3, **QUIET)
    with pytest.raises(InputError, match="holds no sorted cloud"):
        opened(tmp_path / "blocks")


def test_blocks_are_opened_again_only_for_the_files_that_they_are_of(tmp_path):
    path = saved(tmp_path, "a.npy", hills(2000))
    first = sort([path], tmp_path / "blocks", 300, **QUIET)
    again = opened(tmp_path / "blocks", source_of([path], 300))
    np.testing.assert_array_equal(everything(again), everything(first))
    assert (again.attributes, again.name, again.step) == (first.attributes, "a.npy", first.step)
    for other in (source_of([path], 301), source_of([saved(tmp_path, "b.npy", hills(2000))], 300)):
        with pytest.raises(InputError, match="other files, or of other options"):
            opened(tmp_path / "blocks", other)
    saved(tmp_path, "a.npy", hills(2001))
    with pytest.raises(InputError, match="other files, or of other options"):
        opened(tmp_path / "blocks", source_of([path], 300))


@pytest.mark.parametrize("name", ["block_000002.bin", "blocks.safetensors", "sample.safetensors"])
def test_damage_is_noticed(tmp_path, name):
    sort([saved(tmp_path, "a.npy", hills(2000))], tmp_path / "blocks", 300, **QUIET)
    path = tmp_path / "blocks" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"{name} is (damaged|no saved model)"):
        everything(opened(tmp_path / "blocks")), opened(tmp_path / "blocks").sample(9)
    path.write_bytes(data[:-20])
    with pytest.raises(InputError, match=name):
        opened(tmp_path / "blocks").sample(9)


KILLED = """
import os, signal, sys
import numpy as np
from igr.tiles import blocks, records

scatter, calls = records.scatter, 0
def killing(*given):
    global calls
    calls += 1
    if calls == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    scatter(*given)

blocks.scatter = killing
blocks.sort([sys.argv[1]], sys.argv[2], 300, rows=500)
"""


def test_a_sorting_that_is_killed_leaves_nothing_that_is_taken_for_blocks(tmp_path):
    path = saved(tmp_path, "a.npy", hills(2000))
    sort([path], tmp_path / "whole", 300, **QUIET)
    sort([path], tmp_path / "blocks", 200, **QUIET)  # of before
    killed = subprocess.run([sys.executable, "-c", KILLED, path, tmp_path / "blocks"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list((tmp_path / "blocks").glob("*.part"))
    with pytest.raises(InputError, match="or its sorting was cut short"):
        opened(tmp_path / "blocks")
    sort([path], tmp_path / "blocks", 300, **QUIET)
    assert content(tmp_path / "blocks") == content(tmp_path / "whole")


PEAK = """
import sys
from pathlib import Path
from igr.tiles.blocks import sort

def taken(what):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith(what))

start = taken("VmRSS")
blocks = sort([sys.argv[1]], sys.argv[2], 100_000, rows=100_000)
for i in range(len(blocks)):
    blocks.around(i, 0.1)
print(taken("VmHWM") - start)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.slow
def test_memory_stays_far_below_the_size_of_the_file(tmp_path):
    rows = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float64, (8_000_000, 3))
    for part in range(8):
        rows[part * 1_000_000 : (part + 1) * 1_000_000] = hills(1_000_000, part)
    rows.flush()
    given = [sys.executable, "-c", PEAK, tmp_path / "a.npy", tmp_path / "blocks"]
    taken = 1024 * int(subprocess.run(given, check=True, capture_output=True, text=True).stdout)
    print(taken, rows.nbytes)
    assert taken < rows.nbytes / 1.2


def test_scans_of_e57_keep_where_they_were_seen_from(tmp_path):
    pytest.importorskip("pye57")
    points = hills(2000)
    poses = [(np.array([1.0, 0, 0, 0]), np.array(place)) for place in ([10.0, 5, 3], [30.0, 5, 3])]
    scans = [
        scanners.cartesian(points[i::2] - pose[1]) | {"pose": pose, "intensity": np.arange(i, 2000, 2.0)}
        for i, pose in enumerate(poses)
    ]
    path = scanners.e57(tmp_path / "a.e57", scans)
    blocks = sort([path, saved(tmp_path, "b.npy", hills(500, 1))], tmp_path / "blocks", 400, **QUIET)
    np.testing.assert_array_equal(blocks.viewpoints, [place for _, place in poses])
    tree = KDTree(points)
    for i in range(len(blocks)):
        cloud = blocks.points(i)
        distance, row = tree.query(cloud.points)
        of_scan = distance < 1e-4
        np.testing.assert_array_equal(cloud.views, np.where(of_scan, row % 2, -1))
        assert cloud.viewpoints is not None
