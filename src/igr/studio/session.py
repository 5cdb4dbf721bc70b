"""A scan on its way to its surface, without a page: read, looked at, fitted, cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ..cloud.frame import Frame
from ..cloud.pointcloud import PointCloud, read_points
from ..config import FAST, Config
from ..errors import FAILURES, InputError, reason
from ..field.field import Field
from ..fit.adapt import sharpness
from ..fit.loop import Progress
from ..mesh.triangles import Mesh
from ..reconstruction import Options, cleaned, oriented, reconstruct
from ..show.words import contents, noticed, outcome
from ..surface.surface import Surface
from .watch import Glimpses

Stage = Literal["empty", "reading", "scan", "fitting", "surface"]
"""Where a scan is. `reading` and `fitting` end in the next one, or where they began if they fail."""
LOOK = 200_000
"""Of larger clouds so many points are looked at before the fit."""


@dataclass
class Scan:
    """A cloud that was read, and what was noticed about it."""

    cloud: PointCloud
    frame: Frame
    """The unit frame that it is shown and about to be fitted in."""
    told: list[str] = field(default_factory=list)


class Session:
    """One scan at a time, from its file to its surface. Methods do their work before they return; what they cannot
    do is told in `problem`.

    Args:
        changed: called whenever there is something new to show, by the thread that works.
        grown: told the surface as it is while it is fitted, vertices in the scan's unit frame, and faces.
        config: of the fits.
        options: of the fits.
    """

    def __init__(
        self,
        changed: Callable[[], None] = lambda: None,
        grown: Callable[[Mesh], None] = lambda mesh: None,
        *,
        config: Config = FAST,
        options: Options | None = None,
    ) -> None:
        self.changed, self.grown, self.config, self.options = changed, grown, config, options or Options()
        self.stage: Stage = "empty"
        self.scan: Scan | None = None
        self.surface: Surface | None = None
        self.told: list[str] = []
        """What is known of the scan and its surface, in plain words."""
        self.problem = ""
        """Why the last thing asked for was not done."""
        self.progress: Progress | None = None
        """Of the running fit."""
        self._lock, self._stop = threading.Lock(), threading.Event()

    @property
    def busy(self) -> bool:
        """Whether a scan is being read or fitted."""
        return self.stage in ("reading", "fitting")

    def read(self, path: Path) -> None:
        """Read a scan and look at it; the one before stays where that fails."""
        self._work("reading", lambda: self._read(path))

    def fit(self) -> None:
        """Fit a surface to the scan; the one before stays where that fails or is cancelled."""
        if self.scan is not None:
            self._work("fitting", self._fit)

    def cancel(self) -> None:
        """Stop the running fit after the step that it is at."""
        if self.stage == "fitting":
            self._stop.set()
            self.changed()

    @property
    def cancelling(self) -> bool:
        """Whether the running fit was told to stop."""
        return self._stop.is_set()

    def _step(self, progress: Progress, fitted: Field, glimpses: Glimpses) -> bool:
        """Show how far a fit is; whether it is to stop."""
        first, self.progress = self.progress is None, progress
        glimpses(progress, fitted)
        if first or progress.step % 10 == 0:
            self.changed()
        return self._stop.is_set()

    def _read(self, path: Path) -> Stage:
        cloud = read_points(path)
        if cloud.dimension != 3:
            raise InputError(f"{cloud.name} is planar, an outline; the studio shows scans in space")
        self.scan, self.surface = look(cloud, self.config), None
        self.told = self.scan.told
        return "scan"

    def _fit(self) -> Stage:
        assert self.scan is not None  # else there is nothing to fit
        notes: list[str] = []
        glimpses = Glimpses(self.config, lambda mesh, progress: self.grown(mesh))
        self.surface = reconstruct(
            self.scan.cloud,
            config=self.config,
            options=self.options,
            on_step=lambda progress, fitted: self._step(progress, fitted, glimpses),
            notify=notes.append,
        )
        came = outcome(self.surface)[self.surface.is_open :]  # the notes say that it is open, and what is invented
        news = [note for note in notes if note not in self.scan.told]
        self.told = [*contents(self.scan.cloud)[:2], *news, *came]
        return "surface"

    def _work(self, stage: Stage, job: Callable[[], Stage]) -> None:
        """Do a piece of work; where it does not come to its end, everything is as before."""
        if not self._lock.acquire(blocking=False):
            self.problem = f"a scan is being {'fitted; cancel that first' if self.stage == 'fitting' else 'read'}"
            self.changed()
            return
        before, self.stage, self.problem, self.progress = self.stage, stage, "", None
        self._stop.clear()
        try:
            self.changed()
            before = job()
        except KeyboardInterrupt:  # how a fit ends that was told to stop
            self.problem = "cancelled"
        except FAILURES as failure:
            self.problem = reason(failure)
        finally:
            self.stage = before
            self._lock.release()
            self.changed()


def look(cloud: PointCloud, config: Config = FAST) -> Scan:
    """A cloud with the frame that it will be fitted in, and what can be said before that.

    Raises:
        InputError: it cannot be fitted.
    """
    notes: list[str] = []
    few = cloud
    if len(cloud) > LOOK:
        few = cloud.select(np.sort(np.random.default_rng(4).choice(len(cloud), LOOK, replace=False)))
    part, near, frame, details, _ = cleaned(few, config, lambda note: None)
    part, _, _, found = oriented(part, near, config, "auto", notes.append)
    if part.normals is not None:
        known = sharpness(part.points, part.normals, near, seed=config.seed)
        thinner = (len(few) / len(cloud)) ** 0.5  # points of a surface are so much farther apart
        details |= {"spacing": known.spacing * frame.scale * thinner, "noise": known.noise * frame.scale}
    told = noticed(cloud, details | found, looked_at=len(few))
    return Scan(cloud, frame, [*contents(cloud), *told, *notes])
