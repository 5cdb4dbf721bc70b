"""What the network leaves of the points is added in closed form: where it is no noise, and nowhere else."""

import copy
import dataclasses

import numpy as np
import pytest
from shapes import sphere, torus

import igr
from igr.cloud.neighbors import Neighbors
from igr.config import FAST, FeatureConfig
from igr.errors import InputError
from igr.field import residual as module
from igr.field.field import make_field
from igr.field.residual import Corrected, Grid, Residual
from igr.fit import residual as finding
from igr.fit.near import near_space
from igr.fit.residual import with_residual
from igr.fit.sampling import CloudSampler, Known

pytestmark = pytest.mark.numerical
NETWORK = FAST.network
assert isinstance(NETWORK, FeatureConfig)
BOUND = NETWORK.bound
COARSE = dataclasses.replace(NETWORK, finest=70)


def grids(dimension, *, seed=0):
    """Two grids with values at random corners."""
    rng = np.random.default_rng(seed)
    corners = [np.sort(rng.choice(21**dimension, 60, replace=False)) for _ in range(2)]
    values = rng.normal(0, 0.1, (2, 60)).astype(np.float32)
    return Residual([Grid(dimension, 20, own, value) for own, value in zip(corners, values, strict=True)], BOUND)


def added(residual, x):
    f, g = np.zeros(len(x), np.float32), np.zeros(x.shape, np.float32)
    residual.add(x.astype(np.float32), f, g)
    return f, g


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_native_core_and_numpy_add_the_same(dimension, monkeypatch):
    x = np.random.default_rng(1).uniform(-1.5 * BOUND, 1.5 * BOUND, (5000, dimension))
    native = added(grids(dimension), x)
    monkeypatch.setattr(module, "available", lambda: False)
    for one, other in zip(native, added(grids(dimension), x), strict=True):
        assert np.abs(one).max() > 0.1
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("dimension", [2, 3])
def test_at_a_corner_it_is_the_value_there_and_between_corners_it_is_multilinear(dimension):
    one = grids(dimension).grids[0]
    place = np.stack(np.unravel_index(one.corners, [21] * dimension), 1)
    at = (place / 10 - 1) * BOUND
    np.testing.assert_allclose(added(Residual([one], BOUND), at)[0], one.values, atol=1e-5)
    np.testing.assert_array_equal(one.at(one.corners), one.values)
    middle = (np.array([[3.5, 4.25, 5.0][:dimension]]) / 10 - 1) * BOUND
    around = np.array(list(np.ndindex(*[2] * dimension)))
    share = np.where(around, [0.5, 0.25, 0.0][:dimension], [0.5, 0.75, 1.0][:dimension]).prod(1)
    full = Grid(
        dimension, 20, np.arange(21**dimension), np.random.default_rng(2).random(21**dimension, np.float32)
    )
    strides = 21 ** np.arange(dimension)[::-1]
    expected = share @ full.at((np.array([3, 4, 5])[:dimension] + around) @ strides)
    assert added(Residual([full], BOUND), middle)[0][0] == pytest.approx(expected, abs=1e-5)


def test_the_gradient_is_that_of_the_value():
    residual, step = grids(3), 1e-3
    x = np.random.default_rng(3).uniform(-1, 1, (2000, 3))
    cell = (x / BOUND + 1) * 10
    x = x[(np.abs(cell - cell.round()) > 0.05).all(1)]  # away from where it bends
    slope = added(residual, x)[1]
    for axis in range(3):
        more, less = x.copy(), x.copy()
        more[:, axis] += step
        less[:, axis] -= step
        rise = (added(residual, more)[0] - added(residual, less)[0]) / (2 * step)
        np.testing.assert_allclose(slope[:, axis], rise, atol=2e-3)


class Plain:
    """A field of the plane z = height, which its points are not on."""

    dimension = 3

    def __init__(self, height):
        self.height = height

    def array(self, values):
        return np.ascontiguousarray(values, np.float32)

    def distance_and_gradient(self, x, **_):
        g = np.zeros_like(x)
        g[:, 2] = 1
        return x[:, 2] - np.float32(self.height), g

    def distance(self, x):
        return x[:, 2] - np.float32(self.height)


