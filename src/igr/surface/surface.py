"""A fitted surface: a signed distance function in the input's own frame and units."""

from __future__ import annotations

import copy
import logging
import os
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ..cloud.frame import Frame, sides
from ..cloud.neighbors import Neighbors
from ..config import Config
from ..errors import InputError, readable, usual_arithmetic
from ..field.field import Field, NumpyField
from ..settings import whole
from ..store.atomic import write_bytes
from ..store.tensors import tensor_bytes
from .combine import CombinedField, difference, intersection, union
from .confidence import Support, check_trimmed, trimmed_curves, trimmed_mesh
from .file import copied, read_surface, surface_file
from .queries import as_places, like

if TYPE_CHECKING:
    import trimesh

    from .export import DistanceGrid
    from .rays import RayHits

logger = logging.getLogger(__name__)


class Surface:
    """The zero level set of a fitted field, negative inside, in the frame and units of the cloud.

    It is asked at places (n, d), an array, list or tensor of real numbers. Arrays and lists are answered by arrays
    in float64; tensors by tensors on their device, without derivatives, in float32 where they are in float32 or
    shorter, else in float64. Where a place is not finite, or too far away for float32, the answer is NaN.

    Surfaces can be copied and pickled, for other processes too; a copy shares nothing with the original.

    Args:
        field: the fitted field, in the unit frame.
        frame: the way from the input's frame to the unit frame.
        config: what it was fitted with.
        samples: points of the cloud it was fitted to (s, d), unit frame; they say where the surface is looked
            for, and where it is supported by data.
        details: what was found out on the way (units, normals, strays, timing), for reports.
        near: the neighbors of the samples, where somebody has asked for them already.
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
    ) -> None:
        self.field, self.frame, self.config = field, frame, config
        self.samples = np.asarray(samples, np.float32)
        self.near = near or Neighbors(self.samples.astype(float))
        self._unit = NumpyField(field, config.network, None if isinstance(field, CombinedField) else self.samples)
        self.details = {} if details is None else details
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        """Time of the fit; not saved with the surface, so that equal surfaces are equal files."""
        self.unsaved = ""
        """Why the run folder does not hold the end of the fit, if it does not."""
        self._support: Support | None = None

    @property
    def dimension(self) -> int:
        """2 for a curve in the plane, 3 for a surface in space."""
        return self.field.dimension

    @usual_arithmetic
    def distance(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Signed distance (n,) at `x` (n, d), negative inside, in the input's units; far away too."""
        return like(x, self._unit.distance(self._unit_places(x)) * self.frame.scale)

    @usual_arithmetic
    def gradient(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Spatial gradient (n, d) of the distance at `x` (n, d); its length is about 1, it points outward."""
        return like(x, self._unit.gradient(self._unit_places(x)))

    @usual_arithmetic
    def normals(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Unit outward normals (n, d) of the level set through each `x` (n, d)."""
        return like(x, self._unit.normals(self._unit_places(x)))

    @usual_arithmetic
    def project(self, x: Float[np.ndarray, "n d"], *, steps: int = 8) -> Float[np.ndarray, "n d"]:
        """The points `x` (n, d) moved onto the surface along the gradient, by `steps` Newton steps of at most
        twice the distance each; exact for points near the surface, not promised for far ones."""
        u = self._unit_places(x)
        for _ in range(whole(steps, "the number of steps", 0)):
            value, gradient = self._unit.distance_and_gradient(u)
            square = np.maximum((gradient * gradient).sum(1), 0.25)
            u = u - gradient * (value / square)[:, None]
        return like(x, self.frame.to_input(u))

    @usual_arithmetic
    def confidence(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """How well the samples support each `x` (n, d), in [0, 1].

        It is 0.9 at a typical sample, and the less the farther the samples are, the more the surface bends
        without them, and the worse it fits them (see `Support`). It ranks places of one surface and is no
        probability.
        """
        if self._support is None:
            samples = self.near.points
            self._support = Support(self.near, np.abs(self._unit.distance(samples)), self._unit.normals(samples))
        u = self._unit_places(x)
        return like(x, self._support.confidence(u, self._unit.normals(u)))

    @usual_arithmetic
    def mesh(
        self, *, resolution: int = 256, level: float = 0.0, keep_crumbs: bool = False, trim: float | None = None
    ) -> trimesh.Trimesh:
        """The surface as a watertight, outward-oriented triangle mesh in the input's frame and units.

        Args:
            resolution: cells along the longest side of the cloud's box.
            level: mesh the offset surface at this signed distance (input units, positive outside).
            keep_crumbs: keep also small pieces on which none of the samples lies (see `without_crumbs`); how many
                were left out is logged.
            trim: leave out the triangles farther than this from every sample (input units): the mesh is then open.

        Raises:
            FitError: there is no surface at this level.
            InputError: the surface is a planar curve, use `contour`; or all of it would be trimmed; or the
                resolution is no whole number, or one for which there is not enough memory.
        """
        if self.dimension != 3:
            raise InputError("this is a planar curve and has no mesh; use contour()")
        import trimesh

        from ..mesh.extract import extract_mesh
        from ..mesh.pieces import without_crumbs

        vertices, faces, _ = extract_mesh(
            self._unit.distance,
            self.box,
            resolution=resolution,
            level=level / self.frame.scale,
            gradient=self._unit.gradient,
        )
        if not keep_crumbs:
            vertices, faces, crumbs = without_crumbs(vertices, faces, self.samples)
            if crumbs:
                logger.info("left out %d small pieces on which no point lies", crumbs)
        if trim is not None:
            vertices, faces = trimmed_mesh(vertices, faces, self.near, trim / self.frame.scale)
            check_trimmed(len(faces), trim)
        return trimesh.Trimesh(self.frame.to_input(vertices), faces, process=False)

    @usual_arithmetic
    def contour(self, *, resolution: int = 512, level: float = 0.0, trim: float | None = None) -> list[np.ndarray]:
        """The curve of a planar surface as polylines (m, 2) in the input's frame and units, closed ones with
        their first point repeated, counter-clockwise around the inside. Options as for `mesh`.

        Raises:
            FitError: there is no curve at this level.
            InputError: the surface is not planar, use `mesh`; or all of it would be trimmed; or the resolution is
                no whole number, or one for which there is not enough memory.
        """
        if self.dimension != 2:
            raise InputError("this surface lies in space and has no contour; use mesh()")
        from ..mesh.extract import extract_contours
        from ..mesh.pieces import without_curve_crumbs

        curves = extract_contours(
            self._unit.distance,
            self.box,
            resolution=resolution,
            level=level / self.frame.scale,
            gradient=self._unit.gradient,
        )
        curves = without_curve_crumbs(curves, self.samples)
        if trim is not None:
            curves = trimmed_curves(curves, self.near, trim / self.frame.scale)
            check_trimmed(len(curves), trim)
        return [self.frame.to_input(curve) for curve in curves]

    @usual_arithmetic
    def to_grid(self, resolution: int = 128, *, margin: float = 0.1) -> DistanceGrid:
        """Signed distances on a regular grid over the cloud's box; `.save("field.vti")` writes it to a file.

        Args:
            resolution: cells along the longest side of the cloud's box, 1 to 2048.
            margin: what the grid reaches beyond that box on every side, as a share of its longest side.

        Raises:
            InputError: the resolution or the margin is out of range.
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
        """Where rays meet the surface, like trimesh's `mesh.ray.intersects_location`.

        Args, Raises: as for `rays.cast`.

        Returns:
            `(locations, index_ray, normals)`: a field has no triangles, so normals take the place of `index_tri`.
                They are tensors where the origins are.
        """
        from .rays import RayHits, cast

        places = [as_places(x, self.dimension) for x in (origins, directions)]
        locations, rays, normals = cast(self, *places, multiple_hits=multiple_hits)
        return RayHits(like(origins, locations), like(origins, rays), like(origins, normals))

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the distance function as an ONNX model, for programs without this package (extra `export`).

        Input `points` (n, d) and output `distance` (n,) are float64 in the input's frame and units: far-off places
        lose nothing; the network inside computes in float32.

        Raises:
            InputError: onnx is not installed, or the surface is a combination of others.
        """
        from .export import onnx_bytes

        write_bytes(path, onnx_bytes(self))

    def __or__(self, other: Surface) -> Surface:
        return union(self, other) if isinstance(other, Surface) else NotImplemented

    def __and__(self, other: Surface) -> Surface:
        return intersection(self, other) if isinstance(other, Surface) else NotImplemented

    def __sub__(self, other: Surface) -> Surface:
        return difference(self, other) if isinstance(other, Surface) else NotImplemented

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
        margin = 0.05 * (high - low).max()
        return np.stack([low - margin, high + margin])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file: weights, configuration, frame, samples (safetensors, no pickle)."""
        write_bytes(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The saved file: the same bytes for the same surface."""
        return tensor_bytes(*surface_file(self))

    def source(self) -> str:
        """What the surface was fitted to, as a checksum of the cloud and of what its normals were used for."""
        center, scale = self.frame.center.tolist(), self.frame.scale
        return f"{zlib.crc32(self.samples.tobytes()):08x} {center} {scale} {self.details.get('normals')}"

    @staticmethod
    def load(path: str | os.PathLike[str], *, device: str = "auto") -> Surface:
        """The surface saved in `path`, ready on `device` (see `field.make_field`).

        Raises:
            InputError: the file is missing, damaged, or no saved surface.
        """
        return Surface(**read_surface(path, device=device))

    def _unit_places(self, x: Any) -> np.ndarray:
        """What was asked, (n, d), in the unit frame."""
        with np.errstate(over="ignore"):
            return self.frame.to_unit(as_places(x, self.dimension))
