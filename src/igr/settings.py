"""Dataclasses that are checked when they are made, from Python as from JSON: types, choices, and the ranges that
stand beside their fields.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import numbers
import operator
import os
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from .errors import InputError

DEEPEST = 100
"""Lists within lists in JSON; what has more was made to break readers."""


class Range(NamedTuple):
    """Which values of a number make sense, both ends included: `Annotated[int, Range(1, 9)]` in a field's type."""

    least: float
    most: float


Count = Annotated[int, Range(1, 2**31 - 1)]
"""How many of something."""
Positive = Annotated[float, Range(1e-12, 1e12)]
"""A length, a rate, a time: more than nothing."""
Weight = Annotated[float, Range(0, 1e12)]
"""What a term counts; 0: nothing."""
Share = Annotated[float, Range(0, 1)]
"""A part of a whole."""
Seed = Annotated[int, Range(0, 2**63 - 1)]
"""Where random numbers start."""


class Checked:
    """Base of frozen dataclasses none of which can be made of values that make no sense.

    Raises:
        InputError: a value of another type, not among the choices, or out of its range; the message names it.
    """

    def __post_init__(self) -> None:
        kind = type(self)
        for name, hint in _hints(kind).items():
            object.__setattr__(self, name, _checked(hint, getattr(self, name), f"{kind.__name__}.{name}"))


def from_plain(kind: type, values: Any, where: str) -> Any:
    """The dataclass `kind` from the plain values of its JSON.

    Args:
        kind: a `Checked` dataclass; so are those of its fields that are dataclasses.
        values: what JSON gave, numbers, strings, lists and dictionaries.
        where: what it is called in messages.

    Raises:
        InputError: as for `Checked`, or there is no such entry.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where} must be a JSON object, not {type(values).__name__}")
    hints = _hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise InputError(f"{where} has the unknown entry {unknown[0]!r}; known are {', '.join(sorted(hints))}")
    return kind(**{key: _entry(hints[key], value, f"{where}.{key}") for key, value in values.items()})


def parse_json(text: str, name: object) -> Any:
    """The value of a JSON text.

    Args:
        text: what was read.
        name: where it was read, for the message.

    Raises:
        InputError: it is no JSON, or nested beyond reason.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{name} is no valid JSON ({problem}).") from None
    level = [value]
    for _ in range(DEEPEST):
        inner = [
            item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)
        ]
        level = [item for items in inner for item in items]
        if not level:
            return value
    raise InputError(f"{name} is nested more than {DEEPEST} levels deep.")


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields, with what is annotated."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _entry(hint: Any, value: Any, where: str) -> Any:
    """An entry of a JSON object: a dataclass of its own, or a plain value."""
    kinds = [kind for kind in _arms(hint) if dataclasses.is_dataclass(kind)]
    if not kinds or (value is None and types.NoneType in _arms(hint)):
        return _checked(hint, value, where)
    named = value.get("kind") if isinstance(value, dict) else None
    kind = next((kind for kind in kinds if getattr(kind, "kind", None) == named), kinds[0])
    return from_plain(typing.cast(type, kind), value, where)


def _arms(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def _checked(hint: Any, value: Any, where: str) -> Any:
    """`value` as `hint` has it: a whole number for a float and a list for a tuple are as good."""
    arms = _arms(hint)
    found = next((arm for arm in arms if _is(arm, value)), None)
    if found is None:
        raise InputError(f"{where} is {_shown(value)}, expected {' or '.join(map(_described, arms))}")
    limits = _limits(found)
    if limits is not None and not limits.least <= value <= limits.most:
        raise InputError(f"{where} is {_shown(value)}, expected {_described(found)}")
    plain = _plain(found)
    if plain in (int, float):
        return plain(value)
    if typing.get_origin(plain) is tuple:
        item = typing.get_args(plain)[0]
        return tuple(_checked(item, entry, f"{where}[{index}]") for index, entry in enumerate(value))
    return value


def _is(hint: Any, value: Any) -> bool:
    """Whether a value is of a type, ranges aside."""
    plain = _plain(hint)
    origin, args = typing.get_origin(plain), typing.get_args(plain)
    if origin is Literal:
        return isinstance(value, str) and value in args
    if origin is tuple:
        return isinstance(value, list | tuple)
    if plain in (int, float):  # neither NaN, nor infinity, nor beyond 64 bits
        kind = numbers.Integral if plain is int else numbers.Real
        return (
            isinstance(value, kind) and not isinstance(value, bool) and -(2**63) < typing.cast(Any, value) < 2**63
        )
    return isinstance(value, origin or plain)


def _plain(hint: Any) -> Any:
    """A type without what is annotated."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _limits(hint: Any) -> Range | None:
    """The range that is annotated."""
    extras = typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()
    return next((extra for extra in extras if isinstance(extra, Range)), None)


def _described(hint: Any) -> str:
    """A type as a message names it."""
    plain = _plain(hint)
    limits = (
        [extra for extra in typing.get_args(hint)[1:] if isinstance(extra, Range)] if plain is not hint else []
    )
    if limits:
        return f"{plain.__name__} from {limits[0].least:g} to {limits[0].most:g}"
    origin = typing.get_origin(plain)
    if origin is Literal:
        return " or ".join(map(repr, typing.get_args(plain)))
    if origin is tuple:
        return f"a list of {_described(typing.get_args(plain)[0])}"
    names = {types.NoneType: "None", os.PathLike: "a path", Mapping: "a mapping"}
    return names.get(origin or plain, getattr(plain, "__name__", str(plain)))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def finite(value: Any, what: str) -> float:
    """A finite number.

    Args:
        value: what was given.
        what: its name, for the message.

    Raises:
        InputError: it is none.
    """
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what} must be a finite number, not {value!r}")
    return number


def whole(value: Any, what: str, lowest: int, highest: float = math.inf) -> int:
    """A whole number from `lowest` to `highest`; arguments and errors as for `finite`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = lowest - 1
    if not lowest <= number <= highest:
        allowed = f"of {lowest:,} or more" if highest == math.inf else f"from {lowest:,} to {highest:,}"
        raise InputError(f"{what} must be a whole number {allowed}, not {value!r}")
    return number
