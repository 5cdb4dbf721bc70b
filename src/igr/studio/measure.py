"""A tape between two places of the surface: each is clicked, and their distance told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ..cloud.frame import Frame
from ..mesh.triangles import Mesh

if TYPE_CHECKING:
    import viser

COLOR = (232, 119, 34)
"""Of the tape."""
DOT = 0.008
"""Radius of its ends, unit frame."""


def first_hit(
    mesh: Mesh, origin: Float[np.ndarray, 3], direction: Float[np.ndarray, 3]
) -> Float[np.ndarray, 3] | None:
    """Where a ray first meets the triangles of a mesh, None where it passes by."""
    if len(mesh[1]) == 0:
        return None
    import igl

    start, way = (np.ascontiguousarray(part, np.float64) for part in (origin, direction))
    vertices, faces = (
        np.ascontiguousarray(part, kind) for part, kind in zip(mesh, (float, np.int64), strict=True)
    )
    hits = igl.ray_mesh_intersect(start, way, vertices, faces)
    return start + min(hit[1] for hit in hits) * way if hits else None


class Tape:
    """Two clicks, a line between them, and its length.

    Args:
        server: of the page.
        frame: of the scene, which is in the unit frame.
        mesh: what can be clicked now, in the scene.
        tell: told the length in words.
    """

    def __init__(
        self, server: viser.ViserServer, frame: Frame, mesh: Callable[[], Mesh], tell: Callable[[str], None]
    ) -> None:
        self.server, self.frame, self.mesh, self.tell = server, frame, mesh, tell
        self.ends: list[np.ndarray] = []
        """The places that were clicked, in the scene, at most two."""
        self.listening = False

    def turn(self, on: bool) -> None:
        """Begin to listen to clicks, or roll the tape up."""
        if on != self.listening:
            self.listening = on
            if on:
                self.server.scene.on_click()(self._clicked)
            else:
                self.server.scene.remove_click_callback(self._clicked)
        self.ends = []
        self._draw()
        self.tell("click two places of the surface" if on else "")

    def add(self, origin: Any, direction: Any) -> None:
        """A click along a ray of the scene; a third begins anew, and one beside the surface is none."""
        place = first_hit(self.mesh(), np.asarray(origin), np.asarray(direction))
        if place is None:
            return
        self.ends = [place] if len(self.ends) == 2 else [*self.ends, place]
        self._draw()
        if len(self.ends) == 1:
            self.tell("click a second place")
            return
        way = np.abs(self.ends[1] - self.ends[0]) * self.frame.scale
        along = ", ".join(f"{axis} {side:.4g}" for axis, side in zip("xyz", way, strict=True))
        self.tell(f"**{np.linalg.norm(way):.5g}** between the two places ({along})")

    def _clicked(self, event: Any) -> None:
        self.add(event.ray_origin, event.ray_direction)

    def _draw(self) -> None:
        scene = self.server.scene
        with self.server.atomic():
            scene.add_frame("/tape", show_axes=False)  # in place of the one before, with all that hung on it
            for index, place in enumerate(self.ends):
                scene.add_icosphere(f"/tape/{index}", radius=DOT, color=COLOR, position=tuple(place))
            if len(self.ends) == 2:
                line = np.stack(self.ends)[None]
                scene.add_line_segments("/tape/line", line, COLOR, thickness=3.0, thickness_units="screen")
