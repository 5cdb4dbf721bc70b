"""The ways a run can end badly: what the user gave cannot be used, or the computation failed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

LONGEST = 500
"""Characters of a message at most: it may quote a file's text or its name."""


def readable(text: str) -> str:
    """`text` on one line; what a terminal would take for orders, or cannot show, is written as \\x1b and the like.

    >>> readable("a\\nb")
    'a\\\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what came, what is needed, what to do."""

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} … {message[-LONGEST // 3 :]}"
        super().__init__(readable(message))


class OutputError(InputError):
    """A result cannot be written where the user wants it; what was there before is unchanged."""


class FitError(RuntimeError):
    """The computation failed though the input was sound; the last good state is kept."""


FAILURES = (InputError, FitError, MemoryError)
"""What the work on one of many scans or shapes may end with; the others are done all the same."""


def reason(problem: Exception) -> str:
    """What to say of one of the `FAILURES`; Python's own MemoryError is mute."""
    return str(problem) or "there is not enough memory for it"


def usual_arithmetic(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """A public function that computes as numpy does by default, whatever its caller has asked of numpy
    (`np.seterr`), which stays as it is: numbers too small to show become 0 without an error."""

    @functools.wraps(function)
    def computed(*args: Given.args, **options: Given.kwargs) -> Result:
        import numpy as np

        with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
            return function(*args, **options)

    return computed
