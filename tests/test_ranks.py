"""Training in several processes: two ranks step as one, a killed one is started again, and hosts may differ."""

import dataclasses
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("torch")

from families import SMALL
from machine import free_port

from igr.space.space import ShapeSpace
from igr.space.training import TrainingOptions

TRAIN = """
import dataclasses, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from families import SMALL
from igr.machine import rank_and_ranks
from igr.space.space import ShapeSpace
from igr.space.training import TrainingOptions

killed = Path(sys.argv[2] + ".killed")

def killed_once(progress, space):
    if len(sys.argv) > 4 and progress.step == 4 and rank_and_ranks()[0] == 1 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)

options = TrainingOptions(run=sys.argv[2], resume=True, save_seconds=0)
ShapeSpace.train(sys.argv[1], config=dataclasses.replace(SMALL, steps=6), options=options, on_step=killed_once)
"""


CONFIG = dataclasses.replace(SMALL, steps=6)


@pytest.fixture(scope="module")
def together(ellipsoids, tmp_path_factory):
    """The run folder of two ranks that torchrun started."""
    run = tmp_path_factory.mktemp("together") / "two"
    _run(_torchrun(["--standalone"], ellipsoids, run))
    return run


def _script(ellipsoids, run, *killed):
    """The arguments of Python that train in one rank."""
    script = run.parent / "train.py"
    script.write_text(TRAIN)
    return [str(script), str(ellipsoids), str(run), os.path.dirname(__file__), *killed]


def _torchrun(launch, ellipsoids, run, *killed):
    """The command that trains in ranks, started by torchrun with the options `launch`."""
    command = [sys.executable, "-m", "torch.distributed.run", *launch, "--nproc-per-node"]
    return [*command, "1" if "--nnodes" in launch else "2", *_script(ellipsoids, run, *killed)]


def _run(command):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_COMPILE_DISABLE": "1"}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, timeout=3000)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def _assert_same_training(run, other):
    """Parameters, latents and losses to 1e-5 (rounding: the ranks add in another order)."""
    here, there = (ShapeSpace.load(path).field.state() for path in (run, other))
    for name, value in there.items():
        np.testing.assert_allclose(here[name], value, atol=1e-5, err_msg=name)
    losses = [np.loadtxt(path / "history.csv", delimiter=",", skiprows=1)[:, 3] for path in (run, other)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_step_of_two_ranks_is_that_of_one(ellipsoids, tmp_path, monkeypatch):
    """From the same state: along a run rounding grows, and the two drift apart."""
    begun, one, two = (tmp_path / name for name in ("begun", "one", "two"))
    with pytest.raises(KeyboardInterrupt):
        ShapeSpace.train(
            ellipsoids,
            config=CONFIG,
            options=TrainingOptions(run=begun),
            on_step=lambda progress, space: progress.step == CONFIG.steps - 1,
        )
    shutil.copytree(begun, two)
    begun.rename(one)
    ShapeSpace.train(ellipsoids, config=CONFIG, options=TrainingOptions(run=one, resume=True))
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    environment = os.environ | shared | {"RANK": "1", "OMP_NUM_THREADS": "1"}
    other = subprocess.Popen([sys.executable, *_script(ellipsoids, two)], env=environment, stderr=subprocess.PIPE)
    for name, value in (shared | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    ShapeSpace.train(ellipsoids, config=CONFIG, options=TrainingOptions(run=two, resume=True, save_seconds=0))
    message = other.communicate(timeout=3000)[1]
    assert other.returncode == 0, message.decode()[-2000:]
    _assert_same_training(two, one)


@pytest.mark.slow
def test_a_killed_rank_is_started_again_and_nothing_is_lost(ellipsoids, together, tmp_path):
    _run(_torchrun(["--standalone", "--max-restarts", "1"], ellipsoids, tmp_path / "two", "killed"))
    assert (tmp_path / "two.killed").exists()
    _assert_same_training(tmp_path / "two", together)


@contextmanager
def _two_hosts():
    """Two network namespaces joined by a cable: 10.77.0.1 and 10.77.0.2; skips where they may not be made."""
    names = [f"igr{os.getpid()}{letter}" for letter in "ab"]
    lines = [f"netns add {name}" for name in names]
    lines += [f"link add eth0 netns {names[0]} type veth peer name eth0 netns {names[1]}"]
    for number, name in enumerate(names, 1):
        lines += [f"-n {name} address add 10.77.0.{number}/24 dev eth0"]
        lines += [f"-n {name} link set {device} up" for device in ("lo", "eth0")]
    try:
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True, capture_output=True)
        yield names
    except (OSError, subprocess.CalledProcessError) as problem:
        pytest.skip(f"network namespaces cannot be made here: {problem}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.mark.slow
def test_two_hosts_are_one(ellipsoids, together, tmp_path):
    with _two_hosts() as hosts:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "eth0"}
        running = []
        for rank, host in enumerate(hosts):
            launch = ["--nnodes", "2", "--node-rank", str(rank), "--master-addr", "10.77.0.1"]
            command = _torchrun([*launch, "--master-port", "29500"], ellipsoids, tmp_path / "two")
            entered = ["ip", "netns", "exec", host, *command]
            running.append(subprocess.Popen(entered, env=environment, stderr=subprocess.PIPE))
        for process in running:
            message = process.communicate(timeout=3000)[1]
            assert process.returncode == 0, message.decode()[-2000:]
    _assert_same_training(tmp_path / "two", together)
