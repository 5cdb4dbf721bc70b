"""The command line.

Results go to stdout, messages and progress to stderr. Exit status: 0 done, 1 failed, 2 wrong input or usage,
130 interrupted (a fit saves a checkpoint first). Nothing heavy is imported before a subcommand runs.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

import tyro

from .. import __version__
from ..errors import LONGEST, FitError, InputError
from ..machine import wait_asleep
from .judge import Evaluate, Export, Report
from .look import Images, Render, Studio, View
from .output import joined_numbers, say, tell
from .reconstruct import Example, Mesh, Reconstruct
from .scans import Dfaust
from .space import Shapespace

COMMANDS = {
    "reconstruct": Reconstruct,
    "images": Images,
    "mesh": Mesh,
    "export": Export,
    "evaluate": Evaluate,
    "report": Report,
    "render": Render,
    "view": View,
    "studio": Studio,
    "example": Example,
    "dfaust": Dfaust,
    "shapespace": Shapespace,
}
DESCRIPTION = "Point clouds to surfaces by implicit geometric regularization. Try: igr reconstruct scan.ply"


def main(args: list[str] | None = None) -> int:
    """Parse the command line and run its subcommand; returns the exit status."""
    try:
        return _called(args)
    except KeyboardInterrupt:
        say("igr: interrupted")
        return 130


def run() -> NoReturn:
    """The program `igr`: ends with the exit status of `main`.

    A search for neighbors that Ctrl-C interrupts runs on in scipy's threads, on arrays that the exception still
    holds; without them, or with the interpreter taken down, the program would end with a segmentation fault. So it
    ends here and now.
    """
    wait_asleep()
    try:
        try:
            status = _called(None)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        say("igr: interrupted")
        sys.stderr.flush()
        os._exit(130)
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _called(args: list[str] | None) -> int:
    args = joined_numbers(sys.argv[1:] if args is None else args)
    if args == ["--version"]:
        tell(f"igr {__version__}")
        return 0
    try:
        command = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="igr", description=DESCRIPTION, args=args)
        return command()
    except InputError as problem:
        say(f"igr: error: {problem}")
        return 2
    except OSError as problem:
        if problem.errno not in (errno.EACCES, errno.ENAMETOOLONG):
            raise
        say(f"igr: error: {str(problem.filename)[:LONGEST]} cannot be looked at ({problem.strerror})")
        return 2
    except FitError as problem:
        say(f"igr: failed: {problem}")
        return 1
    except MemoryError:
        from ..machine import ADVICE

        say(f"igr: failed: memory ran out; {ADVICE}")
        return 1
