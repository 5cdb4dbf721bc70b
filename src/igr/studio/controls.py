"""The controls beside a surface, and what they ask of its mesh."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import Float

from ..cloud.frame import Frame
from ..mesh.border import Ends
from ..mesh.triangles import FEWEST, Mesh, decimated
from ..show.coloring import Coloring
from ..surface.surface import Surface

if TYPE_CHECKING:
    import viser

FINEST = 768
"""Cells along the longest side that the slider goes to."""
REACH = 40.0
"""Spacings of the points up to which holes can be closed and the surface trimmed."""


@dataclass(frozen=True)
class Asked:
    """A mesh as the controls ask for it; lengths in the input's units."""

    level: float = 0.0
    ends: Ends = "auto"
    holes: float | None = None
    trim: float | None = None
    resolution: int = 256
    triangles: int | None = None
    """About how many the mesh is decimated to, as by `--triangles`; None: all stay."""

    def at(self, resolution: int) -> Asked:
        """The same at another resolution."""
        return replace(self, resolution=resolution)

    def whole(self) -> Asked:
        """The same with all triangles."""
        return replace(self, triangles=None)

    def same_shape(self, other: Asked | None) -> bool:
        """Whether at most the resolution and the number of triangles differ."""
        return other is not None and self.whole() == other.whole().at(self.resolution)

    def mesh(self, surface: Surface) -> Mesh:
        """Vertices and faces before they are decimated; errors as for `Surface.mesh`."""
        asked: dict[str, Any] = {"surface": self.ends, "holes": self.holes, "trim": self.trim}
        return surface.triangles(self.resolution, self.level, **asked)

    def lessened(self, mesh: Mesh) -> Mesh:
        """A mesh with as many triangles as are asked for."""
        return mesh if self.triangles is None else decimated(*mesh, self.triangles)


class Controls:
    """Sliders and boxes beside a surface.

    Args:
        gui: of the page; they are added where it stands.
        surface: None for a mesh from elsewhere, which cannot be made anew.
        changed: called when one has moved.
    """

    def __init__(self, gui: viser.GuiApi, surface: Surface | None, changed: Callable[[], None]) -> None:
        self.surface, field = surface, surface is not None
        size = 1.0 if surface is None else surface.frame.scale
        self.show_mesh = gui.add_checkbox("surface", True)
        self.show_points = gui.add_checkbox("points", False, visible=field)
        self.colors = gui.add_dropdown("colors", Coloring(surface).choices())
        lengths = "in the scan's units"
        self.ends = gui.add_dropdown(
            "ends", ("as found", "closed", "open"), visible=field, hint="open: it ends where the points end"
        )
        reach = _round(REACH * _spacing(surface))
        hint = f"width up to which holes are closed, {lengths}; 0: six spacings of the points"
        self.holes = gui.add_slider("close holes", 0.0, reach, reach / 200, 0.0, hint=hint)
        hint = f"leave out what is farther than this from every point, {lengths}; 0: nothing"
        self.trim = gui.add_slider("trim", 0.0, reach, reach / 200, 0.0, hint=hint)
        reach = _round(0.3 * size)
        hint = f"the surface at this distance, outside or inside, {lengths}"
        self.level = gui.add_slider("level", -reach, reach, reach / 100, 0.0, visible=field, hint=hint)
        finest = 256 if surface is None else surface.resolution
        hint = "cells along the longest side; the default is what igr reconstruct writes"
        self.resolution = gui.add_slider(
            "resolution", 16, max(FINEST, finest), 16, finest, visible=field, hint=hint
        )
        hint = f"decimate the mesh to about so many, {FEWEST} or more; 0: all stay"
        self.triangles = gui.add_number("triangles", 0, min=0, step=1000, hint=hint)
        hint = "take the part before a plane away; lines of equal distance are drawn on it"
        self.cut = gui.add_dropdown("cut across", ("none", "x", "y", "z"), hint=hint)
        self.place = gui.add_slider("cut at", -0.5, 0.5, 0.005, 0.0, hint="as a share of the box's side")
        self.measure = gui.add_checkbox("measure", False, hint="click two places of the surface")
        for control in (self.show_mesh, self.show_points, self.colors, self.ends, self.holes, self.trim):
            control.on_update(lambda event: self._moved(changed))
        for control in (self.level, self.resolution, self.triangles, self.cut, self.place):
            control.on_update(lambda event: self._moved(changed))
        self._moved(lambda: None)

    def asked(self) -> Asked:
        """The mesh that the controls ask for."""
        triangles = int(self.triangles.value)
        fewer = triangles if triangles >= FEWEST else None
        if self.surface is None:
            return Asked(triangles=fewer)
        found = {"as found": "auto"}.get(self.ends.value, self.ends.value)
        trim, holes = float(self.trim.value) or None, float(self.holes.value) or None
        if not self.trim.visible:
            trim = holes = None
        return Asked(
            level=float(self.level.value),
            ends=cast(Ends, found),
            holes=None if trim else holes,
            trim=trim,
            resolution=int(self.resolution.value),
            triangles=fewer,
        )

    def plane(self, frame: Frame, vertices: Float[np.ndarray, "v 3"]) -> tuple[int, float] | None:
        """The axis that the cut stands on, and where in the scene of such a frame, for a mesh of such vertices;
        None: there is no cut."""
        across = self.cut.value  # read once: it may move meanwhile
        if across == "none" or not len(vertices):
            return None
        axis = "xyz".index(across)
        low, high = map(float, frame.to_unit(np.stack([vertices.min(0), vertices.max(0)]))[:, axis])
        return axis, (low + high) / 2 + float(self.place.value) * (high - low)

    def _moved(self, changed: Callable[[], None]) -> None:
        """Show the controls that have a meaning now."""
        is_open = self.surface is not None and (self.ends.value == "open" or self.surface.is_open)
        self.trim.visible = is_open and self.ends.value != "closed"
        self.holes.visible = self.trim.visible
        self.holes.disabled = bool(self.trim.value)
        self.place.visible = self.cut.value != "none"
        changed()


def _spacing(surface: Surface | None) -> float:
    """Of the points of a surface, in the input's units."""
    if surface is None:
        return 1.0
    told = surface.details.get("spacing")
    return float(told) if told else float(np.median(surface.near.spacing(6))) * surface.frame.scale


def _round(length: float) -> float:
    """The next smaller of 1, 2, 5, 10, …

    >>> _round(73.0)
    50.0
    """
    power = 10.0 ** math.floor(math.log10(max(length, 1e-300)))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= length * (1 + 1e-9))
