"""What is done with given normals, shape by shape and fault by fault: they are evidence."""

import numpy as np
import pytest
import trimesh
from shapes import DATA, blob, directions, sphere

from igr.cloud.frame import unit_frame
from igr.mesh.triangles import sample_mesh
from igr.normals.given import judge_normals


def box(n, size, missing=()):
    """Points of a box and its outward normals; faces named by axis and side may be missing."""
    rng, size = np.random.default_rng(0), np.array(size, float)
    parts = []
    for axis, side in [(axis, side) for axis in range(3) for side in (-1, 1) if (axis, side) not in missing]:
        count = round(n * np.prod(np.delete(size, axis)))
        points, normals = (rng.random((count, 3)) - 0.5) * size, np.zeros((count, 3))
        points[:, axis], normals[:, axis] = side * size[axis] / 2, side
        parts.append(np.hstack([points, normals]))
    return np.hsplit(np.concatenate(parts), 2)


def nested():
    """A shell: the normals of the cavity point into it."""
    (outer, outward), (inner, radial) = sphere(6000), sphere(3000, seed=1)
    return np.r_[outer, 0.6 * inner], np.r_[outward, -radial]


def square():
    rng = np.random.default_rng(0)
    side, along = rng.integers(0, 4, 400), rng.uniform(-1, 1, (400, 1))
    normals = np.array([[1, 0], [0, 1], [-1, 0], [0, -1.0]])
    return normals[side] + along * normals[(side + 1) % 4], normals[side]


def waves():
    """An open terrain, its normals up."""
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, 2000))
    slope = np.c_[-0.6 * np.cos(4 * x) * np.cos(3 * y), 0.45 * np.sin(4 * x) * np.sin(3 * y), np.ones(len(x))]
    return np.c_[x, y, 0.15 * np.sin(4 * x) * np.cos(3 * y)], slope / np.linalg.norm(slope, axis=1, keepdims=True)


def half_sphere():
    points = sphere(3000)[0]
    return (points[points[:, 2] > 0],) * 2


def room():
    """A room without its ceiling, seen from inside."""
    points, normals = box(60, (4, 3, 2.5), missing=[(2, 1)])
    return points, -normals


BODIES = {
    "box": box(1500, (1, 0.8, 0.6)),
    "thin plate": box(2500, (1, 1, 0.03)),
    "nested shells": nested(),
    "blob": blob(3000, 3),
    "sparse sphere": sphere(300),
    "circle": sphere(300, 2),
    "square": square(),
}
SHEETS = {"terrain": waves(), "single view": half_sphere(), "room": room()}


def off_by(normals, degrees):
    """Normals that err by an angle, each in a direction by chance."""
    across = directions(len(normals), normals.shape[1], seed=77)
    across -= (across * normals).sum(1, keepdims=True) * normals
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return np.cos(np.deg2rad(degrees)) * normals + np.sin(np.deg2rad(degrees)) * across


def at_random(normals, share):
    return normals * np.where(np.random.default_rng(5).random(len(normals)) < share, -1, 1)[:, None]


def patch(points, normals, share):
    """The normals of one end of the cloud turned, as where one scan of several is inside out."""
    along = points[:, np.argmax(np.ptp(points, axis=0))]
    return normals * np.where(along < np.quantile(along, share), -1, 1)[:, None]


def judged(points, normals):
    return judge_normals(unit_frame(points).to_unit(points), normals)


def right(judgement, truth):
    return ((judgement.normals * truth).sum(1) > 0).mean()


FAULTS = {
    "none": (lambda points, normals: normals, "given"),
    "10 degrees": (lambda points, normals: off_by(normals, 10), "given"),
    "30 degrees": (lambda points, normals: off_by(normals, 30), "down-weighted"),
    "half at random": (lambda points, normals: at_random(normals, 0.5), "re-oriented"),
    "a fifth at random": (lambda points, normals: at_random(normals, 0.2), "re-oriented"),
    "half as a patch": (lambda points, normals: patch(points, normals, 1 / 2), "re-oriented"),
    "a third as a patch": (lambda points, normals: patch(points, normals, 1 / 3), "re-oriented"),
    "all": (lambda points, normals: -normals, "turned"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", BODIES)
def test_normals_of_bodies(name, fault):
    points, normals = BODIES[name]
    damage, use = FAULTS[fault]
    judgement = judged(points, damage(points, normals))
    assert judgement.use == use
    assert right(judgement, normals) > (0.97 if points.shape[1] == 3 else 0.9)
    assert (judgement.sentence == "") == (use == "given")


@pytest.mark.parametrize("name", [name for name in BODIES if BODIES[name][0].shape[1] == 3])
def test_colors_are_no_normals(name):
    colors = np.random.default_rng(0).random((len(BODIES[name][0]), 3))
    assert judged(BODIES[name][0], colors / np.linalg.norm(colors, axis=1, keepdims=True)).use == "ignored"


@pytest.mark.parametrize("name", SHEETS)
def test_normals_of_open_surfaces_stay_on_the_side_they_have(name):
    points, normals = SHEETS[name]
    for given in (normals, -normals):
        judgement = judged(points, given)
        assert judgement.use == "given"
        assert judgement.normals is given
        mended = judged(points, at_random(given, 0.2))
        assert mended.use == "re-oriented"
        assert right(mended, given) > 0.97


def test_what_is_kept_against_appearances_is_said():
    points, normals = SHEETS["room"]
    assert "of an open surface: kept" in judged(points, normals).sentence
    assert judged(points, -normals).sentence == ""


@pytest.mark.parametrize("degrees", [0, 10])
def test_two_layers_as_close_as_their_points_keep_their_sides(degrees):
    (outer, outward), (inner, radial) = sphere(6000), sphere(6000)
    normals = np.r_[outward, -radial]
    judgement = judged(np.r_[outer, 0.95 * inner], off_by(normals, degrees) if degrees else normals)
    assert judgement.use == "given"
    assert right(judgement, normals) == 1


@pytest.mark.skipif(not DATA.is_dir(), reason="development data are not here")
@pytest.mark.parametrize("name", ["rotor", "counter_assembly", "fandisk", "camel", "homer", "horse", "elephant"])
def test_exact_normals_of_sampled_meshes_are_never_overruled(name):
    mesh = trimesh.load(DATA / "meshes" / f"{name}.ply", process=False)
    for count in (1000, 3000, 50_000):
        rng = np.random.default_rng(1)
        points, face = sample_mesh(np.asarray(mesh.vertices, float), np.asarray(mesh.faces), count, rng)
        normals = np.asarray(mesh.face_normals)[face]
        assert right(judged(points, normals), normals) == 1
        assert right(judged(points, -normals), normals) == 1
        thirds = judged(points, patch(points, normals, 1 / 3))
        assert count < 50_000 or (thirds.use == "re-oriented" and right(thirds, normals) > 0.97)
