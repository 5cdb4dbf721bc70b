"""A shape space in the browser: pick training shapes, go from one to another, and along the principal latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ..cloud.frame import sides
from ..errors import InputError
from ..mesh.pieces import largest_piece
from .page import LiveMesh, place_mesh

if TYPE_CHECKING:
    import viser

    from ..space.space import ShapeSpace

SLIDERS = 8
"""At most so many principal latents have a slider."""
COARSE = 64
"""Resolution while something moves."""
MEAN = "(mean)"
"""What the list of shapes calls the mean of the training latents."""


class SpaceViewer(LiveMesh):
    """Shows one shape of a space and follows the controls of the page: coarse while they move, then finer.

    Args:
        server: from `page.open_server`.
        space: a shape space of surfaces.

    Raises:
        InputError: a space of planar curves.
    """

    def __init__(self, server: viser.ViserServer, space: ShapeSpace) -> None:
        if space.dimension != 3:
            raise InputError("the viewer shows surfaces in space; this is a shape space of planar curves")
        fine = lambda: self._update(int(self.resolution.value))  # noqa: E731
        super().__init__(server, "Shape", lambda: self._update(COARSE), fine)
        self.space = space
        self.mean, self.directions = space.principal()
        self.resolution_shown = 0
        """Resolution of the mesh that is shown."""
        with self.folder:
            self._controls()
        self.attempt(self.show)
        if len(self.mesh[0]):  # the whole shape is in the picture
            reach = float(np.abs(self.mesh[0]).max() / space.scale)
            server.initial_camera.position = tuple(reach * np.array([0.95, -1.45, 0.5]))
        self.changed.set()
        self.worker.start()

    def latent(self) -> Float[np.ndarray, " z"]:
        """The latent that the controls stand for: between the two shapes, plus the sliders' deviations."""
        ends = [self.mean if one.value == MEAN else self.space.latent(one.value) for one in self.ends]
        between = (1 - self.share.value) * ends[0] + self.share.value * ends[1]
        deviations = np.array([slider.value for slider in self.sliders])
        return between + deviations @ self.directions[: len(self.sliders)]

    def _controls(self) -> None:
        gui, names = self.server.gui, (MEAN, *self.space.names)
        self.ends = [gui.add_dropdown(label, names, initial_value=MEAN) for label in ("shape", "toward shape")]
        self.share = gui.add_slider("share", 0.0, 1.0, 0.01, 0.0, hint="0: the first shape, 1: the second")
        self.sliders = [
            gui.add_slider(f"direction {index + 1}", -3.0, 3.0, 0.05, 0.0, hint="in standard deviations")
            for index in range(min(SLIDERS, len(self.directions)))
        ]
        self.resolution = gui.add_slider("resolution", 32, 256, 16, 128, hint="cells along the longest side")
        for control in (*self.ends, self.share, *self.sliders, self.resolution):
            control.on_update(lambda event: self.changed.set())
        gui.add_button("directions to zero").on_click(self._reset)
        gui.add_button("download mesh (ply)").on_click(self._send)

    def _update(self, resolution: int) -> None:
        surface = self.space.decode(self.latent())
        mesh, share = largest_piece(surface.mesh(resolution=resolution))
        self.mesh, self.resolution_shown = (np.asarray(mesh.vertices), np.asarray(mesh.faces)), resolution
        place_mesh(self.server, surface.frame.to_unit(self.mesh[0]), self.mesh[1], None, visible=True)
        size = sides(self.mesh[0])
        rest = f"; other pieces left out: {1 - share:.2%} of the area" if share < 1 else ""
        self.facts.content = f"{len(self.mesh[1]):,} triangles, box {size}, volume {mesh.volume:.4g}{rest}"

    def _reset(self, event: Any) -> None:
        for slider in self.sliders:
            slider.value = 0.0

    def _send(self, event: Any) -> None:
        from ..mesh.write import ply_bytes

        event.client.send_file_download("shape.ply", ply_bytes(*self.mesh))
