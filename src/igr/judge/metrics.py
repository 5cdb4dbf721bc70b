"""How a reconstruction is judged: named protocols, each exactly stated, since the field's differ.

A distance between surfaces has two directions: *accuracy*, from the reconstruction to the reference, and
*completeness*, from the reference to the reconstruction. Nothing is hidden before measuring: no
component is dropped.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cloud.neighbors import Neighbors
from ..cloud.places import as_places
from ..errors import InputError, usual_arithmetic
from ..mesh.triangles import (
    Mesh,
    SurfaceSamples,
    face_areas,  # noqa: F401 (a documented name of this module)
    face_normals,
    near_order,
    sample_surface,
)
from ..settings import finite, whole

if TYPE_CHECKING:
    import trimesh


@dataclass(frozen=True)
class Comparison:
    """Distances between a reconstruction and a reference, by one protocol."""

    protocol: str
    """Name of the protocol, see `PROTOCOLS`."""
    chamfer: float
    """The protocol's combination of both directions."""
    hausdorff: float
    """Largest distance of either direction, Euclidean, in the input's units."""
    accuracy: float
    """Mean of the protocol's distance from the reconstruction to the reference."""
    completeness: float
    """Mean of the protocol's distance from the reference to the reconstruction."""
    percentile50: float
    """Median of the Euclidean distances of both directions together."""
    percentile95: float
    """95th percentile of the same."""
    percentile99: float
    """99th percentile of the same."""
    normal_consistency: float | None
    """Mean dot product of the normals at corresponding places, both directions; None where there are none."""
    f_score: float
    """Harmonic mean of the shares of both directions that are closer than `threshold`."""
    threshold: float
    """Threshold of the F-score, in the input's units."""
    diagonal: float
    """Diagonal of the reference's box, in the input's units."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, with the chamfer also as a share of the diagonal."""
        return dataclasses.asdict(self) | {"chamfer_relative": self.chamfer / self.diagonal}


@dataclass(frozen=True)
class Protocol:
    """How one comparison is made."""

    source: str
    """Who measures like this."""
    samples: int
    """Random points on each mesh, evenly by area."""
    squared: bool
    """Squared distances instead of Euclidean ones."""
    summed: bool
    """Both directions added instead of averaged."""
    to_triangles: bool
    """Distances to the other's triangles, so without a floor from sampling; else to its nearest sample."""
    all_reference_points: bool = False
    """The reference is taken as its points (a cloud, or a mesh's vertices) instead of being sampled."""


PROTOCOLS = {
    "surface": Protocol("this project", 100_000, squared=False, summed=False, to_triangles=True),
    "srb": Protocol(
        "DiGS (Ben-Shabat et al. 2022), StEik, HotSpot: scan units, nothing normalised",
        1_000_000,
        squared=False,
        summed=False,
        to_triangles=False,
        all_reference_points=True,
    ),
    "deepsdf": Protocol(
        "DeepSDF (Park et al. 2019), SAL, SALD: squared distances, summed",
        30_000,
        squared=True,
        summed=True,
        to_triangles=False,
    ),
    "shapenet": Protocol("DiGS on ShapeNet", 30_000, squared=True, summed=True, to_triangles=False),
    "l1": Protocol(
        "SAP, GridPull, MultiPull: Chamfer-L1", 100_000, squared=False, summed=False, to_triangles=False
    ),
}
"""The protocols by name (table of definitions: docs/numbers)."""


