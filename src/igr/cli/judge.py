"""What the subcommands about a result do: evaluate, report, export."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from ..errors import InputError
from .output import Output, say, tell

if TYPE_CHECKING:
    import numpy as np

    from ..cloud.pointcloud import PointCloud
    from ..mesh.triangles import Mesh
    from ..surface.surface import Surface


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
    samples: int | None = None
    """Points sampled on each surface, instead of the protocol's number."""
    cloud: Path | None = None
    """The scan that it was made from: for the ghost area, and for the baseline."""
    baseline: Literal["poisson"] | None = None
    """Reconstruct the cloud also by screened Poisson, and print both (extra `baselines`)."""
    depth: int = 9
    """Depth of Poisson's octree."""
    colored: Path | None = None
    """Write the mesh colored by its distance to the reference (.ply), and a picture with the scale (.png)."""
    resolution: int = 256
    """Cells along the longest side, where a model has to be meshed."""
    json: bool = False
    """Print the result as one JSON object."""

    def __call__(self) -> int:
        """Run the subcommand."""
        self._check()
        shape, truth = _shape(self.mesh), _reference(self.reference)
        cloud = None if self.cloud is None else _cloud(self.cloud)
        mesh, model = self._meshed(shape)
        table = {"igr" if model else self.mesh.name: self._judged(mesh, model, truth, cloud)}
        if self.baseline is not None and cloud is not None:
            began = time.monotonic()
            mesh_of_baseline = _poisson(cloud, self.depth)
            took = round(time.monotonic() - began, 3)
            table[self.baseline] = self._judged(mesh_of_baseline, None, truth, cloud) | {"seconds": took}
        if self.colored is not None:
            from ..show.colors import write_error_map

            for path in write_error_map(self.colored, mesh, truth):
                say(f"wrote {path}")
        _print(table, as_json=self.json)
        return 0

    def _check(self) -> None:
        """Refuse what does not go together, before any work."""
        if self.baseline is not None and self.cloud is None:
            raise InputError("--baseline reconstructs the scan too: name it with --cloud SCAN")
        if self.samples is not None and self.samples < 1:
            raise InputError(f"--samples {self.samples} must be positive")
        if not 1 <= self.depth <= 14:
            raise InputError(f"--depth {self.depth} is out of range; use 1 to 14")
        if self.colored is not None:
            from ..store.atomic import check_folder

            check_folder(self.colored)
            if self.colored.suffix.lower() != ".ply":
                raise InputError(f"{self.colored}: colored meshes are written as .ply")

    def _meshed(self, shape: Surface | Mesh) -> tuple[Mesh, Surface | None]:
        import numpy as np

        from ..surface.surface import Surface

        if not isinstance(shape, Surface):
            return shape, None
        mesh = shape.mesh(resolution=self.resolution, attributes=False)
        return (np.asarray(mesh.vertices), np.asarray(mesh.faces)), shape

    def _judged(
        self, mesh: Mesh, model: Surface | None, truth: Mesh | np.ndarray, cloud: PointCloud | None
    ) -> dict[str, Any]:
        """One column of the table."""
        from ..judge.metrics import compare
        from ..judge.quality import field_quality, ghost_area, topology
        from ..surface.combine import as_closed

        found = compare(
            mesh, truth, protocol=self.protocol, threshold=self.threshold, samples=self.samples
        ).to_dict()
        found |= dataclasses.asdict(topology(mesh))
        points = cloud.points if cloud else model.frame.to_input(model.samples) if model else None
        if points is not None:
            found["ghost_area"] = ghost_area(mesh, points)
        if model is not None and isinstance(truth, tuple) and topology(truth).watertight:
            band = 0.02 * found["diagonal"]
            solid = as_closed(model)  # as the truth is
            found |= dataclasses.asdict(field_quality(solid.distance, solid.gradient, truth, band=band))
        return found


def _print(table: dict[str, dict[str, Any]], *, as_json: bool) -> None:
    """The columns side by side; as JSON the first one flat, further ones by name."""
    first, *others = table
    if as_json:
        print(json.dumps(table[first] | {name: table[name] for name in others}))
        return
    rows = dict.fromkeys(name for column in table.values() for name in column)
    tell(" " * 20 + "".join(f" {name[:16]:>16s}" for name in table))
    for row in rows:
        print(f"{row:20s}" + "".join(f" {_text(column.get(row, '')):>16s}" for column in table.values()))


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _shape(path: Path) -> Surface | Mesh:
    from ..surface.opening import load_shape

    return load_shape(path)


def _cloud(path: Path) -> PointCloud:
    from ..cloud.pointcloud import read_points

    return read_points(path)


def _reference(path: Path) -> Mesh | np.ndarray:
    """A mesh, or the points (n, 3) of a file without triangles."""
    from ..cloud.pointcloud import read_points
    from ..mesh.triangles import read_mesh

    points = read_points(path).points  # reads it once for its checks and their sentences
    try:
        mesh = read_mesh(path)
    except InputError:
        return points
    return mesh if len(mesh[1]) else points


def _poisson(cloud: PointCloud, depth: int) -> Mesh:
    """Screened Poisson of the cloud, with its own normals or, for bare points, the ones that we estimate."""
    from ..judge.baselines import screened_poisson
    from ..normals.estimate import orient_normals
    from ..normals.outwardness import inward_normals

    if cloud.dimension != 3:
        raise InputError("Poisson is for clouds in space; this one is planar")
    normals = cloud.normals
    if normals is None:
        normals, _ = orient_normals(cloud.points)
    elif inward_normals(cloud.points, normals):
        normals = -normals
    return screened_poisson(cloud.points, normals, depth=depth)


@dataclass(frozen=True)
class Report:
    """Write one page about a saved model or a mesh: pictures, the surface in 3D, cuts, curves, facts."""

    source: Positional[Path]
    """Model saved by --model, run folder, or mesh file."""
    output: Output
    """The page (.html)."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..show.report import write_mesh_report, write_report
        from ..store.atomic import check_folder
        from ..surface.opening import load_shape
        from ..surface.surface import Surface

        check_folder(self.output)
        shape = load_shape(self.source)
        if isinstance(shape, Surface):
            write_report(self.output, shape)
        else:
            write_mesh_report(self.output, shape, name=self.source.name)
        tell(f"wrote {self.output}")
        return 0


@dataclass(frozen=True)
class Export:
    """Write the field of a saved model for other programs: on a grid, or as a network."""

    model: Positional[Path]
    """A model saved by --model, or a run folder."""
    output: Output
    """.vti (VTK image data, for ParaView), .npz (numpy arrays), or .onnx (needs the extra `export`)."""
    resolution: int = 128
    """Cells of a grid along the longest side of the scan's box."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..store.atomic import check_folder
        from ..surface.opening import load_model

        check_folder(self.output)
        suffix = self.output.suffix.lower()
        if suffix not in (".vti", ".npz", ".onnx"):
            raise InputError(f"{self.output}: fields are written as .vti, .npz or .onnx, not {suffix or 'bare'}")
        surface = load_model(self.model)
        if suffix == ".onnx":
            surface.to_onnx(self.output)
        else:
            surface.to_grid(self.resolution).save(self.output)
        tell(f"wrote {self.output}")
        return 0
