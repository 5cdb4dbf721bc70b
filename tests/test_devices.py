"""Another device than the CPU: what is computed stays there, and comes back to the CPU only where it is asked for.

Torch's `meta` device has shapes but no numbers, and refuses to be mixed with the CPU as a GPU does.
"""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from families import AXES, SMALL, ellipsoid

from igr.cloud.pointcloud import PointCloud
from igr.config import FAST, PAPER, LatentConfig
from igr.field.field import make_field
from igr.field.networks import MLP
from igr.machine import in_bfloat16
from igr.space.encode import EncodeOptions
from igr.space.network import SpaceField, SpaceNetwork, make_network, turn_places
from igr.space.predict import evaluate_scans, scans_of
from igr.space.refine import refine
from igr.space.space import ShapeSpace
from igr.space.training import TrainingOptions

INPUT = dataclasses.replace(SMALL, latents=LatentConfig(size=4, enters="input", shapes=4))
QUICK = EncodeOptions(steps=3, points=50)
FIXED = dataclasses.replace(QUICK, pose="fixed")
META = torch.device("meta")


@pytest.fixture
def numbers(monkeypatch):
    """Makes `meta` a device that numbers come back from, by the ways that wait for a GPU: all are one."""
    ways = {name: getattr(torch.Tensor, name) for name in ("cpu", "__float__", "nonzero")}

    def back(name, one):
        monkeypatch.setattr(torch.Tensor, name, lambda x: one(x) if x.is_meta else ways[name](x))

    back("cpu", lambda x: torch.ones(x.shape, dtype=x.dtype))
    back("__float__", lambda x: 1.0)
    back("nonzero", lambda x: torch.zeros(0, x.ndim, dtype=torch.long, device=META))


def space_on_meta(config):
    network = SpaceNetwork(make_network(config, 3), torch.zeros(9, 4))
    field = SpaceField(network, device="meta")
    return ShapeSpace(field, config, names=[f"e{index}" for index in range(9)], scale=1.0, reach=1.0)


@pytest.mark.parametrize("config", [SMALL, INPUT], ids=["weights", "input"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_latent_from_the_cpu_is_decoded_where_the_network_is(config, dtype):
    network = make_network(config, 3).to(META, dtype)
    decoded = network.decode(torch.zeros(4, dtype=torch.float64))
    turn_places(decoded, torch.eye(3))
    assert {(p.device, p.dtype) for p in decoded.parameters()} == {(META, dtype)}
    for part in decoded(torch.zeros(7, 3, device=META, dtype=dtype)):
        assert part.device == META


def test_the_original_s_network_is_decoded_where_it_is():
    network = MLP(PAPER.network, 3, latent=256).to(META)
    assert network.decode(torch.zeros(256)).value(torch.zeros(7, 3, device=META)).shape == (7,)


def test_decoding_draws_nothing_from_the_generator_of_the_program():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for config in (SMALL, INPUT):
        make = make_network(config, 3)
        torch.manual_seed(5)
        make.decode(torch.zeros(4))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("config", [SMALL, INPUT], ids=["weights", "input"])
def test_a_shape_space_works_on_another_device(config, numbers, tmp_path):
    space = space_on_meta(config)
    scan = ellipsoid(AXES[4], 500)
    assert space.decode("e4").field.device == META
    surface = space.decode(space.encode(scan, QUICK))
    assert surface.distance(scan[:, :3]).shape == (500,)
    assert len(list(space.interpolate("e0", space.encode(scan[:, :3], FIXED), steps=3))) == 3
    assert len([space.decode(latent) for latent in space.sample(2)]) == 2
    refine(surface, PointCloud(scan[:, :3], scan[:, 3:]), steps=2)
    np.save(tmp_path / "a.npy", scan)
    (row,) = evaluate_scans(space, scans_of(tmp_path), tmp_path / "out", FIXED, resolution=16)
    assert row["scan"] == "a"
    space.save(tmp_path / "space.safetensors")
    assert ShapeSpace.load(tmp_path / "space.safetensors", device="meta").decode("e4").field.device == META


@pytest.mark.parametrize("config", [SMALL, INPUT], ids=["weights", "input"])
def test_a_shape_space_is_trained_and_validated_on_another_device(
    config, ellipsoids, numbers, tmp_path, monkeypatch
):
    monkeypatch.setattr("igr.space.encode.EncodeOptions", lambda: FIXED)
    scans = scans_of(ellipsoids / "e4.npy")
    options = TrainingOptions(device="meta", run=tmp_path / "run", validation=scans)
    space = ShapeSpace.train(ellipsoids, config=dataclasses.replace(config, steps=2), options=options)
    assert space.field.device == META
    assert (tmp_path / "run" / "validation" / "000002" / "errors.json").exists()


@pytest.mark.parametrize("config", [FAST, PAPER])
def test_one_surface_is_fitted_on_another_device(config, numbers):
    field = make_field(config, 3, device="meta")
    x = field.array(np.zeros((8, 3)))
    value, gradient = field.distance_and_gradient(x, training=True)
    field.backward(value, gradient)
    field.update(1e-3)
    field.load_state(field.state(optimizer=True))
    assert field.distance(x).device == META


@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_the_program_s_threads_do_not_spin_while_they_wait(given, expected):
    tell = "import atexit, os; from igr.cli.main import run; "
    tell += "atexit.register(lambda: print(os.environ['OMP_WAIT_POLICY'])); run()"
    others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    program = [sys.executable, "-c", tell, "--version"]
    ran = subprocess.run(program, env=others | given, capture_output=True, text=True, check=True)
    assert ran.stdout.split()[-1] == expected


def test_bfloat16_is_chosen_by_the_device_and_not_by_the_cpu_beside_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert in_bfloat16("auto", 512, "cpu")
    assert not in_bfloat16("auto", 512, "meta")


def test_what_a_gpu_gains_is_measured_in_little_where_there_is_none(capsys):
    from benchmarks import gpu

    assert gpu.main(["--device", "cuda:99"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "There is no cuda:99 here: the same code ran with tiny sizes on the CPU alone."
    table = [line.split("|")[1:-1] for line in told if line.startswith("| ")][2:]
    assert [row[0].strip() for row in table] == list(gpu.runs(tiny=True))
    assert all(float(row[1]) > 0 for row in table)


def test_another_device_is_held_against_the_cpu(monkeypatch):
    from benchmarks import gpu

    few = {name: run for name, run in gpu.runs(tiny=True).items() if name in ("`fast`", "a shape space, `fast`")}
    monkeypatch.setattr(gpu, "runs", lambda *, tiny: few)
    assert all(row.endswith("e+00, the same |") for row in list(gpu.rows("torch", tiny=True))[2:])
    monkeypatch.setattr(gpu, "answers", lambda fitted, places, calls=[]: calls.append(0) or np.array([len(calls)]))
    assert all(gpu.DIFFERENT in row for row in list(gpu.rows("torch", tiny=True))[2:])
