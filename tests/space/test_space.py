"""Shape spaces: one network, many shapes."""

import csv
import dataclasses
import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from families import AXES, SMALL, ellipsoid

import igr
from igr.cli.main import main
from igr.cloud.frame import Frame
from igr.cloud.pointcloud import PointCloud
from igr.config import FAST_SPACE, PAPER_SPACE, SPACE_PRESETS, Config, MLPConfig
from igr.errors import InputError
from igr.field.torch_field import TorchField
from igr.mesh.write import write_animation
from igr.show.drawings import latent_picture, latent_table
from igr.space import encode as latentfit
from igr.space.encode import EncodeOptions, Encoding
from igr.space.network import GRID, make_network, rotations
from igr.space.refine import refine
from igr.space.space import ShapeSpace
from igr.space.starts import _candidates, quarter_turns
from igr.space.training import TrainingOptions, lengths_in_steps


@pytest.fixture(scope="module")
def space(ellipsoids):
    return ShapeSpace.train(ellipsoids, config=SMALL)


def test_the_paper_preset_is_the_published_table():
    config = lengths_in_steps(PAPER_SPACE, 160)
    assert config.network == MLPConfig(width=512, layers=8, skip=(4,), beta=100.0, radius=1.0)
    assert (config.latents.size, config.latents.shapes, config.sampling.surface) == (256, 16, 8000)
    assert (config.steps, config.optimizer.interval) == (10_000 * 10, 500 * 10)
    assert (config.optimizer.initial, config.latents.rate) == (5e-3, pytest.approx(1e-3 / 5e-3))
    assert config.sampling.sigmas == (0.01,)
    assert config.objective.latent == 1e-3
    network = make_network(config, 3)
    assert network.lin0.in_features == 259
    assert network.lin3.out_features == 512 - 259


def test_a_config_with_latents_survives_json():
    for config in (FAST_SPACE, PAPER_SPACE, SMALL):
        assert Config.from_json(config.to_json()) == config


def test_training_shapes_come_out_as_they_went_in(space):
    for name, axes in list(zip(space.names, AXES, strict=True))[::4]:
        surface = space.decode(name)
        points = ellipsoid(axes, 500, 99)
        assert abs(surface.distance(points[:, :3])).mean() < 0.02
        assert surface.distance(np.zeros((1, 3)))[0] < -0.3
        assert surface.mesh(resolution=32).is_watertight


def test_where_a_decoded_shape_lies_is_found_without_the_whole_grid(space, monkeypatch):
    surface, asked = space.decode("e4"), []
    axis = (np.arange(GRID) + 0.5) / GRID * 2 - 1
    places = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    near = np.abs(surface.field.distance(surface.field.array(places)).numpy()) < 3 / GRID
    plain = TorchField.distance
    monkeypatch.setattr(TorchField, "distance", lambda self, x: asked.append(len(x)) or plain(self, x))
    assert len(space.decode("e4").samples) == near.sum()
    assert sum(asked) < GRID**3 / 3


@pytest.mark.parametrize("columns", [6, 3])
def test_an_unseen_scan_in_other_units_is_found(space, columns):
    axes = np.array([0.81, 0.7, 0.8])
    scan = ellipsoid(axes, 3000, 5)
    scan[:, :3] = 1000 * scan[:, :3] + [5000, -300, 80]
    encoding = space.encode(scan[:, :columns], EncodeOptions(steps=120, points=200))
    surface = space.decode(encoding)
    assert abs(surface.distance(scan[:, :3])).mean() < 25  # of 1,600 mm
    assert encoding.residual < 25
    assert surface.distance(np.array([[5000.0, -300.0, 80.0]]))[0] < -500


def test_where_a_fit_begins_does_not_depend_on_where_its_arrays_lie_in_memory(space):
    mean, basis = (torch.as_tensor(part, dtype=torch.float32) for part in space.principal())

    def moved(x, by):
        return torch.zeros(x.numel() + 16)[by : by + x.numel()].view(x.shape).copy_(x)

    found = [_candidates(space, moved(mean, by), moved(basis, by)) for by in range(16)]
    assert all(torch.equal(one, found[0]) for one in found)
    np.testing.assert_allclose(mean + found[0][1:] @ basis, space.latents, atol=1e-4)


