"""What a GPU gains: the step of `paper`, of shape spaces and of the torch field of `fast`, on the CPU and on the device.

python -m benchmarks.gpu [--device cuda] [--compiled]

Where there is no such device it says so, and runs the same code with tiny sizes on the CPU. The runs on both sides are
the first steps of the same fit in float32: at the end their distances are compared at the same places.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import igr
from igr.config import FAST, FAST_SPACE, PAPER, PAPER_SPACE, Config, FeatureConfig
from igr.errors import InputError
from igr.examples import example_cloud
from igr.machine import torch_device

from .sections import machine

STEPS, UNCOUNTED = 8, 2
"""Steps of a run, and how many of the first, which allocate and compile, are left out of the time."""
PLACES = 1000
"""Where distances are compared, in the box of the cloud."""
TOLERANCE, DIFFERENT = 0.01, "NOT THE SAME"
"""Largest difference of distances after these steps, unit frame, that still is the same result."""
ALONE = ("step of", "cpu, ms", "cpu, MB")
BESIDE = (*ALONE, "{0}, ms", "{0}, MB", "times as quick", "largest difference")
"""Columns of the table: where there is no other device, and where there is."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """One run on one device."""

    milliseconds: float
    megabytes: float
    distances: np.ndarray
    """At the same places on every device, unit frame."""


class Clock:
    """Told after every step; `compiled` has the network compiled from the second step on, as long runs have it."""

    def __init__(self, device: str, *, compiled: bool) -> None:
        self.device, self.compiled, self.at = device, compiled, [time.perf_counter()]

    def __call__(self, progress: Any, fitted: Any) -> None:
        if self.compiled and progress.step == 1 and hasattr(fitted, "worth_compiling"):
            fitted.worth_compiling = True
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        self.at.append(time.perf_counter())

    def milliseconds(self) -> float:
        """Median of a step, without the first ones."""
        return 1000 * statistics.median(np.diff(self.at)[UNCOUNTED:])


def surface_run(config: Config, points: int) -> Callable[[str, Clock], np.ndarray]:
    """The first steps of a surface of the example body."""
    cloud = example_cloud("body", points=points)
    low, side = cloud.points.min(axis=0), np.ptp(cloud.points, axis=0)
    places = low + side * np.random.default_rng(0).random((PLACES, 3))

    def run(device: str, clock: Clock) -> np.ndarray:
        options = igr.Options(steps=STEPS, device=device, surface="closed")
        fitted = igr.reconstruct(
            cloud.points, normals=cloud.normals, config=config, options=options, on_step=clock
        )
        return answers(fitted, places)

    return run


def space_run(config: Config, points: int) -> Callable[[str, Clock], np.ndarray]:
    """The first steps of a shape space of twelve ellipsoids."""
    places = np.random.default_rng(0).uniform(-1, 1, (PLACES, 3))

    def run(device: str, clock: Clock) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            for index, stretch in enumerate(np.linspace(0.5, 1.0, 12)):
                ball = np.random.default_rng(index).normal(size=(points, 3))
                ball /= np.linalg.norm(ball, axis=1, keepdims=True)
                normals = ball / [stretch, 0.7, 0.8]
                normals /= np.linalg.norm(normals, axis=1, keepdims=True)
                np.save(Path(folder) / f"e{index:02}.npy", np.hstack([ball * [stretch, 0.7, 0.8], normals]))
            options = igr.TrainingOptions(device=device)
            steps = dataclasses.replace(config, steps=STEPS)
            space = igr.ShapeSpace.train(folder, config=steps, options=options, on_step=clock)
        return answers(space.decode(space.names[0]), places)

    return run


def answers(fitted: igr.Surface, places: np.ndarray) -> np.ndarray:
    """What the field itself says at places, on the CPU; in its unit frame, which is about two wide."""
    found: Any = fitted.field.distance(fitted.field.array(fitted.frame.to_unit(places)))
    return found if isinstance(found, np.ndarray) else found.cpu().numpy()


def float32(config: Config, *, tiny: bool) -> Config:
    """The configuration with all products in float32; tiny: with a network and batches that any machine has."""
    config = dataclasses.replace(config, precision="float32")
    if config.latents is not None:
        size = 4 if tiny else config.latents.size
        config = dataclasses.replace(config, latents=dataclasses.replace(config.latents, epochs=0, size=size))
    if not tiny:
        return config
    network: Any = config.network
    if isinstance(network, FeatureConfig):
        network = dataclasses.replace(network, levels=3, coarsest=4, finest=16, log2_rows=12, start_levels=3)
    else:
        network = dataclasses.replace(network, width=24, layers=3, skip=(2,))
    sampling = dataclasses.replace(config.sampling, surface=64)
    return dataclasses.replace(config, network=network, sampling=sampling, adapt=False)


def runs(*, tiny: bool) -> dict[str, tuple[Callable[[str, Clock], np.ndarray], str]]:
    """What is measured, by name, and on which device of igr the CPU's side of it runs."""
    points = 500 if tiny else 20_000
    given = {name: float32(config, tiny=tiny) for name, config in (("paper", PAPER), ("fast", FAST))}
    spaces = {"fast": FAST_SPACE, "paper": PAPER_SPACE}
    found = {f"`{name}`": (surface_run(config, points), "torch") for name, config in given.items()}
    for name, config in spaces.items():
        found[f"a shape space, `{name}`"] = space_run(float32(config, tiny=tiny), points), "cpu"
    found["`fast`, the native core"] = surface_run(given["fast"], points), "cpu"
    return found


