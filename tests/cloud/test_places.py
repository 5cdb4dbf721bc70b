"""What a surface is asked: any kind of real numbers is answered in full; what is no place is NaN or refused."""

import warnings

import numpy as np
import pytest
from analytic import sphere_surface
from untrained import featured, space

import igr
from igr.cloud import places
from igr.errors import InputError


def decoded():
    pytest.importorskip("torch")
    return space().decode("a")


SURFACES = {
    "featured": featured,
    "decoded": decoded,
    "exact": lambda: sphere_surface(1.5, (0.0, 1.0, 0.0)),
    "union": lambda: featured() | sphere_surface(1.5, (0.0, 1.0, 0.0)),
    "difference": lambda: sphere_surface(3.0) - sphere_surface(1.0, (1.0, 0.0, 0.0)),
    "shell": lambda: igr.shell(sphere_surface(2.0), 0.5),
    "placed": lambda: igr.placed(featured(), scale=2.0, shift=1.0),
}


@pytest.fixture(scope="module", params=SURFACES)
def surface(request):
    return SURFACES[request.param]()


ASKED = ("distance", "gradient", "normals", "confidence", "project")
PLACES = [[1, 2, 3], [3, 1, 2], [0, 1, 1], [1, 0, 1]]


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "int64", "bool", "float16", "float32", "float64"])
@pytest.mark.parametrize("asked", ASKED)
def test_whole_and_short_numbers_are_answered_in_full(surface, asked, kind):
    places = np.array(PLACES).astype(kind)
    truth = getattr(surface, asked)(places.astype(np.float64))
    answer = getattr(surface, asked)(places)
    assert answer.dtype == np.float64
    np.testing.assert_array_equal(answer, truth)
    torch = pytest.importorskip("torch")
    short = kind in ("float16", "float32")
    answer = getattr(surface, asked)(torch.tensor(places))
    assert answer.dtype == (torch.float32 if short else torch.float64)
    np.testing.assert_array_equal(answer.numpy(), truth.astype(np.float32) if short else truth)


@pytest.mark.parametrize("asked", ASKED)
def test_bfloat16_tensors_are_answered_in_float32(surface, asked):
    torch = pytest.importorskip("torch")
    places = torch.tensor(PLACES, dtype=torch.bfloat16)
    answer = getattr(surface, asked)(places)
    assert answer.dtype == torch.float32
    np.testing.assert_array_equal(answer, getattr(surface, asked)(places.float()))


@pytest.mark.parametrize("kind", ["int64", "bfloat16", "float32", "float64"])
def test_rays_of_tensors_are_answered_by_tensors(kind):
    torch = pytest.importorskip("torch")
    origins = torch.tensor([[3, 0, 0], [0, 3, 0]], dtype=getattr(torch, kind))
    surface = sphere_surface(1.5)
    hits = surface.cast_rays(origins, -origins)
    truth = surface.cast_rays(origins.double().numpy(), -origins.double().numpy())
    dtype = torch.float64 if kind in ("int64", "float64") else torch.float32
    assert hits.locations.dtype == hits.normals.dtype == dtype
    assert hits.index_ray.dtype == torch.int64
    assert hits.index_ray.tolist() == [0, 0, 1, 1]
    for tensor, array in zip(hits, truth, strict=True):
        np.testing.assert_allclose(tensor.numpy(), array, atol=1e-6)


def test_an_answer_is_on_the_device_of_the_question():
    torch = pytest.importorskip("torch")
    for dtype in (torch.int32, torch.float32):
        assert places.like(torch.empty(2, 3, dtype=dtype, device="meta"), np.zeros(2)).device.type == "meta"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e60, -1e308])
@pytest.mark.parametrize("asked", ASKED)
def test_at_what_is_no_place_every_answer_is_nan(surface, asked, bad):
    """Not a number that was made up, not an error of scipy's, not a warning; the other places are as alone."""
    places = np.array([[0.5, 1, 0], [0.5, bad, 0], [bad, bad, bad], [0, 1, 0.5]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = getattr(surface, asked)(places)
        nothing = getattr(surface, asked)(places[1:3])
    assert np.isnan(answer[1:3]).all()
    assert np.isnan(nothing).all()
    np.testing.assert_array_equal(answer[[0, 3]], getattr(surface, asked)(places[[0, 3]]))
    assert np.isfinite(answer[[0, 3]]).all()


@pytest.mark.parametrize("asked", ASKED)
def test_no_places_have_no_answers(surface, asked):
    assert len(getattr(surface, asked)(np.empty((0, 3)))) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rays_from_or_to_nowhere_are_refused(bad):
    surface, place, nowhere = sphere_surface(), np.array([[0.0, 0.0, 3.0]]), np.array([[0.0, bad, 3.0]])
    for origins, directions in ((nowhere, place), (place, nowhere)):
        with pytest.raises(InputError, match="must be finite"):
            surface.cast_rays(origins, directions)


@pytest.mark.parametrize("length", [1e-300, 1.0, 1e300])
def test_rays_have_directions_of_any_length(length):
    hits = sphere_surface().cast_rays([[0.0, 0.0, 3.0]], [[0.0, 0.0, -length]])
    np.testing.assert_allclose(hits.locations[:, 2], [1, -1], atol=1e-3)


REFUSED = {
    "complex": (np.zeros((2, 3), complex), "real numbers, got values of type complex128"),
    "strings": ([["1", "2", "3"]], "real numbers, got values of type <U1"),
    "objects": (None, "real numbers, got values of type object"),
    "dates": (np.zeros((2, 3), "M8[s]"), "real numbers"),
    "ragged": ([[1, 2, 3], [1, 2]], "rows of different length"),
    "masked": (np.ma.masked_array(np.zeros((2, 3)), mask=[[1, 0, 0], [0, 0, 0]]), "points are masked"),
    "one place": (np.zeros(3), r"shape \(n, 3\), got \(3,\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_places_is_refused_in_one_sentence(name):
    value, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        sphere_surface().distance(value)


def test_complex_tensors_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match="real numbers"):
        sphere_surface().distance(torch.zeros(2, 3, dtype=torch.complex64))


def test_an_array_with_an_empty_mask_is_an_array():
    places = np.ma.masked_array(np.ones((2, 3)), mask=False)
    np.testing.assert_array_equal(sphere_surface().distance(places), sphere_surface().distance(np.ones((2, 3))))


@pytest.mark.parametrize("steps", [-1, 1.5, None])
def test_a_number_of_steps_is_whole(steps):
    with pytest.raises(InputError, match="number of steps must be a whole number of 0 or more"):
        sphere_surface().project(np.zeros((1, 3)), steps=steps)


def test_a_step_of_projecting_is_at_most_twice_the_distance():
    """Where the field is flatter than it should be, Newton's step is longer than the distance."""
    surface = featured()
    places = np.random.default_rng(0).uniform(-1, 5, (500, 3))
    moved = np.linalg.norm(surface.project(places, steps=1) - places, axis=1)
    assert (moved <= 2 * np.abs(surface.distance(places)) + 1e-9).all()