def fits_of(monkeypatch):
    """Collects (trials, steps) of every fit of latents."""
    fits, plain = [], latentfit._fitted

    def counted(space, tables, starts, mean, basis, options):
        fits.append((len(tables), options.steps))
        return plain(space, tables, starts, mean, basis, options)

    monkeypatch.setattr(latentfit, "_fitted", counted)
    return fits


def test_a_space_says_how_near_it_came_to_its_shapes(space, tmp_path):
    away = [abs(space.decode(name).distance(ellipsoid(axes, 500, 9)[:, :3])).mean()
            for name, axes in zip(space.names, AXES, strict=True)]  # fmt: skip
    assert space.residual == pytest.approx(np.mean(away), rel=0.5)
    space.save(tmp_path / "space.safetensors")
    assert ShapeSpace.load(tmp_path / "space.safetensors").residual == space.residual
    before = ShapeSpace(space.field, space.config, names=space.names, scale=1.0, reach=1.0)
    assert before.residual == 0


def test_a_scan_that_fits_as_well_as_the_space_can_is_begun_once(space, monkeypatch):
    scan = ellipsoid(np.array([0.75, 0.7, 0.8]), 2000, 5)
    scan[:, :3] *= 1 + 0.1 * np.sin(9 * scan[:, :1])  # nearer than about 0.02 the space does not come
    options = EncodeOptions(steps=60, points=100)
    fits = fits_of(monkeypatch)
    space.encode(scan, options)
    assert len(fits) > 1
    fits.clear()
    coarse = {"training": {"residual": 0.1}}
    ShapeSpace(
        space.field, space.config, names=space.names, scale=space.scale, reach=space.reach, details=coarse
    ).encode(scan, options)
    assert fits == [(1, 60)]


def test_half_a_scan_is_completed(space):
    scan = ellipsoid(np.array([0.81, 0.7, 0.8]), 3000, 5)
    half = scan[scan[:, 2] > 0.05]
    surface = space.decode(space.encode(half, EncodeOptions(steps=200, points=200)))
    assert abs(surface.distance(half[:, :3])).mean() < 0.02
    mesh = surface.mesh(resolution=32)
    assert mesh.is_watertight
    assert abs(mesh.bounds[0, 2] + 0.8) < 0.15  # the lower half, which no point shows


def test_the_unit_of_a_small_part_is_guessed_and_a_full_scan_is_never_taken_for_one(space):
    scan = ellipsoid(np.array([0.81, 0.7, 0.8]), 9000, 5)
    part = scan[np.linalg.norm(scan[:, :3] - [0, 0, 0.8], axis=1) < 0.3]
    options = EncodeOptions(steps=5, points=100)
    for unit in (1.0, 1000.0):
        in_unit = np.hstack([part[:, :3] * unit, part[:, 3:]])
        assert space.encode(in_unit, options).frame.scale == pytest.approx(space.scale * unit)
    inches = np.hstack([scan[:, :3] / 0.0254, scan[:, 3:]])
    assert space.encode(inches, options).frame.scale == pytest.approx(space.scale / 0.0254)


def test_a_scan_on_its_side_is_turned(space):
    turn = quarter_turns(3)[7].numpy()
    scan = ellipsoid(np.array([0.98, 0.7, 0.8]), 3000, 5)
    turned = np.hstack([scan[:, :3] @ turn, scan[:, 3:] @ turn])
    surface = space.decode(space.encode(turned, EncodeOptions(steps=120, points=200)))
    assert abs(surface.distance(turned[:, :3])).mean() < 0.03
    gradient = surface.gradient(turned[:200, :3])
    assert (gradient * turned[:200, 3:]).sum(1).mean() > 0.95