def waves(count=20_000, *, noise=0.0):
    """A sampler of z = .01 sin 12x · cos 9y, its exact normals, and the points' spacing."""
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-0.8, 0.8, (2, count))
    z = 0.01 * np.sin(12 * x) * np.cos(9 * y)
    normals = np.stack(
        [-0.12 * np.cos(12 * x) * np.cos(9 * y), 0.09 * np.sin(12 * x) * np.sin(9 * y), 1 + 0 * x], 1
    )
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = np.stack([x, y, z + noise * rng.standard_normal(count)], 1)
    spacing = 1.6 * (7 / np.pi / count) ** 0.5
    return CloudSampler(points, FAST.sampling, seed=0, normals=normals), spacing


def test_what_a_plane_leaves_of_waves_is_added():
    sampler, spacing = waves()
    field = with_residual(Plain(0.0), sampler, COARSE, spacing=spacing)
    assert isinstance(field, Corrected)
    assert len(field.residual.grids) == 3  # from 70 cells on
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-0.75, 0.75, (2, 4000))
    z = 0.01 * np.sin(12 * x) * np.cos(9 * y)
    between = field.array(np.stack([x, y, z], 1))
    before, after = np.abs(z).mean(), np.abs(field.distance(between)).mean()
    assert after < 0.02 * before
    f, _ = field.distance_and_gradient(between)
    np.testing.assert_array_equal(f, field.distance(between))
    far = field.array(rng.uniform(-1, 1, (1000, 3)) + [0, 0, 2])
    np.testing.assert_array_equal(field.distance(far), far[:, 2])


class Above:
    """Tells the side of places: that of the plane z = 0 which they are on."""

    cell = 0.01

    def __call__(self, x):
        return x[:, 2]


class Ghostly(Plain):
    """The plane z = 0, which a ghost comes near to: within a spacing or two of its middle, f is lower."""

    def __init__(self, spacing):
        super().__init__(0.0)
        self.spacing = spacing

    def distance(self, x):
        apart = (x - np.array([0, 0, 1.5 * self.spacing], np.float32)) / np.float32(1.5 * self.spacing)
        return x[:, 2] - np.float32(0.9 * self.spacing) * np.exp(-(apart**2).sum(1)).astype(np.float32)

    def distance_and_gradient(self, x, **_):
        return self.distance(x), super().distance_and_gradient(x)[1]


def above(*, trust=None):
    """A sampler of the plane z = 0, which tells the distance beside it, and the points' spacing."""
    x, y = np.random.default_rng(4).uniform(-0.8, 0.8, (2, 20_000))
    points, normals = np.stack([x, y, 0 * x], 1), np.tile([0.0, 0.0, 1.0], (20_000, 1))
    near = Neighbors(points)
    told = {"normals": normals, "trust": trust, "near": near}
    told["known"] = Known(near=near_space(points, normals, near, Above(), config=FAST.sampling, seed=0))
    return CloudSampler(points, FAST.sampling, seed=0, **told), float(np.median(near.spacing(6)))


def test_what_a_field_leaves_beside_the_cloud_is_added_where_the_points_tell_it():
    sampler, spacing = above()
    ghostly = Ghostly(spacing)
    field = with_residual(ghostly, sampler, NETWORK, spacing=spacing)
    ghost = np.random.default_rng(5).normal(0, 0.5, (500, 3)) * spacing + [0, 0, 2 * spacing]
    ghost = field.array(ghost)
    before, after = (np.abs(one.distance(ghost) - ghost[:, 2]).mean() for one in (ghostly, field))
    assert after < 0.4 * before
    on = sampler.points[np.linalg.norm(sampler.points, axis=1) < 3 * spacing]
    assert np.abs(field.distance(on)).max() < 0.05 * spacing


@pytest.mark.parametrize(("trust", "noise"), [(np.ones(20_000), 0.0), (None, 1.0)], ids=["estimated", "noise"])
def test_beside_estimated_normals_or_under_noise_nothing_is_told(trust, noise):
    sampler, spacing = above(trust=trust)
    ghostly = Ghostly(spacing)
    field = with_residual(ghostly, sampler, NETWORK, spacing=spacing, noise=noise * spacing)
    far = field.array(np.random.default_rng(5).uniform(-0.1, 0.1, (500, 3)) * spacing + [0, 0, 3 * spacing])
    np.testing.assert_array_equal(field.distance(far), ghostly.distance(far))