@usual_arithmetic
def compare(
    mesh: trimesh.Trimesh | Mesh,
    reference: Any,
    *,
    protocol: str = "surface",
    seed: int = 0,
    samples: int | None = None,
    threshold: float | None = None,
) -> Comparison:
    """Compare a reconstruction with a reference.

    Args:
        mesh: the reconstruction, a mesh or (vertices, faces).
        reference: the truth: a mesh, (vertices, faces), or bare points (n, 3) for protocols that take points.
        protocol: a key of `PROTOCOLS`.
        seed: seed of the samples.
        samples: points sampled on each mesh instead of the protocol's number.
        threshold: of the F-score, in the input's units; 1 % of the reference's diagonal when missing.

    Raises:
        InputError: unknown protocol, no mesh or an empty one, a reference without triangles where they are needed,
            or `samples` or `threshold` is not positive.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"there is no protocol {protocol!r}; known are {', '.join(PROTOCOLS)}")
    if samples is not None:
        whole(samples, "the number of samples", 1)
    if threshold is not None and not finite(threshold, "the threshold") > 0:
        raise InputError(f"the threshold must be positive, not {threshold}")
    rule = PROTOCOLS[protocol]
    rng = np.random.default_rng(seed)
    count = samples or rule.samples
    found = sample_surface(as_triangles(mesh), count, rng)
    if isinstance(reference, np.ndarray) or rule.all_reference_points:
        points = reference if isinstance(reference, np.ndarray) else as_triangles(reference)[0]
        if rule.to_triangles:
            raise InputError(f"protocol {protocol!r} needs the reference's triangles; it has only points")
        points = as_places(points, 3)
        if not len(points) or not np.isfinite(points).all():
            raise InputError("the points of a reference must be finite, and at least one")
        truth = SurfaceSamples(points[near_order(points)], None, None)
    else:
        truth = sample_surface(as_triangles(reference), count, rng)
    there, normal_there = _distances(found, truth, rule.to_triangles)
    back, normal_back = _distances(truth, found, rule.to_triangles)
    diagonal = float(np.linalg.norm(np.ptp(truth.points if truth.mesh is None else truth.mesh[0], axis=0)))
    limit = 0.01 * diagonal if threshold is None else threshold
    forward, backward = (there**2, back**2) if rule.squared else (there, back)
    combined = forward.mean() + backward.mean()
    median, most, nearly_all = np.percentile(np.concatenate([there, back]), [50, 95, 99])
    precision, recall = (there < limit).mean(), (back < limit).mean()
    return Comparison(
        protocol=protocol,
        chamfer=float(combined if rule.summed else combined / 2),
        hausdorff=float(max(there.max(), back.max())),
        accuracy=float(forward.mean()),
        completeness=float(backward.mean()),
        percentile50=float(median),
        percentile95=float(most),
        percentile99=float(nearly_all),
        normal_consistency=_consistency(normal_there, normal_back),
        f_score=float(2 * precision * recall / max(precision + recall, 1e-12)),
        threshold=float(limit),
        diagonal=diagonal,
    )


def as_triangles(mesh: Any) -> Mesh:
    """Vertices in float64 and faces in int64 of a mesh or of (vertices, faces).

    Raises:
        InputError: it is something else, or there is no triangle.
    """
    parts = mesh if isinstance(mesh, tuple) else (getattr(mesh, "vertices", None), getattr(mesh, "faces", None))
    if len(parts) != 2 or any(part is None for part in parts):
        raise InputError(f"a mesh or (vertices, faces) is needed here, not a {type(mesh).__name__}")
    vertices, faces = (np.asarray(part) for part in parts)
    if len(faces) == 0:
        raise InputError("a mesh with at least one triangle is needed, this one is empty")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
        raise InputError(f"triangles are whole numbers (f, 3), not {faces.dtype} {faces.shape}")
    vertices = as_places(vertices, 3)
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(f"triangles name vertices {faces.min()} to {faces.max()} of {len(vertices):,}")
    return np.ascontiguousarray(vertices), np.ascontiguousarray(faces, np.int64)


def _consistency(there: np.ndarray | None, back: np.ndarray | None) -> float | None:
    return None if there is None or back is None else float((there.mean() + back.mean()) / 2)


def _distances(
    source: SurfaceSamples, target: SurfaceSamples, to_triangles: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Distance of each source point to the target, and the dot product of the normals there."""
    if to_triangles and target.mesh is not None:
        import igl

        square, face, _ = igl.point_mesh_squared_distance(source.points, *target.mesh)
        distance, normals = np.sqrt(square), face_normals(*target.mesh)[np.asarray(face)]
    else:
        distance, index = Neighbors(target.points).at(source.points)
        normals = None if target.normals is None else target.normals[np.asarray(index)]
    if source.normals is None or normals is None:
        return distance, None
    return distance, (source.normals * normals).sum(1)
