"""A surface while it is fitted: shown now and then, in at most a twentieth of the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..cloud.frame import Frame
from ..config import Config
from ..errors import FitError, InputError
from ..field.field import Field
from ..mesh.triangles import Mesh
from ..surface.surface import Surface
from .page import place_mesh

if TYPE_CHECKING:
    import viser

    from ..fit.loop import Progress

SHARE = 0.05
"""Share of the time of a fit that showing it may take."""
OFTEN = 0.3
"""Seconds between two looks at least."""


class Glimpses:
    """Meshes of a field while it is fitted, as many as a twentieth of the time allows.

    Args:
        config: of the run.
        show: told vertices, in the unit frame of the fit, and faces.
    """

    def __init__(self, config: Config, show: Callable[[Mesh, Progress], None]) -> None:
        self.config, self.show = config, show
        self.shown_at, self.cost, self.spent = time.monotonic(), 0.0, 0.0

    def __call__(self, progress: Progress, field: Field) -> None:
        """Show the surface of the field as it is, if the time for it has been earned."""
        began = time.monotonic()
        if progress.step > 1 and began - self.shown_at < max(OFTEN, self.cost / SHARE):
            return
        corners = np.array([[-0.9] * 3, [0.9] * 3])
        surface = Surface(field, Frame(np.zeros(3), 1.0), self.config, samples=corners)
        try:
            mesh = surface.triangles(64, crumbs=True)
        except (FitError, InputError):  # no surface yet, or no memory for its mesh now: the fit goes on
            return
        finally:
            self.shown_at = time.monotonic()
            self.cost = self.shown_at - began
            self.spent += self.cost
        self.show(mesh, progress)


class Watch(Glimpses):
    """Shows a surface on a page while it is fitted.

    Args:
        server: from `page.open_server`.
        config: of the run.
    """

    def __init__(self, server: viser.ViserServer, config: Config) -> None:
        super().__init__(config, self._place)
        self.server = server
        self.facts = server.gui.add_markdown("fitting …")

    def __call__(self, progress: Progress, field: Field) -> None:
        """Show the surface of the field as it is, if the time for it has been earned.

        Raises:
            InputError: the cloud is planar.
        """
        if field.dimension != 3:
            raise InputError("--watch shows surfaces in space; this cloud is planar")
        super().__call__(progress, field)

    def _place(self, mesh: Mesh, progress: Progress) -> None:
        place_mesh(self.server, *mesh, None, visible=True)
        self.facts.content = f"fitting: {progress.share:.0%}, step {progress.step:,}"
