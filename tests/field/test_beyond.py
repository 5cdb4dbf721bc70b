"""Beyond the ball of its cloud a field is the distance to its zero set, and begins there without a jump."""

import numpy as np
import pytest
from analytic import AnalyticField, to_box, to_sphere, to_torus
from shapes import directions, sphere, torus

from igr.cloud.frame import unit_frame
from igr.cloud.neighbors import Neighbors
from igr.config import FAST
from igr.field.beyond import Beyond, fall
from igr.field.field import NumpyField

pytestmark = pytest.mark.numerical

R = 1.1
STEP = 1e-5


def numerical(distance, x):
    """Gradient (n, d) of a distance function at `x` by central differences."""
    steps = STEP * np.eye(x.shape[1])
    return np.stack([(distance(x + step) - distance(x - step)) / (2 * STEP) for step in steps], 1)


def field_of(distance, dimension=3):
    return AnalyticField(dimension, distance, lambda x: numerical(distance, x))


def continued(distance, cloud):
    """A field by its formula, continued beyond the ball around `cloud`."""
    return NumpyField(field_of(distance, cloud.shape[1]), FAST.network, Neighbors(cloud))


def points_of(name):
    if name == "torus":
        return torus(4000)[0]
    if name == "box":
        half = np.array([0.6, 0.5, 0.4])
        x = np.random.default_rng(0).uniform(-half, half, (4000, 3))
        x[np.arange(4000), np.arange(4000) % 3] = half[np.arange(4000) % 3] * np.where(np.arange(4000) % 2, 1, -1)
        return x
    return sphere(2000, 2 if name == "circle" else 3, radius=0.7)[0]


TRUTHS = {"sphere": to_sphere, "circle": to_sphere, "torus": to_torus, "box": to_box}


@pytest.fixture(scope="module", params=TRUTHS)
def shape(request):
    """A field that is right near its zero set, and a fifth too small away from it, as fits are; and the truth."""
    truth = TRUTHS[request.param]

    def short(x):
        exact = truth(x)
        return exact * (1 - 0.2 * np.clip(np.abs(exact) / 0.3, 0, 1))

    cloud = points_of(request.param)
    return continued(short, cloud), short, truth, cloud.shape[1]


@pytest.mark.parametrize(("radii", "within"), [(2.5, 0.005), (4.0, 0.003), (10.0, 0.001), (1e6, 1e-6)])
def test_far_outside_it_is_the_distance(shape, radii, within):
    field, _, truth, d = shape
    x = radii * 0.9 * directions(2000, d)
    np.testing.assert_allclose(field.distance(x), truth(x), rtol=within)
    np.testing.assert_allclose(np.linalg.norm(field.gradient(x), axis=1), 1, rtol=1e-9)


def test_inside_the_ball_it_is_the_field_to_the_last_bit(shape):
    field, short, _, d = shape
    x = R * 0.9999 * np.random.default_rng(1).uniform(0, 1, (2000, 1)) * directions(2000, d)
    np.testing.assert_array_equal(field.distance(x), short(x))


def test_there_is_no_jump_at_the_border(shape):
    field, _, _, d = shape
    border = R * directions(2000, d)
    inner, outer = ((1 + step) * border for step in (-1e-7, 1e-7))
    np.testing.assert_allclose(field.distance(outer), field.distance(inner), atol=1e-6)
    across = border / R
    one, other = field.gradient(inner), field.gradient(outer)
    tangent = [g - (g * across).sum(1, keepdims=True) * across for g in (one, other)]
    assert np.quantile(np.linalg.norm(tangent[0] - tangent[1], axis=1), 0.99) < 1e-3


def test_there_is_no_jump_where_the_distance_begins(shape):
    field, _, _, d = shape
    border = 2 * R * directions(500, d)
    inner, outer = ((1 + step) * border for step in (-1e-7, 1e-7))
    np.testing.assert_allclose(field.distance(outer), field.distance(inner), atol=1e-6)
    assert np.quantile(np.linalg.norm(field.gradient(outer) - field.gradient(inner), axis=1), 0.99) < 1e-3


@pytest.mark.parametrize("radii", [1.3, 2.0, 4.0])
def test_the_gradient_is_that_of_the_values(shape, radii):
    field, _, _, d = shape
    x = radii * 0.9 * directions(1000, d)
    error = np.linalg.norm(field.gradient(x) - numerical(field.distance, x), axis=1)
    assert np.quantile(error, 0.95) < 1e-6  # elsewhere another foot becomes the nearest within the step


def test_value_and_gradient_together_are_the_two(shape):
    field, _, _, d = shape
    x = np.random.default_rng(2).uniform(-4, 4, (500, d))
    value, gradient = field.distance_and_gradient(x)
    np.testing.assert_allclose(value, field.distance(x), rtol=1e-12)
    np.testing.assert_array_equal(gradient, field.gradient(x))


