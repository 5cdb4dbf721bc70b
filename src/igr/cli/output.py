"""What the command line says: messages and the progress of a fit on stderr, results on stdout and in files."""

from __future__ import annotations

import json
import math
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

from ..errors import InputError, readable

if TYPE_CHECKING:
    from ..cloud.pointcloud import PointCloud
    from ..fit.loop import Progress
    from ..store.run import RunFolder
    from ..surface.surface import Surface


Output = Annotated[Path, arg(aliases=["-o"])]
"""Where a result is written that has to be named."""
TORN = 30
"""Pieces of a closed mesh from which on a word is said: scans of several objects have fewer."""


def say(text: str) -> None:
    """One message to the user, on stderr."""
    print(readable(text), file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """One line of the result, on stdout."""
    print(readable(text), flush=True)


def report_result(result: dict[str, Any], *, as_json: bool) -> None:
    """What a surface was written to: one JSON object on stdout, or a line or two."""
    if as_json:
        print(json.dumps(result))
        return
    if recoveries := result.get("fit", {}).get("recoveries"):
        times = "once" if recoveries == 1 else f"{recoveries} times"
        say(f"fit   stepped back {times} from a state that was not finite, each at half the learning rate")
    if "curves" in result:
        pieces = f"{result['curves']} piece{'s' if result['curves'] != 1 else ''}"
        say(f"curve  {pieces}, {'closed' if result['closed'] else 'open'}")
    else:
        filled = 1 - result["supported"]
        shape = "open" if result["open"] else "watertight" if result["watertight"] else "not watertight"
        pieces = f"{result['components']} component{'s' if result['components'] != 1 else ''}"
        say(f"mesh  {result['resolution']}³, {result['triangles']:,} triangles, {shape}, {pieces}")
        if fewer := result.get("decimated"):
            say(
                f"      decimated from {fewer['triangles']:,} triangles, which moved it by "
                f"{fewer['moved']:.3g} on average, {fewer['moved_most']:.3g} at most"
            )
        if result["components"] > TORN and not result["open"]:
            say(
                f"      torn into {result['components']} pieces: where layers lie closer than points do, more "
                "points or measured normals keep them apart"
            )
        if filled >= 0.001:
            say(f"      {filled:.1%} of the area is filled in, or fits its points badly (confidence below 0.5)")
    tell(f"wrote {result['output']} in {result['seconds']:.1f} s")


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Where the surface ends, and what its mesh carries."""

    surface: Literal["auto", "closed", "open"] = "auto"
    """closed: watertight, whatever is invented; open: the surface ends where the points end; auto: open where
    more than a fifth of a closed one would be invented."""
    holes: float | None = None
    """Close holes of an open surface up to this width (the scan's units; default 6 spacings of the points)."""
    trim: float | None = None
    """Leave out what is farther than this from every point (the scan's units); the result is then open."""
    attributes: bool = True
    """Give the vertices of the mesh the scan's colors (in ply, glb, obj) and other attributes (in ply, glb)."""
    triangles: int | None = None
    """Decimate the mesh to about so many triangles; its borders are kept, and how far that moved it is told."""


@dataclass(frozen=True, kw_only=True)
class Selecting:
    """Which points of a scan are used."""

    crop: Annotated[str | None, arg(metavar="XMIN YMIN ZMIN XMAX YMAX ZMAX")] = None
    """Only the points in this box (the scan's units); of a planar scan XMIN YMIN XMAX YMAX."""
    voxel: float | None = None
    """Only one point in each cell of a grid of this size (the scan's units)."""
    classes: str | None = None
    """Only points of these classes, such as 2,6: ground and buildings of a las file."""

    def selected(self, cloud: PointCloud) -> PointCloud:
        """The points asked for."""
        if self.classes is not None:
            words = self.classes.replace(",", " ").split()
            if not words or not all(word.isdecimal() for word in words):
                raise InputError(f"--classes {self.classes!r} names no classes; give whole numbers, such as 2,6")
            cloud = cloud.of_classes(*map(int, words))
        if self.crop is not None:
            words = self.crop.replace(",", " ").split()
            if not all(map(_is_number, words)):
                raise InputError(f"--crop {self.crop!r} holds something else than numbers")
            cloud = cloud.crop(*map(float, words))
        return cloud if self.voxel is None else cloud.thin(self.voxel)


def joined_numbers(args: Sequence[str], option: str = "--crop") -> list[str]:
    """The arguments with the numbers behind an option as one: there are four or six, and the scan may follow."""
    if option not in args:
        return list(args)
    start = stop = args.index(option) + 1
    while stop < len(args) and _is_number(args[stop]):
        stop += 1
    numbers = [f"{option}={' '.join(args[start:stop])}"] if stop > start else [option]
    return [*args[: start - 1], *numbers, *args[stop:]]


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def check_request(
    output: Path | None, resolution: int | None, ending: Ending, *, dimension: int | None = None
) -> None:
    """Refuse what cannot be written, before any work; once the cloud's dimension is known, also by that."""
    from ..mesh.border import ends
    from ..mesh.triangles import FEWEST
    from ..mesh.write import check_output

    if resolution is not None and not 8 <= resolution <= 4096:
        raise InputError(f"--resolution {resolution} is out of range; use 8 to 4096")
    if ending.triangles is not None and ending.triangles < FEWEST:
        raise InputError(f"--triangles {ending.triangles} is too few for a mesh; use {FEWEST} or more")
    ends(ending.surface, ending.holes, ending.trim)
    if output is not None:
        check_output(output, dimension)


def write_result(
    surface: Surface,
    output: Path | None,
    source: Path,
    resolution: int | None,
    level: float,
    ending: Ending,
) -> dict[str, Any]:
    """Mesh or contour the surface and write it, by default beside `source`; returns what there is to say."""
    from ..mesh.write import check_output, write_curves
    from ..surface.export import write_triangles

    planar = surface.dimension == 2
    asked: dict[str, Any] = {"surface": ending.surface, "holes": ending.holes, "trim": ending.trim}
    target = output or source.with_name(source.stem + ("_curve.svg" if planar else "_mesh.ply"))
    check_output(target, surface.dimension)
    if planar:
        curves = surface.contour(resolution=resolution or 512, level=level, **asked)
        write_curves(target, curves)
        closed = all((curve[0] == curve[-1]).all() for curve in curves)
        return {"output": str(target), "curves": len(curves), "closed": bool(closed)}
    facts, renamed = write_triangles(
        surface, target, resolution, level, ending.triangles, attributes=ending.attributes, **asked
    )
    if renamed:
        say(f"{target.name}: attributes that cannot keep their names there are called {', '.join(renamed)}")
    return {"output": str(target)} | facts


PLAIN_SECONDS = 5.0
"""Where stderr is no terminal, a plain line of progress appears so often."""


class FitDisplay:
    """Live progress of a fit: a bar with the time left on a terminal, else a plain line now and then.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.live = sys.stderr.isatty() and not quiet
        self.quiet = quiet
        self.shown_at = time.monotonic()

    def __enter__(self) -> FitDisplay:
        if self.live:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("fit "),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:3.0f} %  {task.description}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self.bar.start()
            self.task = self.bar.add_task("", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.bar.stop()

    def show(self, progress: Progress) -> None:
        """Update the display after a step."""
        now = time.monotonic()
        if self.quiet or (now - self.shown_at < (0.1 if self.live else PLAIN_SECONDS) and progress.share < 1):
            return
        self.shown_at = now
        terms = "  ".join(f"{name} {value:.4f}" for name, value in progress.loss.terms.items())
        if self.live:
            self.bar.update(self.task, completed=progress.share, description=terms)
        else:
            left = "" if progress.seconds_left is None else f"  {progress.seconds_left:.0f} s left"
            say(f"fit  {progress.share:4.0%}  step {progress.step}  {terms}{left}")


class Interruptible:
    """Shows the progress of a fit, and turns the first Ctrl-C into a clean stop after the running step.

    Args:
        folder: of the run; where nobody named it, it is told once something is saved in it.
        quiet: show no progress.
    """

    def __init__(self, folder: RunFolder | None, *, quiet: bool) -> None:
        self.folder, self.display, self.stop = folder, FitDisplay(quiet=quiet), False
        self.untold = folder is not None and folder.numbered

    def __enter__(self) -> Interruptible:
        self.display.__enter__()
        self.previous: Any = None
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        self.display.__exit__(kind, *rest)
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)
        if kind is KeyboardInterrupt and self.stop and self.folder is not None:
            self._tell_where(self.folder)

    def __call__(self, progress: Progress, fitted: object) -> bool:
        """Show the progress; whether to stop."""
        if self.previous is None:  # the fit has begun: from here on there is something to save
            self.previous = signal.signal(signal.SIGINT, self._request)
        self.display.show(progress)
        if self.folder is not None and self.folder.written and self.untold:
            self._tell_where(self.folder)
        return self.stop

    def _tell_where(self, folder: RunFolder) -> None:
        self.untold = False
        named = "" if folder.path == folder.named else f"--run {shlex.quote(str(folder.path))} "
        say(f"saved in {folder.path}; the same command with {named}--resume continues")

    def _request(self, number: int, frame: Any) -> None:
        if self.stop:
            raise KeyboardInterrupt
        self.stop = True
