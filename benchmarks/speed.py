"""What a step, an evaluation, a mesh and a start cost, beside the plain way of doing the same in the same run."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import trimesh

import igr as package
from examples.clouds.solids import sample_solid
from igr.config import PAPER
from igr.examples import example_cloud, write_cloud
from igr.field.networks import MLP
from igr.field.torch_field import TorchField, torch_field
from igr.judge.metrics import compare

from .clouds import scan
from .measure import igr, median_seconds, process, repeated


def paper_step() -> Iterator[str]:
    """One training step of the paper's network, 2 x 2,048 points, against plain double backward."""
    cloud = example_cloud("body", points=4096)
    unit = (cloud.points - cloud.points.mean(0)) / 1000
    rng = np.random.default_rng(0)
    x = torch.tensor(
        np.concatenate([unit[:2048], unit[:2048] + rng.normal(0, 0.02, (2048, 3))]), dtype=torch.float32
    )
    df = torch.full((4096,), 1 / 2048)
    eager = torch_field(dataclasses.replace(PAPER, steps=1), 3)  # too short a run to be compiled
    ours = {"explicit gradient in the forward pass": eager, "the same, compiled": torch_field(PAPER, 3)}
    lower = dataclasses.replace(PAPER, precision="bfloat16")
    ours["the same, compiled, products in bfloat16 (`precision`)"] = torch_field(lower, 3)
    plain = MLP(PAPER.network, 3)
    adam = torch.optim.Adam(plain.parameters(), lr=1e-3)

    def step(field: TorchField) -> None:
        _, g = field.distance_and_gradient(x, training=True)
        field.backward(df, g / 4096)
        field.update(1e-3)

    def double_backward() -> None:
        leaf = x.clone().requires_grad_()
        h = leaf
        for index, layer in enumerate(plain.layers):
            h = torch.cat([h, leaf], -1) / 2**0.5 if index in plain.config.skip else h
            h = layer(h)
            h = torch.nn.functional.softplus(h, beta=100) if index < plain.config.layers else h
        f = h.squeeze(-1)
        (g,) = torch.autograd.grad(f.sum(), leaf, create_graph=True)
        loss = f.abs().mean() + 0.1 * (g.norm(dim=-1) - 1).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()

    theirs = median_seconds(double_backward, 7)
    yield "| step of the 8 x 512 network, 4,096 points | s | ratio |"
    yield "| --- | --- | --- |"
    yield f"| plain double backward | {theirs:.3f} | 1 |"
    for name, field in ours.items():
        began = time.monotonic()
        step(field)
        first, mine = time.monotonic() - began, median_seconds(lambda field=field: step(field), 7)
        compiling = f" (first call {first:.0f} s)" if first > 5 * mine else ""
        yield f"| {name}{compiling} | {mine:.3f} | {theirs / mine:.2f} |"


def meshing() -> Iterator[str]:
    """A 512³ mesh of a fitted scan against evaluating the same field on the dense grid."""
    case = scan("lord_quas")
    surface = package.reconstruct(case.points, normals=case.normals)
    low, high = surface.frame.to_input(surface.box)
    some = np.random.default_rng(0).uniform(low, high, (1_000_000, 3))
    rate = 1_000_000 / median_seconds(lambda: surface.distance(some), 3)
    for resolution in (256, 512):
        seconds = median_seconds(lambda n=resolution: surface.mesh(resolution=n), 3)
        dense = resolution**3 / rate
        yield (
            f"{resolution}³: {seconds:.2f} s, {len(surface.mesh(resolution=resolution).faces):,} triangles; "
            f"evaluating the same field at {resolution}³ places ({rate / 1e6:.1f} M/s) takes {dense:.1f} s, "
            f"{dense / seconds:.0f} times as long.\n"
        )


def reading() -> Iterator[str]:
    """A million points with normals read from files of every kind, and a million samples of meshes compared."""
    yield "| a million points with normals | s |"
    yield "| --- | --- |"
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".xyz", ".npy", ".npz", ".ply"):
            path = Path(folder) / f"points{suffix}"
            write_cloud(path, *sample_solid("torus", 1_000_000, np.random.default_rng(0)))
            yield f"| read {suffix} | {median_seconds(lambda path=path: package.read_points(path), 3):.2f} |"
    mesh, reference = (trimesh.creation.icosphere(subdivisions=6, radius=radius) for radius in (1.1, 1.0))
    for protocol in ("surface", "srb"):
        seconds = median_seconds(lambda kind=protocol: compare(mesh, reference, protocol=kind, samples=10**6), 3)
        yield f"| compare two spheres by the protocol {protocol} | {seconds:.2f} |"


def watching() -> Iterator[str]:
    """The share of a fit's time that showing it takes, of which at most a twentieth is promised."""
    from igr.studio.page import open_server
    from igr.studio.watch import Watch

    yield "| watched fit of the body | fitting, s | showing it, s | share |"
    yield "| --- | --- | --- | --- |"
    cloud = example_cloud("body", points=50_000)
    for steps in (700, 2000):
        server = open_server(8079)
        config = dataclasses.replace(package.FAST, steps=steps)
        watch = Watch(server, config)
        surface = package.reconstruct(cloud.points, normals=cloud.normals, config=config, on_step=watch)
        server.stop()
        share = watch.spent / surface.seconds
        yield f"| {steps:,} steps | {surface.seconds:.1f} | {watch.spent:.2f} | {share:.1%} |"


def starting() -> Iterator[str]:
    """Imports and help."""
    yield "| command | s |"
    yield "| --- | --- |"
    for label, command in (
        ("python -c 'pass'", [sys.executable, "-c", "pass"]),
        ("python -c 'import igr'", [sys.executable, "-c", "import igr"]),
        ("igr --help", igr("--help")),
    ):
        yield f"| {label} | {repeated(command, 5)[0]:.2f} |"


def sizes() -> Iterator[str]:
    """Cost as the cloud grows: bodies of more and more points, whole command, normals given."""
    yield "| points | whole command, s | of it fitting, s | MB |"
    yield "| --- | --- | --- | --- |"
    with tempfile.TemporaryDirectory() as folder:
        for count in (10_000, 100_000, 1_000_000, 10_000_000):
            path, target = Path(folder) / "cloud.npy", Path(folder) / "mesh.ply"
            np.save(path, np.hstack(sample_solid("torus", count, np.random.default_rng(0))))
            run = process(igr("reconstruct", path, "-o", target, "--json"), cwd=folder)
            fitting = f"{run.result['fit']['seconds']:.1f}" if "fit" in run.result else "in blocks"
            yield f"| {count:,} | {run.seconds:.1f} | {fitting} | {run.megabytes:.0f} |"