@pytest.mark.parametrize("truth", [to_sphere, to_torus])
def test_of_an_exact_field_no_slope_exceeds_one(truth):
    field = continued(truth, points_of("torus" if truth is to_torus else "sphere"))
    rng = np.random.default_rng(3)
    start, stop = rng.uniform(-4, 4, (2, 4000, 3))
    stop = np.where(rng.uniform(size=(4000, 1)) < 0.5, stop, start + 0.2 * (stop - start))
    rise = np.abs(field.distance(stop) - field.distance(start)) / np.linalg.norm(stop - start, axis=1)
    assert rise.max() < 1.02


def test_pieces_without_points_are_found_from_the_sphere():
    def truth(x):
        return np.minimum(to_sphere(x - [0.5, 0, 0], 0.3), to_sphere(x + [0.5, 0, 0], 0.3))

    cloud = sphere(1000, radius=0.3)[0] + [0.5, 0, 0]
    x = 4 * directions(1000)
    np.testing.assert_allclose(continued(truth, cloud).distance(x), truth(x), rtol=0.005)


def test_points_off_the_zero_set_do_not_matter():
    cloud = points_of("sphere") + np.random.default_rng(0).normal(0, 0.05, (2000, 3))
    x = 3 * directions(1000)
    np.testing.assert_allclose(continued(to_sphere, cloud).distance(x), to_sphere(x), rtol=0.003)


def test_what_is_hollow_stays_inside_outside():
    field, x = continued(lambda x: -to_sphere(x), points_of("sphere")), 4 * directions(500)
    np.testing.assert_allclose(field.distance(x), -to_sphere(x), rtol=0.003)


@pytest.mark.parametrize("d", [2, 3])
def test_a_surface_that_reaches_the_border_goes_on(d):
    field = continued(lambda x: x[:, 0], 0.9 * directions(500, d) * (np.arange(d) > 0))
    x = np.random.default_rng(4).uniform(-5, 5, (2000, d))
    value, gradient = field.distance_and_gradient(x)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    assert ((value > 0) == (x[:, 0] > 0)).all()
    inside = np.linalg.norm(x, axis=1) < R
    np.testing.assert_array_equal(value[inside], x[inside, 0])
    border = R * directions(500, d)
    np.testing.assert_allclose(field.distance(border * (1 + 1e-9)), border[:, 0], atol=1e-6)
    error = np.linalg.norm(gradient - numerical(field.distance, x), axis=1)
    assert np.quantile(error, 0.9) < 1e-5


def test_a_field_without_zero_set_goes_on():
    field = continued(lambda x: np.full(len(x), 0.3), points_of("sphere"))
    border = R * directions(200)
    np.testing.assert_allclose(field.distance(border * (1 + 1e-9)), 0.3, atol=1e-6)
    far = field.distance(5 * border)
    assert (far > 3).all()
    assert np.isfinite(far).all()


def test_what_is_not_finite_is_not_a_number():
    field = continued(to_sphere, points_of("sphere"))
    x = np.full((4, 3), 3.0)
    x[0, 1], x[1, 2], x[2, 0] = np.nan, np.inf, -1e39
    value, gradient = field.distance_and_gradient(x)
    np.testing.assert_array_equal(np.isnan(value), [True, True, True, False])
    np.testing.assert_array_equal(np.isnan(gradient).all(1), [True, True, True, False])
    np.testing.assert_array_equal(np.isnan(field.distance(x)), np.isnan(value))


def test_a_field_that_is_not_finite_stays_so():
    field = continued(lambda x: np.full(len(x), np.nan), points_of("sphere"))
    assert np.isnan(field.distance(3 * directions(10))).all()


def test_the_ball_holds_the_cloud():
    assert Beyond(field_of(to_sphere), Neighbors(0.1 * directions(10))).radius == pytest.approx(1.1)
    assert Beyond(field_of(to_sphere), Neighbors(2 * directions(10))).radius == pytest.approx(2 * 11 / 9)


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_feet_are_those_of_the_points_in_the_precision_that_is_saved(seed):
    """A surface that was fitted knows its points better than one that was saved, in another frame."""
    scan = 50 * np.random.default_rng(seed).normal(size=(100_000, 3)) @ np.diag([1, 0.7, 0.5])
    scan *= 50 / np.linalg.norm(scan, axis=1, keepdims=True)
    frame = unit_frame(scan, strays=np.zeros(len(scan), bool))
    fitted = Neighbors(scan).in_frame(frame)
    saved = Neighbors(fitted.points.astype(np.float32).astype(float))
    feet = [Beyond(field_of(to_sphere), near).feet.points for near in (fitted, saved)]
    np.testing.assert_array_equal(*feet)


def test_the_fall_is_smooth():
    share = np.linspace(0, 1.5, 1000)
    value, slope = fall(share)
    assert value[0] == 1
    assert (value[share >= 1] == 0).all()
    np.testing.assert_allclose(np.gradient(value, share)[1:-1], slope[1:-1], atol=0.01)
