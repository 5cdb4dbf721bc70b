"""A compact table while tuning: `python -m benchmarks.tune scans clean noise --shapes spot,camel`."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable

import numpy as np

import igr
from igr.config import FAST, Config
from igr.judge.metrics import compare
from igr.judge.quality import topology

from .clouds import SCANS, Case, meshes, samples, scan
from .peers import judged_poisson

DEPTHS = {"scans": (9,), "clean": (9,), "noise": (7, 8)}


def cases(kind: str, shapes: list[str] | None) -> list[Case]:
    """The clouds of one kind."""
    if kind == "scans":
        return [scan(name) for name in shapes or SCANS]
    return [samples(name, noise=0.01 if kind == "noise" else 0.0) for name in shapes or meshes()]


def row(case: Case, config: Config, depths: tuple[int, ...], *, bare: bool = False) -> dict[str, float]:
    """One reconstruction beside the best Poisson."""
    began = time.perf_counter()
    surface = igr.reconstruct(case.points, normals="ignore" if bare else case.normals, config=config)
    fitted = time.perf_counter()
    mesh = surface.mesh()
    meshed = time.perf_counter()
    ours, shape = compare(mesh, case.truth), topology(mesh)
    peers = [judged_poisson(case, depth)[0] for depth in depths]
    peer = min(peers, key=lambda one: one.chamfer)
    line = (
        f"{case.name:20s} dC {ours.chamfer:.5f} / {peer.chamfer:.5f} = {ours.chamfer / peer.chamfer:.3f}   "
        f"dH {ours.hausdorff:.4f} / {peer.hausdorff:.4f} = {ours.hausdorff / peer.hausdorff:.2f}   "
        f"rel {1e4 * ours.chamfer / ours.diagonal:.2f}e-4  nc {ours.normal_consistency:.3f}/"
        f"{peer.normal_consistency:.3f}  pieces {shape.components}/{shape.large_components} "
        f"{'closed' if shape.watertight else 'OPEN'}  finest {surface.config.network.finest}  "
        f"{fitted - began:.1f} + {meshed - fitted:.1f} s"
    )
    print(line, flush=True)
    return {
        "ratio": ours.chamfer / peer.chamfer,
        "hausdorff ratio": ours.hausdorff / peer.hausdorff,
        "chamfer": ours.chamfer,
        "poisson": peer.chamfer,
        "hausdorff": ours.hausdorff,
        "poisson hausdorff": peer.hausdorff,
        "relative": ours.chamfer / ours.diagonal,
        "seconds": meshed - began,
    }


def table(kind: str, config: Config, shapes: list[str] | None = None, *, bare: bool = False) -> dict[str, float]:
    """Rows of one kind, and their means."""
    rows = [row(case, config, DEPTHS[kind], bare=bare) for case in cases(kind, shapes)]
    mean = {key: float(np.mean([one[key] for one in rows])) for key in rows[0]}
    worst = max(one["ratio"] for one in rows)
    print(
        f"== {kind}: mean dC {mean['chamfer']:.5f} / {mean['poisson']:.5f} "
        f"= {mean['chamfer'] / mean['poisson']:.3f}, "
        f"mean ratio {mean['ratio']:.3f} (worst {worst:.2f}), "
        f"dH {mean['hausdorff'] / mean['poisson hausdorff']:.3f}, "
        f"rel {1e4 * mean['relative']:.2f}e-4, {mean['seconds']:.1f} s\n",
        flush=True,
    )
    return mean


def with_overrides(config: Config, overrides: list[str]) -> Config:
    """`config` with entries such as objective.normals=0.3 replaced."""
    for override in overrides:
        key, text = override.split("=")
        *path, name = key.split(".")
        part = getattr(config, path[0]) if path else config
        convert: Callable = type(getattr(part, name))
        value = text == "True" if convert is bool else convert(text)
        changed = dataclasses.replace(part, **{name: value})
        config = dataclasses.replace(config, **{path[0]: changed}) if path else changed
    return config


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="+", choices=["scans", "clean", "noise"])
    parser.add_argument("--shapes", type=lambda text: text.split(","))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--bare", action="store_true", help="without the normals")
    options = parser.parse_args()
    for kind in options.kinds:
        table(kind, with_overrides(FAST, options.set), options.shapes, bare=options.bare)
