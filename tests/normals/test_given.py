"""Given normals are used where they are right, mended where they can be, left out where they say nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import blob, directions

from igr.cloud.frame import unit_frame
from igr.cloud.pointcloud import PointCloud
from igr.config import FAST
from igr.errors import InputError
from igr.examples import example_cloud
from igr.normals.given import judge_normals
from igr.reconstruction import Options, cleaned, oriented, reconstruct


def cloud(name="knot", points=8000):
    made = example_cloud(name, points=points)
    return unit_frame(made.points).to_unit(made.points), made.normals


def off_by(normals, degrees, seed=0):
    other = np.cross(normals, directions(len(normals), seed=seed))
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return np.cos(np.deg2rad(degrees)) * normals + np.sin(np.deg2rad(degrees)) * other


@pytest.mark.parametrize("name", ["knot", "torus", "box", "body", "sphere"])
def test_true_normals_are_used_as_given_also_of_noisy_points(name):
    points, normals = cloud(name)
    for noise in (0, 0.005):
        shift = np.random.default_rng(0).normal(0, noise, points.shape)
        judged = judge_normals(points + shift, normals)
        assert (judged.use, judged.sentence, judged.trust) == ("given", "", None)
        assert judged.normals is normals


@settings(max_examples=3)
@given(seed=st.integers(0, 10**6))
def test_normals_of_any_body_are_used_as_given_or_turned(seed):
    points, normals = blob(3000, seed)
    points = unit_frame(points).to_unit(points)
    assert judge_normals(points, normals).use == "given"
    assert judge_normals(points, -normals).use == "turned"


def test_inward_normals_are_turned():
    points, normals = cloud()
    judged = judge_normals(points, -normals)
    assert judged.use == "turned"
    np.testing.assert_array_equal(judged.normals, normals)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_signs_flipped_at_random_are_found_anew(share):
    points, normals = cloud()
    flipped = np.random.default_rng(0).random(len(normals)) < share
    judged = judge_normals(points, normals * np.where(flipped, -1, 1)[:, None])
    assert judged.use == "re-oriented"
    assert ((judged.normals * normals).sum(1) > 0).mean() > 0.995
    assert "point to opposite sides" in judged.sentence


def test_one_half_inside_out_is_found_anew():
    points, normals = cloud("torus")
    judged = judge_normals(points, normals * np.where(points[:, :1] > 0, -1, 1))
    assert judged.use == "re-oriented"
    assert ((judged.normals * normals).sum(1) > 0).mean() > 0.995


@pytest.mark.parametrize("degrees", [22, 30, 40])
def test_noisy_normals_are_trusted_less(degrees):
    points, normals = cloud("torus")
    judged = judge_normals(points, off_by(normals, degrees))
    assert judged.use == "down-weighted"
    assert 0.05 < judged.trust.mean() < 0.75
    half_noisy = off_by(normals, 45)
    half_noisy[::2] = normals[::2]
    trust = judge_normals(points, off_by(half_noisy, 20, seed=1)).trust
    assert trust[::2].mean() > trust[1::2].mean() + 0.1


@pytest.mark.parametrize("make", [directions, lambda n: np.tile([0.0, 0.0, 1.0], (n, 1))])
def test_normals_that_say_nothing_are_left_out(make):
    points, normals = cloud()
    judged = judge_normals(points, make(len(normals)))
    assert (judged.use, judged.normals) == ("ignored", None)
    assert "off the planes" in judged.sentence


def test_the_run_says_what_it_did_with_the_normals():
    points, normals = cloud()
    notes = []
    random = PointCloud(points, directions(len(normals)))
    clean, near, *_ = cleaned(random, FAST, notes.append)
    prepared, trust, _, details = oriented(clean, near, FAST, "auto", notes.append)
    assert details["normals"] == "ignored, estimated"
    assert ((prepared.normals * normals).sum(1) > 0).mean() > 0.99
    assert trust is not None
    assert any("left out the normals" in note for note in notes)
    assert details["given_normals"]["angle"] > 45


def test_trusted_normals_are_taken_exactly_as_they_are():
    points, normals = cloud()
    wrong = normals * np.where(points[:, :1] > 0, -1, 1)
    notes = []
    clean, near, *_ = cleaned(PointCloud(points, wrong), FAST, notes.append)
    prepared, trust, _, details = oriented(clean, near, FAST, "trust", notes.append)
    assert prepared.normals is clean.normals
    assert (trust, details, notes) == (None, {"normals": "trusted"}, [])


def test_what_is_absent_cannot_be_trusted_nor_what_is_ignored():
    points, normals = cloud(points=100)
    with pytest.raises(InputError, match="has no normals that could be trusted"):
        reconstruct(points, normals="trust")
    with pytest.raises(InputError, match="has no normals that could be trusted"):
        reconstruct(points, options=Options(normals="trust"))
    with pytest.raises(InputError, match="trusted and ignored at once"):
        reconstruct(np.hstack([points, normals]), normals="trust", options=Options(normals="ignore"))