def test_many_scans_together_are_each_alone(space):
    scans = [ellipsoid(axes, 2000, 7) for axes in AXES[1:8:3]]
    options = EncodeOptions(steps=60, points=100)
    together = space.encode_all(scans, options)
    alone = [space.encode(scan, options) for scan in scans]
    for one, other in zip(together, alone, strict=True):
        a, b = (space.decode(e).distance(scans[0][:200, :3]) for e in (one, other))
        assert abs(a - b).max() < 0.02  # other random points, the same fit


def test_rotations_of_the_axes_are_24_in_space():
    turns = quarter_turns(3)
    assert len(turns) == 24
    assert torch.equal(turns[0], torch.eye(3))
    assert all(math.isclose(float(torch.linalg.det(turn)), 1.0) for turn in turns)
    assert len(quarter_turns(2)) == 4


def test_an_encoding_is_decoded_in_the_scans_frame(space):
    frame = Frame(np.array([10.0, 0.0, -4.0]), 2.0)
    turn = rotations(torch.tensor([[0.2, 0.4, -0.1]]))[0].numpy().astype(float)
    z = space.latents[0]
    u = np.random.default_rng(0).uniform(-0.8, 0.8, (100, 3))
    moved = space.decode(Encoding(z, frame, turn)).distance(frame.to_input(u @ turn.T))
    still = space.decode(z, frame=Frame(np.zeros(3), 1.0)).distance(u)
    inside = np.linalg.norm(u, axis=1) < 1  # beyond the ball distances are to places of the surface, found anew
    np.testing.assert_allclose(moved[inside] / 2.0, still[inside], atol=1e-5)
    np.testing.assert_allclose(moved / 2.0, still, atol=1e-3)


def test_interpolation_goes_from_one_end_to_the_other(space):
    surfaces = list(space.interpolate("e0", "e8", steps=5))
    volumes = [surface.mesh(resolution=32).volume for surface in surfaces]
    assert all(np.diff(volumes) > 0)
    x = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    np.testing.assert_allclose(surfaces[0].distance(x), space.decode("e0").distance(x), atol=1e-5)
    np.testing.assert_allclose(surfaces[-1].distance(x), space.decode("e8").distance(x), atol=1e-5)
    with pytest.raises(InputError, match="at least its 2 ends"):
        list(space.interpolate("e0", "e8", steps=1))
    with pytest.raises(InputError, match="no training shape 'nobody'"):
        space.decode("nobody")


def test_a_saved_space_is_the_same(space, tmp_path):
    space.save(tmp_path / "space.safetensors")
    space.save(tmp_path / "half.safetensors", half=True)
    again, half = (ShapeSpace.load(tmp_path / f"{name}.safetensors") for name in ("space", "half"))
    x = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    np.testing.assert_array_equal(again.decode("e3").distance(x), space.decode("e3").distance(x))
    assert abs(half.decode("e3").distance(x) - space.decode("e3").distance(x)).max() < 5e-3
    assert again.names == space.names
    space.decode("e0").save(tmp_path / "surface.igr")
    with pytest.raises(InputError, match="no saved shape space"):
        ShapeSpace.load(tmp_path / "surface.igr")


