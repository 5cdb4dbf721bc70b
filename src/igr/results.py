"""The mesh or curve that a command writes, and what there is to say of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import trimesh

    from .surface import Surface


def check_request(
    output: Path | None, resolution: int | None, trim: float | None, *, dimension: int | None = None
) -> None:
    """Refuse what cannot be written, before any work; once the cloud's dimension is known, also by that."""
    from .exports import check_output

    if resolution is not None and not 8 <= resolution <= 4096:
        raise InputError(f"--resolution {resolution} is out of range; use 8 to 4096")
    if trim is not None and not trim > 0:
        raise InputError(f"--trim {trim:g} must be a positive distance, in the scan's units")
    if output is not None:
        check_output(output, dimension)


def _supported_share(mesh: trimesh.Trimesh, confidence: np.ndarray) -> float:
    """Share of the area whose confidence is at least one half."""
    return float(mesh.area_faces[confidence[mesh.faces].mean(1) >= 0.5].sum() / mesh.area)


def write_result(
    surface: Surface,
    output: Path | None,
    source: Path,
    resolution: int | None,
    level: float,
    trim: float | None,
) -> dict[str, Any]:
    """Mesh or contour the surface and write it, by default beside `source`; returns what there is to say."""
    import numpy as np

    from .exports import check_output, write_curves, write_mesh

    planar = surface.dimension == 2
    target = output or source.with_name(source.stem + ("_curve.svg" if planar else "_mesh.ply"))
    check_output(target, surface.dimension)
    if planar:
        curves = surface.contour(resolution=resolution or 512, level=level, trim=trim)
        write_curves(target, curves)
        closed = all((curve[0] == curve[-1]).all() for curve in curves)
        return {"output": str(target), "curves": len(curves), "closed": bool(closed)}
    mesh = surface.mesh(resolution=resolution or 256, level=level, trim=trim)
    confidence = surface.confidence(np.asarray(mesh.vertices))
    write_mesh(target, mesh.vertices, mesh.faces, attributes={"confidence": confidence})
    return {
        "output": str(target),
        "resolution": resolution or 256,
        "vertices": len(mesh.vertices),
        "triangles": len(mesh.faces),
        "watertight": bool(mesh.is_watertight),
        "components": int(mesh.body_count),
        "supported": round(_supported_share(mesh, confidence), 4),
    }
