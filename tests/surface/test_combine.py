"""Combinations have the sign of set algebra, lengths in input units, and mesh like any other surface."""

import numpy as np
import pytest
from analytic import sphere_surface

import igr
from igr.errors import FitError, InputError

PLACE = np.array([4e5, -2e6, 10.0])


@pytest.fixture(scope="module")
def pair():
    """Spheres of radius 2 and 1, their centers 2 apart, far from the origin, each in its own frame."""
    return sphere_surface(2.0, PLACE), sphere_surface(1.0, PLACE + [2, 0, 0])


def places(n=4000):
    return PLACE + np.random.default_rng(0).uniform(-3.5, 3.5, (n, 3))


def truth(x):
    return np.linalg.norm(x - PLACE, axis=1) - 2, np.linalg.norm(x - PLACE - [2, 0, 0], axis=1) - 1


def check(found, exact, x):
    """The formula itself answers near both clouds, and elsewhere the distance to places of its zero set."""
    f, g = truth(x)
    np.testing.assert_allclose(found, exact, atol=1e-3)
    near = (f < 2.3) & (g < 1.15)
    np.testing.assert_allclose(found[near], exact[near], atol=1e-6)


def test_distances_are_those_of_set_algebra(pair):
    big, small = pair
    x = places()
    f, g = truth(x)
    check((big | small).distance(x), np.minimum(f, g), x)
    check((big & small).distance(x), np.maximum(f, g), x)
    check((big - small).distance(x), np.maximum(f, -g), x)
    check(igr.offset(big, 0.5).distance(x), f - 0.5, x)
    check(igr.shell(big, 0.5).distance(x), abs(f) - 0.25, x)


def test_gradients_are_finite_differences(pair):
    big, small = pair
    x, step = places(300), 1e-4
    for solid in (big | small, big & small, big - small, igr.shell(big, 0.3)):
        differences = np.stack(
            [(solid.distance(x + step * e) - solid.distance(x - step * e)) / (2 * step) for e in np.eye(3)], 1
        )
        agree = abs(solid.gradient(x) - differences).max(1) < 1e-3
        assert agree.mean() > 0.98  # all but those where two parts meet


def volume_of_lens():
    """Of two spheres, radii 2 and 1, their centers 2 apart (Weisstein, Sphere-Sphere Intersection)."""
    radius, other, apart = 2, 1, 2
    return (
        np.pi
        * (radius + other - apart) ** 2
        * (apart**2 + 2 * apart * other - 3 * other**2 + 2 * apart * radius + 6 * radius * other - 3 * radius**2)
        / (12 * apart)
    )


def test_volumes_of_meshes_are_those_of_geometry(pair):
    big, small = pair
    lens, ball = volume_of_lens(), 4 / 3 * np.pi
    expected = {
        "union": ((big | small), 8 * ball + ball - lens),
        "intersection": ((big & small), lens),
        "difference": ((big - small), 8 * ball - lens),
        "offset": (igr.offset(big, 0.5), 2.5**3 * ball),
        "inset": (igr.offset(big, -0.5), 1.5**3 * ball),
        "shell": (igr.shell(big, 0.4), (2.2**3 - 1.8**3) * ball),
    }
    for name, (solid, volume) in expected.items():
        mesh = solid.mesh(resolution=96)
        assert mesh.is_watertight, name
        assert mesh.volume == pytest.approx(volume, rel=5e-3), name


def test_a_chain_is_a_set_again(pair):
    big, small = pair
    x = places()
    f, g = truth(x)
    chained = igr.shell((big | small) - igr.offset(small, -0.5), 0.2)
    check(chained.distance(x), abs(np.maximum(np.minimum(f, g), -(g + 0.5))) - 0.1, x)
    assert chained.mesh(resolution=64).is_watertight
    hits = (big - small).cast_rays([PLACE - [9, 0, 0]], [[1, 0, 0]])
    np.testing.assert_allclose(hits.locations[:, 0] - PLACE[0], [-2, 1], atol=1e-3)
    assert (big - small).to_grid(8).values.min() < 0


def test_curves_combine_too():
    moon = sphere_surface(1.0, (0.0, 0.0)) - sphere_surface(1.0, (1.0, 0.0))
    (curve,) = moon.contour(resolution=128)
    x, y = curve.T
    area = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
    lens = 2 * np.arccos(0.5) - np.sqrt(3) / 2
    assert area == pytest.approx(np.pi - lens, rel=5e-3)


def test_parts_of_another_unit_are_placed_first(pair):
    big, _ = pair
    millimetres = sphere_surface(1000.0, 1000 * (PLACE + [2, 0, 0]))
    both = big | igr.placed(millimetres, scale=1e-3)
    check(both.distance(places()), np.minimum(*truth(places())), places())
    moved = igr.placed(big, shift=[0, 0, 5])
    assert moved.distance([PLACE + [0, 0, 5]])[0] == pytest.approx(-2)


def test_what_cannot_be_combined_is_refused(pair, tmp_path):
    big, _ = pair
    with pytest.raises(InputError, match="cannot be combined"):
        big | sphere_surface(1.0, (0.0, 0.0))
    with pytest.raises(InputError, match="save its parts"):
        (big | big).save(tmp_path / "both.igr")
    with pytest.raises(InputError, match="must be positive"):
        igr.shell(big, 0)
    with pytest.raises(InputError, match="must be positive"):
        igr.placed(big, scale=-1)
    with pytest.raises(FitError, match="no surface at level"):
        (big & sphere_surface(1.0, PLACE + [50, 0, 0])).mesh(resolution=16)


@pytest.mark.parametrize("other", [3, None, "surface", np.zeros(3)])
def test_a_surface_and_something_else_have_no_combination(pair, other):
    for combine in (lambda: pair[0] | other, lambda: pair[0] & other, lambda: pair[0] - other):
        with pytest.raises(TypeError, match="unsupported operand"):
            combine()
    with pytest.raises(InputError, match=f"not with a {type(other).__name__}"):
        igr.union(pair[0], other)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: igr.union(), "there is no surface to combine"),
        (lambda s: igr.intersection(), "there is no surface to combine"),
        (lambda s: igr.placed(s, shift=[1, 2]), "one number, or 3 numbers here, not 2"),
        (lambda s: igr.placed(s, shift=np.nan), "number of a shift must be a finite number, not nan"),
        (lambda s: igr.placed(s, shift="far"), "number of a shift must be a finite number, not 'far'"),
        (lambda s: igr.placed(s, shift=[0, 0, np.inf]), "number of a shift must be a finite number, not inf"),
        (lambda s: igr.placed(s, scale=np.inf), "the scale must be a finite number, not inf"),
        (lambda s: igr.placed(s, scale=-1.0), "the scale must be positive"),
        (lambda s: igr.placed(None), "not with a NoneType"),
        (lambda s: igr.offset(s, np.nan), "the amount of an offset must be a finite number, not nan"),
        (lambda s: igr.offset(s, "2"), "the amount of an offset must be a finite number, not '2'"),
        (lambda s: igr.offset(None, 1.0), "not with a NoneType"),
        (lambda s: igr.shell(s, np.inf), "the thickness of a shell must be a finite number, not inf"),
        (lambda s: igr.shell(s, 0.0), "thickness of a shell must be positive"),
    ],
)
def test_lengths_and_surfaces_that_make_no_sense_are_refused_in_one_sentence(pair, make, message):
    with pytest.raises(InputError, match=message):
        make(pair[0])
