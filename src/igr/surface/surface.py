"""A fitted surface: a signed distance function in the input's own frame and units."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ..cloud.frame import Frame, sides
from ..cloud.neighbors import Neighbors
from ..cloud.places import as_places, like
from ..config import Config
from ..errors import InputError, readable, usual_arithmetic
from ..field.features import resolution_of
from ..field.field import Field, NumpyField, projected
from ..field.residual import finest
from ..mesh import border
from ..mesh.pieces import without_crumbs
from ..mesh.triangles import Mesh
from ..settings import whole
from ..store.atomic import write_bytes
from ..store.tensors import tensor_bytes
from .attributes import Attributes, Measured, put_on
from .combine import CombinedField, Solid
from .confidence import Support
from .file import copied, read_surface, source_of, surface_file

if TYPE_CHECKING:
    import trimesh

    from .export import DistanceGrid
    from .rays import RayHits


class Surface(Solid):
    """The zero level set of a fitted field, negative inside, in the frame and units of the cloud.

    It is asked at places (n, d), an array, list or tensor of real numbers. Arrays and lists are answered by arrays
    in float64; tensors by tensors on their device, without derivatives, in float32 where they are in float32 or
    shorter, else in float64. Where a place is not finite, or too far away for float32, the answer is NaN.
    Surfaces can be copied and pickled, for other processes too; a copy shares nothing with the original.

    Args:
        field: the fitted field, in the unit frame.
        frame: the way from the input's frame to the unit frame.
        config: what it was fitted with.
        samples: points of the cloud (s, d), unit frame: where the surface is looked for, and what supports it.
        details: what was found out on the way (units, normals, strays), for reports.
        near: the neighbors of the samples, where they are known already.
        measured: what else was measured at points of the cloud, see `attributes`.
    """

    def __init__(
        self,
        field: Field,
        frame: Frame,
        config: Config,
        *,
        samples: np.ndarray,
        details: dict[str, Any] | None = None,
        near: Neighbors | None = None,
        measured: Measured | None = None,
    ) -> None:
        self.field, self.frame, self.config = field, frame, config
        self.samples = np.asarray(samples, np.float32)
        self.near = near or Neighbors(self.samples.astype(float))
        self._unit = NumpyField(field, config.network, None if isinstance(field, CombinedField) else self.near)
        self.details = {} if details is None else details
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        """Time of the fit; not saved with the surface, so that equal surfaces are equal files."""
        self.unsaved = ""
        """Why the run folder does not hold the end of the fit, if it does not."""
        self.measured = measured
        self._support: Support | None = None
        self._attributes: Attributes | None = None
        self._ended: border.Ended | None = None

    @property
    def dimension(self) -> int:
        """2 for a curve in the plane, 3 for a surface in space."""
        return self.field.dimension

    @usual_arithmetic
    def distance(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Signed distance (n,) at `x` (n, d), negative inside, in the input's units; far away too. An open surface
        (`is_open`) ends here as its mesh does: right beside it the sign tells the side, farther off it is that of
        `as_closed(surface)`, and jumps where that was cut off."""
        return like(x, (self.ended or self._unit).distance(self._unit_places(x)) * self.frame.scale)

    @usual_arithmetic
    def gradient(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Spatial gradient (n, d) of the distance at `x` (n, d); its length is about 1, it points outward."""
        return like(x, (self.ended or self._unit).gradient(self._unit_places(x)))

    @usual_arithmetic
    def normals(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Unit outward normals (n, d) of the level set through each `x` (n, d), as if it were closed."""
        return like(x, self._unit.normals(self._unit_places(x)))

    @usual_arithmetic
    def project(self, x: Float[np.ndarray, "n d"], *, steps: int = 8) -> Float[np.ndarray, "n d"]:
        """The points `x` (n, d) moved onto the surface along the gradient, by `steps` Newton steps of at most
        twice the distance each; exact for points near the surface, not promised for far ones."""
        moved = projected((self.ended or self._unit), self._unit_places(x), whole(steps, "the number of steps", 0))
        return like(x, self.frame.to_input(moved))

    @usual_arithmetic
    def confidence(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """How well the samples support each `x` (n, d), in [0, 1]: 0.9 at a typical sample, less the farther they
        are, the more the surface bends without them, and the worse it fits them (see `Support`)."""
        self._support = self._support or Support.of(self.near, self._unit)
        u = self._unit_places(x)
        return like(x, self._support.confidence(u, self._unit.normals(u)))

    @usual_arithmetic
    def attributes(self, x: Float[np.ndarray, "n d"]) -> dict[str, Any]:
        """The cloud's attributes at each `x` (n, d) on or near the surface, by name, (n,) or (n, k); no name where
        it has none. The nearest samples on the same side tell them: means of colors (in linear light) and of
        measurements, votes of classes (whole numbers). From 4 to 8 spacings away colors fade to gray, 128; others
        stay those of the nearest. Where `x` is not finite: gray, NaN, 0. At most a million points are kept."""
        if self.measured is None:
            return {}
        self._attributes = self._attributes or Attributes(self.measured, self.near, self._unit)
        u = self._unit_places(x)
        return {name: like(x, known) for name, known in self._attributes.at(u, self._unit.normals(u)).items()}

    @property
    def is_open(self) -> bool:
        """Whether the surface ends where its samples do, as was found when it was fitted."""
        return bool(self.details.get("open"))

    @property
    def resolution(self) -> int:
        """Cells along the longest side of the cloud's box that show the field's detail: 256 to 768."""
        return resolution_of(self.config.network, float(np.ptp(self.box, axis=0).max()), finest(self.field))

    @property
    def ended(self) -> border.Ended | None:
        """The field of what is left of an open surface, in the unit frame; None where it is closed."""
        if self.is_open and self._ended is None:  # by the samples as they are saved, so that copies measure alike
            self._ended = border.ended(self._unit, self.box, Neighbors(self.samples.astype(float)))
        return self._ended if self.is_open else None

    def invented(self, *, resolution: int = 64) -> float:
        """Share of the area (in the plane, length) of the closed surface that no sample supports."""
        return border.invented(*self._shape(), resolution=resolution)

    @usual_arithmetic
    def mesh(
        self,
        *,
        resolution: int | None = None,
        level: float = 0.0,
        keep_crumbs: bool = False,
        surface: border.Ends = "auto",
        holes: float | None = None,
        trim: float | None = None,
        attributes: bool = True,
    ) -> trimesh.Trimesh:
        """The surface as an outward-oriented triangle mesh in the input's frame and units, watertight where it is
        closed, else a manifold with borders.

        Args:
            resolution: cells along the longest side of the cloud's box; None for `resolution`.
            level: mesh the offset surface at this signed distance (input units).
            keep_crumbs: keep small pieces on which no sample lies (see `without_crumbs`); their number is logged.
            surface: "closed"; "open": it ends just beyond the outermost samples, and holes up to 6 spacings wide
                are closed; "auto": open if it was found so (`is_open`) and no offset is asked.
            holes: width (input units) up to which holes of an open surface are closed instead.
            trim: leave out what is farther than this from every sample (input units) instead, holes as well.
            attributes: vertices get the cloud's colors (`visual.vertex_colors`) and others (`vertex_attributes`).

        Raises:
            FitError: there is no surface at this level.
            InputError: this is a planar curve; all of it would be cut off; memory or options are out of range.
        """
        import trimesh

        asked = {"surface": surface, "holes": holes, "trim": trim}
        mesh = trimesh.Trimesh(*self.triangles(resolution, level, keep_crumbs, **asked), process=False)
        if attributes and self.measured is not None:
            put_on(mesh, self.attributes(self.project(mesh.vertices) if level else mesh.vertices))
        return mesh

    @usual_arithmetic
    def triangles(
        self, resolution: int | None = None, level: float = 0.0, crumbs: bool = False, **asked: Any
    ) -> Mesh:
        """That mesh as two arrays, vertices (v, 3) and corners (f, 3); all other options, and errors, as there."""
        if self.dimension != 3:
            raise InputError("this is a planar curve and has no mesh; use contour()")
        resolution = self.resolution if resolution is None else resolution
        ends, lengths = self.ends(level=level, **asked), (level, asked.get("holes"), asked.get("trim"))
        vertices, faces = border.triangles(*self._shape(*lengths), resolution=resolution, ends=ends)
        if not crumbs:
            vertices, faces, _ = without_crumbs(vertices, faces, self.samples)
        return self.frame.to_input(vertices), faces

    @usual_arithmetic
    def contour(
        self,
        *,
        resolution: int = 512,
        level: float = 0.0,
        surface: border.Ends = "auto",
        holes: float | None = None,
        trim: float | None = None,
    ) -> list[np.ndarray]:
        """The curve of a planar surface as polylines (m, 2) in the input's frame and units, closed ones with
        their first point repeated, counter-clockwise around the inside. Options and errors as for `mesh`."""
        if self.dimension != 2:
            raise InputError("this surface lies in space and has no contour; use mesh()")
        ends = self.ends(level, surface, holes, trim)
        curves = border.polylines(*self._shape(level, holes, trim), resolution=resolution, ends=ends)
        return [self.frame.to_input(curve) for curve in curves]

    def ends(self, level: float = 0.0, surface: border.Ends = "auto", holes: Any = None, trim: Any = None) -> bool:
        """Whether a mesh or curve of such options ends where the samples do; errors as for `border.ends`."""
        return border.ends(surface, holes, trim, found=level == 0 and self.is_open)

    def _shape(self, *lengths: float | None) -> tuple[Any, ...]:
        """What `border` asks for: field, box and samples, and lengths brought into the unit frame."""
        return self._unit, self.box, self.near, *(length and length / self.frame.scale for length in lengths)

    @usual_arithmetic
    def to_grid(self, resolution: int = 128, *, margin: float = 0.1) -> DistanceGrid:
        """Signed distances on a regular grid over the cloud's box; `.save("field.vti")` writes it to a file.

        Args:
            resolution: cells along the longest side of the cloud's box, 1 to 2048.
            margin: what the grid reaches beyond that box on every side, as a share of its longest side.
        """
        from .export import sampled_grid

        return sampled_grid(self.distance, self.frame.to_input(self.box), resolution, margin)

    @usual_arithmetic
    def cast_rays(
        self,
        origins: Float[np.ndarray, "n d"],
        directions: Float[np.ndarray, "n d"],
        *,
        multiple_hits: bool = True,
    ) -> RayHits:
        """Where rays meet the surface, as far as it goes: `(locations, index_ray, normals)`, like trimesh's
        `mesh.ray.intersects_location` but with normals in place of `index_tri`, since a field has no triangles;
        tensors where the origins are. Args, Raises: as for `rays.cast`."""
        from .rays import cast

        return cast(self, origins, directions, multiple_hits=multiple_hits)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the distance function as an ONNX model, for programs without this package (extra `export`): input
        `points` (n, d) and output `distance` (n,) are float64 in the input's frame and units: far-off places lose
        nothing; inside it computes in float32. No combination; an open surface `as_closed`, as the model says."""
        from .export import onnx_bytes

        write_bytes(path, onnx_bytes(self))

    def __copy__(self) -> Surface:
        return copy.deepcopy(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return copied(self)

    def __repr__(self) -> str:
        name, size = readable(str(self.details.get("name", ""))), sides(self.frame.to_input(self.samples))
        return f"<igr.Surface{name and f' of {name}'}: {len(self.samples):,} samples, box {size}>"

    @property
    def box(self) -> Float[np.ndarray, "2 d"]:
        """Lower and upper corner of the samples in the unit frame, with a margin of 5 % of its longest side."""
        low, high = self.samples.min(0).astype(float), self.samples.max(0).astype(float)
        return np.stack([low, high]) + 0.05 * (high - low).max() * np.array([[-1], [1]])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file: weights, configuration, frame, samples (safetensors, no pickle)."""
        write_bytes(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The saved file: the same bytes for the same surface."""
        return tensor_bytes(*surface_file(self))

    def source(self) -> str:
        """What the surface was fitted to, as a checksum of the cloud and of what its normals were used for."""
        return source_of(self)

    @staticmethod
    def load(path: str | os.PathLike[str], *, device: str = "auto") -> Surface:
        """The surface saved in `path`, ready on `device` (see `field.make_field`); errors as of `read_surface`."""
        return Surface(**read_surface(path, device=device))

    def _unit_places(self, x: Any) -> np.ndarray:
        """What was asked, (n, d), in the unit frame."""
        with np.errstate(over="ignore"):
            return self.frame.to_unit(as_places(x, self.dimension))
