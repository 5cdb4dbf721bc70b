"""What the subcommand that judges a result does: evaluate."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from .errors import InputError

if TYPE_CHECKING:
    import trimesh

    from .surface import Surface


@dataclass(frozen=True)
class Evaluate:
    """Compare a mesh, or a saved model, with a reference surface by a named protocol."""

    mesh: Positional[Path]
    """Mesh file, model, or run folder."""
    reference: Positional[Path]
    """True surface: a mesh file (a cloud where the protocol takes points)."""
    protocol: str = "surface"
    """surface, srb, deepsdf, shapenet, or l1; exactly stated in `igr.metrics`."""
    threshold: float | None = None
    """Of the F-score, in the reference's units (default: 1 % of its diagonal)."""
    resolution: int = 256
    """Cells along the longest side, where a model has to be meshed."""
    json: bool = False
    """Print the result as one JSON object."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from .metrics import compare
        from .quality import field_quality, topology

        mesh, model = _mesh_of(self.mesh, self.resolution)
        truth = _reference(self.reference)
        found = compare(mesh, truth, protocol=self.protocol, threshold=self.threshold).to_dict()
        found |= dataclasses.asdict(topology(mesh))
        if model is not None and not hasattr(truth, "shape") and truth.is_watertight:
            band = 0.02 * found["diagonal"]
            found |= dataclasses.asdict(field_quality(model.distance, model.gradient, truth, band=band))
        if self.json:
            print(json.dumps(found))
            return 0
        for name, value in found.items():
            print(f"{name:20s} {value:.6g}" if isinstance(value, float) else f"{name:20s} {value}")
        return 0


def _mesh_of(path: Path, resolution: int) -> tuple[trimesh.Trimesh, Surface | None]:
    """The mesh of a file, or of a model with that model."""
    from .storage import load_model

    if path.is_dir() or path.suffix in (".igr", ".safetensors"):
        model = load_model(path)
        return model.mesh(resolution=resolution), model
    mesh = _reference(path)
    if hasattr(mesh, "shape"):
        raise InputError(f"{path} holds points, but a mesh is needed")
    return mesh, None


def _reference(path: Path) -> Any:
    """A mesh, or the points (n, 3) of a file without triangles."""
    import trimesh

    from .points import read_points

    points = read_points(path).points  # reads it once for its checks and their sentences
    try:
        mesh = trimesh.load(path, process=False, force="mesh")
    except (ValueError, NotImplementedError):
        return points
    return mesh if len(getattr(mesh, "faces", ())) else points
