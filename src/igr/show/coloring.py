"""What the colors of a shown mesh say: those of the scan, how sure it is, how far its points are off."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from ..mesh.triangles import Mesh
from ..surface.surface import Surface
from .colors import colorize
from .render import confidence_colors

SCAN, PLAIN, NORMALS, CONFIDENCE, ERROR = "scan", "plain", "normals", "confidence", "error at the points"


class Coloring:
    """Colors of a mesh's vertices, kept until another mesh is shown.

    Args:
        surface: that the mesh is of, None for a mesh from elsewhere.
    """

    def __init__(self, surface: Surface | None) -> None:
        self.surface = surface
        self.legend = ""
        """What the colors mean."""
        self._known: dict[str, UInt8[np.ndarray, "v 3"]] = {}
        self._errors: np.ndarray | None = None

    def choices(self) -> tuple[str, ...]:
        """The colors there are, those to begin with first."""
        if self.surface is None:
            return PLAIN, NORMALS
        told = self.surface.measured
        scan = (SCAN,) if told is not None and "colors" in told.values else ()
        return (*scan, PLAIN, CONFIDENCE, ERROR, NORMALS)

    def forget(self) -> None:
        """Another mesh is shown from now on."""
        self._known = {}

    def colors(self, kind: str, mesh: Mesh) -> UInt8[np.ndarray, "v 3"] | None:
        """Colors (v, 3) of the vertices of the mesh, None for plain; what they mean is then in the legend."""
        self.legend = ""
        if kind == PLAIN or len(mesh[0]) == 0:
            return None
        if kind == CONFIDENCE:
            self.legend = "; blue: measured, red: filled in"
        elif kind == ERROR:
            self.legend = f"; dark: on the points, yellow: {self._high():.3g} or more off the nearest"
        if kind not in self._known:
            self._known[kind] = self._made(kind, mesh)
        return self._known[kind]

    def _made(self, kind: str, mesh: Mesh) -> UInt8[np.ndarray, "v 3"]:
        if kind == NORMALS:
            import trimesh

            return (127.5 * (trimesh.Trimesh(*mesh, process=False).vertex_normals + 1)).astype(np.uint8)
        assert self.surface is not None  # only a field is offered the other colors
        if kind == SCAN:  # of an offset surface those of the places below
            return self.surface.attributes(self.surface.project(mesh[0]))["colors"]
        if kind == CONFIDENCE:
            return confidence_colors(self.surface, mesh[0])
        nearest = self.surface.near.at(self.surface.frame.to_unit(mesh[0]))[1]
        return colorize(self._off()[nearest], 0.0, self._high())

    def _off(self) -> np.ndarray:
        """How far each sample is from the surface, in the input's units."""
        assert self.surface is not None
        if self._errors is None:
            places = self.surface.frame.to_input(self.surface.near.points)
            self._errors = np.abs(self.surface.distance(places))
        return self._errors

    def _high(self) -> float:
        """Where the scale of the errors ends: few stray points must not hide all others."""
        return max(float(np.quantile(self._off(), 0.98)), 1e-300)
