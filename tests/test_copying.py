"""Pickles and copies: the same to the last byte, and nothing shared with the original."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import igr

pytest.importorskip("torch")
from families import SMALL
from untrained import FEW, featured, space

from igr.cloud.frame import Frame
from igr.space.encode import Encoding

COPIES = {"pickle": lambda value: pickle.loads(pickle.dumps(value)), "copy": copy.copy, "deepcopy": copy.deepcopy}  # noqa: S301
PLACES = np.random.default_rng(0).uniform(-2, 4, (50, 3))


def decoded():
    return space().decode("a")


FILED = {
    "featured": featured,
    "on torch": lambda: featured("torch"),
    "decoded": decoded,
    "placed": lambda: igr.placed(featured(), scale=3.0, shift=[1, 2, 3]),
    "space": space,
}
COMBINED = {
    "union": lambda: featured() | decoded(),
    "intersection": lambda: featured() & decoded(),
    "difference": lambda: featured() - decoded() - igr.placed(featured(), shift=2.0),
    "offset": lambda: igr.offset(featured(), 0.1),
    "shell": lambda: igr.placed(igr.shell(featured(), 0.2), scale=2.0),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", FILED)
def test_a_copy_is_the_same_file(name, how):
    original = FILED[name]()
    original.history.append({"step": 1.0})
    original.seconds = 2.5
    again = COPIES[how](original)
    assert again.to_bytes() == original.to_bytes()
    assert (again.history, again.seconds) == (original.history, original.seconds)
    assert type(again.field) is type(original.field)
    assert again.field.machine() == original.field.machine()


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", [*(name for name in FILED if name != "space"), *COMBINED])
def test_a_copy_answers_the_same(name, how):
    original = (FILED | COMBINED)[name]()
    again = COPIES[how](original)
    for asked in ("distance", "normals", "confidence"):
        np.testing.assert_array_equal(getattr(again, asked)(PLACES), getattr(original, asked)(PLACES))
    np.testing.assert_array_equal(again.samples, original.samples)
    assert again.details == original.details
    assert again.config == original.config


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_does_not_change_with_the_original(how):
    part = featured()
    part.history.append({"step": 1.0})
    again, solid = COPIES[how](part), COPIES[how](part | featured())
    file, distances = again.to_bytes(), solid.distance(PLACES)
    part.field.load_state({name: values + 1 for name, values in part.field.state().items()})
    part.samples += 1
    part.details["name"] = "changed"
    part.history[0]["step"] = 2.0
    assert again.to_bytes() == file
    assert again.history == [{"step": 1.0}]
    np.testing.assert_array_equal(solid.distance(PLACES), distances)


@pytest.mark.parametrize("name", ["featured", "union", "space"])
def test_surfaces_go_to_other_processes_and_come_back(name):
    original = {"featured": featured, "union": COMBINED["union"], "space": space}[name]()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        again = pool.submit(copy.copy, original).result()
    if name == "union":
        np.testing.assert_array_equal(again.distance(PLACES), original.distance(PLACES))
    else:
        assert again.to_bytes() == original.to_bytes()


@pytest.mark.parametrize("how", COPIES)
def test_plain_values_are_copied(how):
    cloud = igr.as_cloud(PLACES, np.ones_like(PLACES))
    again = COPIES[how](cloud)
    np.testing.assert_array_equal(again.points, cloud.points)
    np.testing.assert_array_equal(again.normals, cloud.normals)
    assert (again.name, again.notes) == (cloud.name, cloud.notes)
    assert COPIES[how](SMALL) == SMALL
    encoding = Encoding(np.arange(4.0), Frame(np.ones(3), 2.0), np.eye(3), 0.1)
    again = COPIES[how](encoding)
    assert (again.latent == encoding.latent).all()
    assert (again.frame.center == encoding.frame.center).all()
    assert again.frame.scale == 2.0
    assert (again.turn == encoding.turn).all()


def test_a_look_at_a_value_is_one_short_line():
    cloud = igr.as_cloud(PLACES, np.ones_like(PLACES))
    encoding = Encoding(np.arange(4.0), Frame(np.ones(3), 2.0), np.eye(3), 0.125)
    named = igr.Surface(
        featured().field, Frame(np.zeros(3), 1.0), FEW, samples=np.eye(3), details={"name": "a\nb"}
    )
    assert repr(named) == "<igr.Surface of a\\nb: 3 samples, box 1 × 1 × 1>"
    assert repr(featured()).startswith("<igr.Surface: 200 samples, box 3.9")
    assert repr(space()) == "<igr.ShapeSpace of surfaces: 2 training shapes, latents of 4 numbers>"
    assert repr(cloud).startswith("<igr.PointCloud array: 50 points with normals, box ")
    assert repr(encoding.frame) == "Frame(center=[1.0, 1.0, 1.0], scale=2.0)"
    assert repr(encoding) == (
        "<igr.Encoding: latent of 4 numbers, residual 0.125, Frame(center=[1.0, 1.0, 1.0], scale=2.0)>"
    )
