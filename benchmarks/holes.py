"""Does confidence rank the true error where data is missing? On the scans' own holes and on caps cut away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import igr
from igr.surface.surface import Surface

from .clouds import SCANS, Case, meshes, samples, scan

GAP, COLLAR = 3.0, 6.0
"""In spacings of the cloud: a place farther than the first from every sample lies in a hole, and the region of the
holes is all of the mesh within the second of such a place."""


def without_caps(case: Case, *, share: float = 0.1, caps: int = 3, seed: int = 0) -> Case:
    """The case without the points of `caps` balls around points of it, which hold `share` of all."""
    rng = np.random.default_rng(seed)
    keep = np.ones(len(case.points), bool)
    for center in case.points[rng.choice(len(case.points), caps, replace=False)]:
        distance = np.linalg.norm(case.points - center, axis=1)
        keep &= distance > np.quantile(distance, share / caps)
    return Case(f"{case.name} without caps", case.points[keep], case.normals[keep], case.truth)


def rank_correlation(surface: Surface, case: Case) -> tuple[float, float, float]:
    """Spearman's correlation of 1 − confidence with the distance to the truth at the mesh's vertices in the region
    of the holes and in all; and the share of the vertices in that region."""
    import igl
    from scipy.spatial import KDTree
    from scipy.stats import spearmanr

    vertices = np.asarray(surface.mesh(resolution=192).vertices)
    corners, faces = np.asarray(case.truth.vertices, float), np.asarray(case.truth.faces, np.int64)
    error = np.sqrt(igl.point_mesh_squared_distance(vertices, corners, faces)[0])
    doubt = 1 - surface.confidence(vertices)
    tree = KDTree(case.points)
    spacing = np.median(tree.query(case.points[::10], k=7)[0][:, 6])
    in_hole = vertices[tree.query(vertices)[0] > GAP * spacing]
    if len(in_hole) == 0:
        return float("nan"), float(spearmanr(doubt, error)[0]), 0.0
    region = KDTree(in_hole).query(vertices)[0] < COLLAR * spacing
    return (
        float(spearmanr(doubt[region], error[region])[0]),
        float(spearmanr(doubt, error)[0]),
        float(region.mean()),
    )


def confidence() -> Iterator[str]:
    """Rank correlation of confidence with the true error."""
    yield (
        f"Spearman's correlation of 1 − confidence with the distance to the truth, at the vertices of the mesh that "
        f"lie within {COLLAR:g} spacings of a vertex farther than {GAP:g} spacings from every point (the holes), and "
        "at all vertices."
    )
    yield ""
    yield "| cloud | holes, with normals | without | all, with normals | without | share of vertices |"
    yield "| --- | --- | --- | --- | --- | --- |"
    cases = [scan(name) for name in SCANS] + [without_caps(samples(name, count=20_000)) for name in meshes()]
    for case in cases:
        given = rank_correlation(igr.reconstruct(case.points, normals=case.normals), case)
        bare = rank_correlation(igr.reconstruct(case.points, normals="ignore"), case)
        yield f"| {case.name} | {given[0]:.2f} | {bare[0]:.2f} | {given[1]:.2f} | {bare[1]:.2f} | {given[2]:.1%} |"