@pytest.mark.parametrize("made", [lambda: waves(4000), above], ids=["points", "beside"])
def test_the_native_core_and_scipy_find_the_same(monkeypatch, made):
    """The same least squares in two programs: single precision, and a dozen steps of conjugate gradients."""
    sampler, spacing = made()
    native = with_residual(Plain(0.0), sampler, COARSE, spacing=spacing)
    monkeypatch.setattr(finding, "available", lambda: False)
    other = with_residual(Plain(0.0), sampler, COARSE, spacing=spacing)
    for one, two in zip(native.residual.grids, other.residual.grids, strict=True):
        order = np.argsort(one.corners)
        np.testing.assert_array_equal(one.corners[order], two.corners)
        np.testing.assert_allclose(one.values[order], two.values, atol=1e-3 * np.abs(two.values).max())


def test_noise_is_left_alone_and_half_of_it_is_followed_less():
    """The residual changes with the ratio of noise to what is left, without a jump."""
    sampler, spacing = waves()
    bare = np.abs(sampler.points[:, 2]).mean()
    left = []
    for noise in (0.0, 0.002, 0.005, 0.02):
        field = with_residual(Plain(0.0), sampler, COARSE, spacing=spacing, noise=noise)
        left.append(np.abs(field.distance(sampler.points)).mean() / bare)
    assert left == sorted(left)
    assert left[0] < 0.01 < left[2] < 0.9
    assert left[3] == 1


def test_a_field_that_misses_the_cloud_is_not_corrected():
    sampler, spacing = waves()
    missed = Plain(2 * spacing)
    assert with_residual(missed, sampler, NETWORK, spacing=spacing) is missed
    assert isinstance(with_residual(Plain(spacing / 2), sampler, NETWORK, spacing=spacing), Corrected)


def test_clouds_in_the_plane_and_those_without_normals_keep_their_field():
    _, normals = sphere(300, 2)
    field = make_field(FAST, 2)
    sampler = CloudSampler(0.9 * normals, FAST.sampling, seed=0, normals=normals)
    assert with_residual(field, sampler, NETWORK, spacing=0.01) is field
    sampler = CloudSampler(sphere(300, 3)[1], FAST.sampling, seed=0)
    field = make_field(FAST, 3)
    assert with_residual(field, sampler, NETWORK, spacing=0.01) is field


@pytest.fixture(scope="module")
def surface():
    points, normals = torus(8000)
    return igr.reconstruct(points, normals=normals, options=igr.Options(steps=60))


def test_a_reconstruction_obeys_its_points(surface):
    points, _ = torus(8000)
    assert isinstance(surface.field, Corrected)
    network = surface.field.field.distance(surface.field.array(surface.frame.to_unit(points)))
    ours = np.abs(surface.distance(points)).mean() / surface.frame.scale
    assert ours < 0.2 * np.abs(network).mean()


def test_what_is_saved_copied_and_read_is_the_same(surface, tmp_path):
    x = torus(8000)[0] + 0.01
    surface.save(tmp_path / "torus.igr")
    for other in (igr.Surface.load(tmp_path / "torus.igr"), copy.deepcopy(surface)):
        np.testing.assert_array_equal(other.distance(x), surface.distance(x))
        np.testing.assert_array_equal(other.gradient(x), surface.gradient(x))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("residual.values", lambda v: v[:-1]),
        ("residual.values", lambda v: v * np.float32(np.nan)),
        ("residual.corners", lambda v: np.full_like(v, v[0])),
        ("residual.corners", lambda v: v - v[-1]),
        ("residual.corners", lambda v: v + 2**40),
        ("residual.grids", lambda v: v * [1 << 20, 1]),
        ("residual.grids", lambda v: v.astype(np.float64)),
    ],
)
def test_damaged_arrays_are_refused(name, change):
    arrays = grids(3).arrays()
    assert Residual.of(arrays, 3, BOUND) is not None
    arrays[name] = change(arrays[name])
    with pytest.raises(InputError):
        Residual.of(arrays, 3, BOUND)


def test_a_corrected_field_is_not_fitted_further(surface):
    with pytest.raises(RuntimeError, match="not fitted any more"):
        surface.field.backward(np.zeros(1), np.zeros((1, 3)))
    with pytest.raises(RuntimeError, match="not fitted any more"):
        surface.field.distance_and_gradient(np.zeros((1, 3), np.float32), training=True)