def measured(run: Callable[[str, Clock], np.ndarray], device: str, *, compiled: bool) -> Measured:
    """One run with its time and its peak memory: the device's, or what the process took beyond what it had."""
    clock, on_gpu = Clock(device, compiled=compiled), device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    before = resident(afresh=True)
    distances = run(device, clock)
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else resident() - before
    return Measured(clock.milliseconds(), peak, distances)


def resident(*, afresh: bool = False) -> float:
    """Largest resident memory of this process in MB, since it was last counted afresh; NaN where none tells."""
    try:
        if afresh:
            Path("/proc/self/clear_refs").write_text("5")
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    return int(found.group(1)) / 1024 if found else float("nan")


def rows(device: str, *, tiny: bool, compiled: bool = False) -> Iterator[str]:
    """The table; its first half where the device is the CPU."""
    columns = ALONE if device == "cpu" else BESIDE
    yield f"| {' | '.join(columns)} |".format(device)
    yield "| --- " * len(columns) + "|"
    for name, (run, processor) in runs(tiny=tiny).items():
        one = measured(run, processor, compiled=compiled)
        cells = [name, f"{one.milliseconds:.1f}", f"{one.megabytes:.0f}"]
        if device != "cpu" and "native" not in name:
            other = measured(run, device, compiled=compiled)
            off = float(np.abs(one.distances - other.distances).max())
            cells += [f"{other.milliseconds:.1f}", f"{other.megabytes:.0f}"]
            cells += [f"{one.milliseconds / other.milliseconds:.1f}"]
            cells += [f"{off:.1e}, {'the same' if off <= TOLERANCE else DIFFERENT}"]
        yield f"| {' | '.join(cells + [''] * (len(columns) - len(cells)))} |"


def main(args: list[str] | None = None) -> int:
    """Print the rows; 1 where a device computes something else than the CPU does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--compiled", action="store_true", help="compile `paper`, as runs of many steps do")
    asked = parser.parse_args(args)
    device, tiny = asked.device, False
    try:
        torch_device(device)
    except InputError:
        print(f"There is no {device} here: the same code ran with tiny sizes on the CPU alone.\n")
        device, tiny = "cpu", True
    print(f"*{machine()}, torch {torch.__version__}{named(device)}*\n")
    different = False
    for line in rows(device, tiny=tiny, compiled=asked.compiled):
        print(line, flush=True)
        different |= DIFFERENT in line
    return int(different)


def named(device: str) -> str:
    """The name of a GPU."""
    return f", {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else ""


if __name__ == "__main__":
    raise SystemExit(main())
