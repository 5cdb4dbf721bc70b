"""A page that follows its controls: the loop that both viewers share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .browser import plain, stop
from .errors import FitError, InputError
from .memory import give_back
from .triangles import Mesh

if TYPE_CHECKING:
    import viser

PAUSE = 0.4
"""Seconds without a move after which what is shown is shown better."""


class LiveMesh:
    """A mesh on a page, made anew by a thread of its own when a control has moved. What cannot be made is told on
    the page, and the next move is followed as ever.

    Args:
        server: from `browser.open_server`.
        show: makes and shows what the controls ask for.
        improve: the same in better quality, once nothing has moved for a moment.
    """

    def __init__(
        self, server: viser.ViserServer, show: Callable[[], None], improve: Callable[[], None] | None = None
    ) -> None:
        self.server, self.show, self.improve = server, show, improve
        self.facts = server.gui.add_markdown("")
        """Says what is shown, or why nothing is."""
        self.mesh: Mesh = (np.empty((0, 3)), np.empty((0, 3), np.int64))
        """What is shown, in the input's units."""
        self.changed, self.closed = threading.Event(), False
        self.worker = threading.Thread(target=self._follow, daemon=True)

    def close(self) -> None:
        """Stop following the controls, and the server."""
        self.closed = True
        self.changed.set()
        self.worker.join()
        stop(self.server)

    def attempt(self, show: Callable[[], None]) -> None:
        """Show something, or the reason why it cannot be shown."""
        try:
            show()
        except (FitError, InputError) as problem:
            self.facts.content = plain(str(problem))

    def _follow(self) -> None:
        """Show what the controls ask for; moves meanwhile are taken together."""
        while True:
            self.changed.wait()
            self.changed.clear()
            if self.closed:
                return
            self.attempt(self.show)
            if self.improve is None:
                give_back(thoroughly=False)
            elif not self.changed.wait(PAUSE):
                self.attempt(self.improve)
                give_back()
