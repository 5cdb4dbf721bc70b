"""The progress of a fit on stderr: a live bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .talk import say

if TYPE_CHECKING:
    from .fit import Progress
    from .runfolder import RunFolder

PLAIN_SECONDS = 5.0
"""Where stderr is no terminal, a plain line of progress appears so often."""

KNOWN, STEPS = 0.01, 100
"""Share or steps of a run after which the time left can be told: its first steps also start everything up."""


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
            known = progress.share >= KNOWN or progress.step >= STEPS
            left = f"  {progress.seconds * (1 / progress.share - 1):.0f} s left" if known else ""
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
