"""The benchmark scans by every protocol of `igr evaluate`, beside screened Poisson of the same points and normals."""

from __future__ import annotations

from collections.abc import Iterator

import igr
from igr.judge.metrics import Comparison, compare

from .clouds import SCANS, Case, scan
from .peers import poisson

DEPTH = 9
"""Depth of Poisson's octree: its best on most of these scans."""


def protocols() -> Iterator[str]:
    """One row a scan: igr / Poisson by each protocol, with the scanner's normals."""
    yield f"Every cell: igr / screened Poisson of depth {DEPTH}, against the published ground truth, in the scans' units"
    yield "(`deepsdf` is squared and summed, and `shapenet` measures the same). Both get the scanner's normals; no piece is"
    yield "dropped."
    yield ""
    header = [
        "scan",
        "`surface` d_C",
        "d_H",
        "NC",
        "`srb` d_C",
        "d_H",
        "scan → mesh",
        "`deepsdf`",
        "`l1`",
        "F at 1 %",
    ]
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * len(header)}"
    for name in SCANS:
        case = scan(name)
        mesh = igr.reconstruct(case.points, normals=case.normals).mesh(resolution=256)
        ours, peer = judged(case, mesh), judged(case, poisson(case.points, case.normals, DEPTH)[:2])
        cells = [both(a, b) for a, b in zip(ours, peer, strict=True)]
        yield f"| {name} | {' | '.join(cells)} |"


def judged(case: Case, mesh: object) -> list[float]:
    """The figures of a row, in the order of its header."""
    surface, srb, deepsdf, l1 = (judge(mesh, case.truth, name) for name in ("surface", "srb", "deepsdf", "l1"))
    one_sided = judge(mesh, case.points, "srb").completeness
    row = [surface.chamfer, surface.hausdorff, surface.normal_consistency or 0.0]
    return [*row, srb.chamfer, srb.hausdorff, one_sided, deepsdf.chamfer, l1.chamfer, l1.f_score]


def judge(mesh: object, truth: object, protocol: str) -> Comparison:
    """One comparison."""
    return compare(mesh, truth, protocol=protocol)


def both(ours: float, peer: float) -> str:
    """Two figures with three significant digits."""
    return f"{ours:#.3g} / {peer:#.3g}"
