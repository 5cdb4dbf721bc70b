"""Every point of a cloud is in one block, and the blocks are the same however the cloud was read."""

import numpy as np
import pytest
from scipy.spatial import KDTree

from igr.mesh.write import ply_bytes
from igr.tiles.blocks import opened, sort
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
