"""What a reconstruction is made of: pieces, holes, handles, ghosts; and whether its field is a distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from ..cloud.neighbors import Neighbors
from ..mesh.triangles import Mesh, face_areas, sample_surface
from .metrics import as_triangles

if TYPE_CHECKING:
    import trimesh


@dataclass(frozen=True)
class Topology:
    """What a mesh is made of."""

    components: int
    """Connected pieces."""
    large_components: int
    """Pieces with more than 0.5 % of the area."""
    watertight: bool
    """Every edge belongs to exactly two triangles."""
    euler: int
    """Vertices − edges + faces."""
    genus: int | None
    """Handles of all pieces together; None if the mesh is not watertight."""
    area: float
    """Total area, input units squared."""
    volume: float | None
    """Enclosed volume; None if the mesh is not watertight."""


def topology(mesh: trimesh.Trimesh | Mesh) -> Topology:
    """Pieces, holes and handles of a mesh."""
    import trimesh

    vertices, faces = as_triangles(mesh)
    shape = trimesh.Trimesh(vertices, faces, process=False)
    shape.remove_unreferenced_vertices()
    label = trimesh.graph.connected_component_labels(shape.face_adjacency, node_count=len(faces))
    areas = np.bincount(label, shape.area_faces)
    euler, closed = int(shape.euler_number), bool(shape.is_watertight)
    return Topology(
        components=len(areas),
        large_components=int((areas > 0.005 * areas.sum()).sum()),
        watertight=closed,
        euler=euler,
        genus=len(areas) - euler // 2 if closed else None,
        area=float(shape.area),
        volume=float(shape.volume) if closed else None,
    )


def ghost_area(mesh: trimesh.Trimesh | Mesh, points: Float[np.ndarray, "n 3"], *, spacings: float = 8.0) -> float:
    """Share of the mesh's area that is farther from every point of the cloud than `spacings` times the median
    distance of its points to their sixth neighbor: closed holes, and ghosts."""
    vertices, faces = as_triangles(mesh)
    near = Neighbors(points)
    spacing = np.median(near.of(np.arange(0, len(points), max(1, len(points) // 5000)), 6)[0][:, -1])
    area = face_areas(vertices, faces)
    gap = near.at(vertices[faces].mean(1))[0]
    return float(area[gap > spacings * spacing].sum() / area.sum())


@dataclass(frozen=True)
class FieldQuality:
    """How much a field is a signed distance, near the surface (band) and everywhere (box)."""

    eikonal_band: float
    """Mean |‖∇f‖ − 1| where the true distance is below the band's width."""
    eikonal_box: float
    """The same in the whole box."""
    rms_band: float
    """Root mean square of f − true signed distance in the band, input units."""
    rms_box: float
    """The same in the whole box."""


def field_quality(
    distance: Callable[[np.ndarray], np.ndarray],
    gradient: Callable[[np.ndarray], np.ndarray],
    reference: trimesh.Trimesh | Mesh,
    *,
    band: float,
    samples: int = 50_000,
    seed: int = 0,
) -> FieldQuality:
    """Compare a field with the true signed distance to a closed reference mesh.

    Args:
        distance: the field, (n, 3) → (n,), negative inside.
        gradient: its spatial gradient, (n, 3) → (n, 3).
        reference: watertight and oriented outward.
        band: half-width of the band around the reference, input units.
        samples: places in each region: random offsets from the surface, and uniform in its box grown by a tenth.
        seed: seed of the places.
    """
    vertices, faces = as_triangles(reference)
    low, high = vertices.min(0), vertices.max(0)
    margin = 0.1 * (high - low).max()
    rng = np.random.default_rng(seed)
    box = rng.uniform(low - margin, high + margin, (samples, 3))
    near = sample_surface((vertices, faces), samples, rng).points + rng.uniform(-band, band, (samples, 3))
    near = near[np.abs(signed_distance(vertices, faces, near)) < band]

    def residuals(x: np.ndarray) -> tuple[float, float]:
        length = np.linalg.norm(gradient(x), axis=1)
        wrong = distance(x) - signed_distance(vertices, faces, x)
        return float(np.abs(length - 1).mean()), float(np.sqrt((wrong**2).mean()))

    (eikonal_band, rms_band), (eikonal_box, rms_box) = residuals(near), residuals(box)
    return FieldQuality(eikonal_band, eikonal_box, rms_band, rms_box)


def signed_distance(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], x: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, " n"]:
    """True signed distance (n,) to a closed mesh, negative inside (winding number above one half)."""
    import igl

    square, _, _ = igl.point_mesh_squared_distance(x, vertices, faces)
    inside = np.asarray(igl.fast_winding_number(vertices, faces, x)) > 0.5
    return np.sqrt(square) * np.where(inside, -1.0, 1.0)


def volume_iou(
    mesh: trimesh.Trimesh | Mesh,
    reference: trimesh.Trimesh | Mesh,
    *,
    samples: int = 100_000,
    seed: int = 0,
) -> float:
    """Volume of the intersection over that of the union of two closed meshes, by random places in their box."""
    import igl

    both = [as_triangles(mesh), as_triangles(reference)]
    corners = np.concatenate([vertices for vertices, _ in both])
    places = np.random.default_rng(seed).uniform(corners.min(0), corners.max(0), (samples, 3))
    one, other = (np.asarray(igl.fast_winding_number(v, f, places)) > 0.5 for v, f in both)
    return float((one & other).sum() / max((one | other).sum(), 1))
