"""A surface in the browser while it is fitted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from .browser import place_mesh
from .config import Config
from .errors import FitError, InputError
from .field import Field
from .frame import Frame
from .surface import Surface

if TYPE_CHECKING:
    import viser

    from .fit import Progress

WATCH_SHARE = 0.05
"""Share of the time of a fit that showing it may take."""


class Watch:
    """Shows a surface while it is fitted, in at most a twentieth of the time.

    Args:
        server: from `browser.open_server`.
        config: of the run.
    """

    def __init__(self, server: viser.ViserServer, config: Config) -> None:
        self.server, self.config = server, config
        self.facts = server.gui.add_markdown("fitting …")
        self.shown_at, self.cost, self.spent = time.monotonic(), 0.0, 0.0

    def __call__(self, progress: Progress, field: Field) -> None:
        """Show the surface of the field as it is, if the time for it has been earned.

        Raises:
            InputError: the cloud is planar.
        """
        if field.dimension != 3:
            raise InputError("--watch shows surfaces in space; this cloud is planar")
        began = time.monotonic()
        if progress.step > 1 and began - self.shown_at < max(0.3, self.cost / WATCH_SHARE):
            return
        corners = np.array([[-0.9] * 3, [0.9] * 3])
        surface = Surface(field, Frame(np.zeros(3), 1.0), self.config, samples=corners)
        try:
            mesh = surface.mesh(resolution=64, keep_crumbs=True)
        except (FitError, InputError):  # no surface yet, or no memory for its mesh now: the fit goes on
            return
        finally:
            self.shown_at = time.monotonic()
            self.cost = self.shown_at - began
            self.spent += self.cost
        place_mesh(self.server, np.asarray(mesh.vertices), np.asarray(mesh.faces), None, visible=True)
        self.facts.content = f"fitting: {progress.share:.0%}, step {progress.step:,}"