def test_principal_directions_span_the_latents(space):
    mean, basis = space.principal()
    w = (space.latents - mean) @ np.linalg.pinv(basis)
    np.testing.assert_allclose(w.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(mean + w @ basis, space.latents, atol=1e-4)


def test_a_resumed_training_equals_an_uninterrupted_one(ellipsoids, tmp_path):
    config = dataclasses.replace(SMALL, steps=12)
    whole = ShapeSpace.train(ellipsoids, config=config)

    def stop(progress, _):
        return progress.step == 5

    options = TrainingOptions(run=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        ShapeSpace.train(ellipsoids, config=config, options=options, on_step=stop)
    resumed = ShapeSpace.train(ellipsoids, config=config, options=dataclasses.replace(options, resume=True))
    for name, value in whole.field.state(optimizer=True).items():
        np.testing.assert_array_equal(value, resumed.field.state(optimizer=True)[name], err_msg=name)
    assert (tmp_path / "run" / "history.csv").read_text().count("\n") == 13


def test_a_trained_run_is_not_overwritten_without_being_told_to(ellipsoids, tmp_path, monkeypatch, capsys):
    config = dataclasses.replace(SMALL, steps=2)
    options = TrainingOptions(run=tmp_path / "run")
    ShapeSpace.train(ellipsoids, config=config, options=options)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr("igr.space.training.training_scans", None)  # no work is done before it is refused
        with pytest.raises(
            InputError, match=r"run holds a run already: --resume continues it, --overwrite starts"
        ):
            ShapeSpace.train(ellipsoids, config=config, options=options)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    shorter = dataclasses.replace(config, steps=1)
    ShapeSpace.train(ellipsoids, config=shorter, options=dataclasses.replace(options, overwrite=True))
    assert [path.stem for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["000001"]


def test_trainings_whose_folder_nobody_named_do_not_share_one(ellipsoids, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SPACE_PRESETS, "fast", SMALL)
    train = ["shapespace", "train", str(ellipsoids), "--steps", "1"]
    for expected, options in (("", []), ("-2", []), ("", ["--resume"]), ("", ["--overwrite"])):
        assert main([*train, *options]) == 0
        assert f"wrote runs/shapespace{expected}/model.safetensors" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["shapespace", "shapespace-2"]
    assert main([*train, "--run", "runs/shapespace-2"]) == 2


def test_an_interpolation_plays(tmp_path):
    import trimesh

    boxes = [trimesh.creation.box((1, 1, 1 + t)) for t in range(3)]
    write_animation(tmp_path / "a.glb", [(box.vertices, box.faces) for box in boxes])
    content = (tmp_path / "a.glb").read_bytes()
    tree = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    assert len(tree["animations"][0]["channels"]) == 3
    scene = trimesh.load_scene(tmp_path / "a.glb")
    assert len(scene.geometry) == 3


def test_refining_goes_to_the_points_and_stays_where_there_are_none(space):
    surface = space.decode("e4")
    bumped = ellipsoid(AXES[4] + [0, 0, 0.08], 4000, 3)
    half = bumped[bumped[:, 0] > 0]
    low = np.array([[-AXES[4][0], 0.0, 0.0]])
    before, there = abs(surface.distance(half[:, :3])).mean(), surface.distance(low)[0]
    refined = refine(surface, PointCloud(half[:, :3], half[:, 3:]), steps=150)
    assert abs(refined.distance(half[:, :3])).mean() < 0.3 * before
    assert abs(refined.distance(low)[0] - there) < 0.03


def test_training_without_samples_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="igr dfaust preprocess"):
        igr.ShapeSpace.train(tmp_path)
    np.save(tmp_path / "a.npy", np.zeros((10, 5), np.float32))
    with pytest.raises(InputError, match="expected points"):
        igr.ShapeSpace.train(tmp_path)
    with pytest.raises(InputError, match="no preset 'slow'"):
        igr.ShapeSpace.train(tmp_path, config="slow")


def test_new_shapes_vary_as_the_training_shapes_do(space):
    drawn = space.sample(4000, seed=3)
    np.testing.assert_array_equal(drawn[:2], space.sample(2, seed=3))
    np.testing.assert_allclose(drawn.mean(0), space.latents.mean(0), atol=0.1 * space.latents.std())
    mean, directions = space.principal()
    strength = ((drawn - mean) @ directions.T / (directions**2).sum(1)).std(0)
    np.testing.assert_allclose(strength, 1, atol=0.1)
    with pytest.raises(InputError, match="1 or more"):
        space.sample(0)


def test_the_map_of_latents_has_every_shape(space):
    rows = list(csv.DictReader(latent_table(space).splitlines()))
    assert [row["shape"] for row in rows] == list(space.names)
    mean, directions = space.principal()
    place = np.array([float(value) for value in list(rows[3].values())[1:]])
    np.testing.assert_allclose(mean + place @ directions, space.latents[3], atol=1e-3)
    tree = ElementTree.fromstring(latent_picture(space))
    assert {found.text for found in tree.iter("{http://www.w3.org/2000/svg}title")} == set(space.names)
