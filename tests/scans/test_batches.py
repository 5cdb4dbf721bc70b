"""Batches of many scans."""

import dataclasses

import numpy as np
from families import SMALL, ellipsoid

from igr.config import LatentConfig
from igr.scans.batches import ScanSampler, read_rows, signed_distances


def test_shapes_are_visited_once_an_epoch_and_shared_by_ranks(ellipsoids):
    files = sorted(ellipsoids.glob("*.npy"))
    sampler = ScanSampler(
        files, dataclasses.replace(SMALL, latents=LatentConfig(shapes=3)), dimension=3, scale=1.0
    )
    assert sorted(s for step in range(3) for s in sampler.shapes_of(step)) == list(range(9))
    ranks = [ScanSampler(files, SMALL, dimension=3, scale=1.0, rank=(rank, 2)) for rank in (0, 1)]
    whole = ScanSampler(files, SMALL, dimension=3, scale=1.0)(5)
    for rank, part in enumerate(sampler(5) for sampler in ranks):
        assert part.shapes == whole.shapes[rank::2]
        np.testing.assert_array_equal(part.points[0::2], whole.points[rank::4])  # its first shape
        np.testing.assert_array_equal(part.target[1::2], whole.target[rank + 2 :: 4])  # its second


def test_a_file_is_sampled_evenly_without_being_read(tmp_path):
    table = np.arange(50_000, dtype=np.float32)[:, None].repeat(6, 1)
    np.save(tmp_path / "ordered.npy", table)
    rng = np.random.default_rng(0)
    rows = np.concatenate([read_rows(tmp_path / "ordered.npy", 160, rng)[:, 0] for _ in range(50)])
    assert abs(np.quantile(rows, [0.25, 0.5, 0.75]) / 50_000 - [0.25, 0.5, 0.75]).max() < 0.06


def test_the_first_rows_drawn_come_from_all_over_an_ordered_file(tmp_path):
    np.save(tmp_path / "ordered.npy", np.arange(50_000, dtype=np.float32)[:, None].repeat(6, 1))
    reach = [
        np.ptp(read_rows(tmp_path / "ordered.npy", 1600, np.random.default_rng(seed))[:100, 0])
        for seed in range(20)
    ]
    assert np.mean(reach) > 35_000  # 16 pieces of the file spread over 15/17 of it


def test_distances_to_a_sphere_are_signed():
    cloud = ellipsoid(np.ones(3), 1000)
    places = np.random.default_rng(1).uniform(-2, 2, (500, 3))
    truth = np.linalg.norm(places, axis=1) - 1
    clear = abs(truth) > 0.15
    found = signed_distances(cloud[:, :3], cloud[:, 3:], places)
    np.testing.assert_array_equal(np.sign(found[clear]), np.sign(truth[clear]))
    assert abs(found - truth)[clear].mean() < 0.02  # of the spacing s, s² / 2U too far
