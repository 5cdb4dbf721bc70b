"""Surfaces made of surfaces: union, intersection, difference, offset and shell, as fields like any other.

Distances are combined by minimum and maximum (Ricci 1973), so the result has the right sign everywhere, and is the
exact distance where one part alone decides: outside a union, inside an intersection. Elsewhere it never
exceeds the true distance in size, so ray casting and sparse meshing stay right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ..cloud.frame import Frame, unit_frame
from ..cloud.shown import Shown
from ..config import MLPConfig
from ..errors import InputError
from ..settings import finite
from .attributes import Measured

if TYPE_CHECKING:
    from .surface import Surface

Combine = Callable[[Float[np.ndarray, "k n"]], tuple[Float[np.ndarray, " n"], np.ndarray, np.ndarray]]
"""Distances (k, n) to k parts → the combined distance (n,), which part decides (n,), and with which sign (n,).
Rules are functions of this module, so that a combination can be pickled."""

FEW = 16
"""Samples on the combination below which all of its parts' are taken to say where it is looked for."""


@runtime_checkable
class _Fitted(Protocol):
    """What a surface is told by."""

    field: Any
    frame: Frame
    samples: np.ndarray


class Solid(Shown):
    """What surfaces are as sets of points: `a | b`, `a & b` and `a - b`."""

    def __or__(self, other: Any) -> Any:
        return union(self, other) if isinstance(other, Solid) else NotImplemented  # type: ignore[arg-type]

    def __and__(self, other: Any) -> Any:
        return intersection(self, other) if isinstance(other, Solid) else NotImplemented  # type: ignore[arg-type]

    def __sub__(self, other: Any) -> Any:
        return difference(self, other) if isinstance(other, Solid) else NotImplemented  # type: ignore[arg-type]


class CombinedField:
    """A field made of fitted surfaces, for reading: it has no parameters to fit or to save.

    Args:
        parts: the surfaces, each in its own frame.
        combine: the rule.
        frame: unit frame of the combination.
    """

    def __init__(self, parts: Sequence[Surface], combine: Combine, frame: Frame) -> None:
        self.parts, self.combine, self.frame = list(parts), combine, frame
        self.dimension = parts[0].dimension

    def array(self, values: np.ndarray) -> np.ndarray:
        """`values` in double precision: each part rounds in its own frame."""
        return np.asarray(values, np.float64)

    def distance(self, x: np.ndarray) -> np.ndarray:
        """Signed distance (n,) at `x` (n, d)."""
        return self._decide(x)[0]

    def distance_and_gradient(
        self, x: np.ndarray, *, training: bool = False, shapes: Sequence[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Value (n,) and spatial gradient (n, d), that of the part which decides."""
        if training:
            self._no_parameters()
        value, part, sign = self._decide(x)
        places, gradient = self.frame.to_input(x), np.empty((len(x), self.dimension))
        for index, surface in enumerate(self.parts):
            rows = part == index
            gradient[rows] = surface.gradient(places[rows]) * sign[rows, None]
        return value, gradient

    def deciding(self, x: np.ndarray) -> np.ndarray:
        """Index (n,) of the part that decides the distance at each `x` (n, d)."""
        return self._decide(x)[1]

    def _decide(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        places = self.frame.to_input(x)
        value, part, sign = self.combine(np.stack([surface.distance(places) for surface in self.parts]))
        return value / self.frame.scale, part, sign

    def _no_parameters(self, *unused: object, **options: object) -> NoReturn:
        raise InputError("a combination has no parameters of its own: save its parts, or its mesh or grid")

    state = load_state = backward = update = set_detail = machine = _no_parameters


def union(*surfaces: Surface) -> Surface:
    """What is inside any of the surfaces; also `a | b`.

    Here and below: only `shell` takes an open surface as it is, others the closed one behind it. The surfaces may
    have been fitted in different frames, but must share one coordinate system and unit (`placed` brings them
    there); the result is a `Surface` for everything but fitting and saving.

    Raises:
        InputError: there is none, something else is among them, or curves and surfaces are mixed.
    """
    return _combination(surfaces, _smallest)


def intersection(*surfaces: Surface) -> Surface:
    """What is inside all of the surfaces; also `a & b`."""
    return _combination(surfaces, _largest)


def difference(surface: Surface, *others: Surface) -> Surface:
    """What is inside `surface` and in none of the others; also `a - b`."""
    return _combination((surface, *others), _remaining)


def offset(surface: Surface, amount: float) -> Surface:
    """The surface moved outward by `amount`, inward where negative (input units).

    Raises:
        InputError: the amount is not finite.
    """
    amount = finite(amount, "the amount of an offset")
    return _combination([surface], partial(_moved, amount=amount), moved=(amount,))


def shell(surface: Surface, thickness: float) -> Surface:
    """A wall of this thickness around the surface, half of it on either side (input units); it goes as far as an
    open surface does, and around its border.

    Raises:
        InputError: the thickness is not positive, or not finite.
    """
    half = finite(thickness, "the thickness of a shell") / 2
    if not half > 0:
        raise InputError(f"the thickness of a shell must be positive, not {thickness}")
    return _combination([surface], partial(_walled, half=half), moved=(half, -half), ends=True)


def placed(surface: Surface, *, scale: float = 1.0, shift: Sequence[float] | float = 0.0) -> Surface:
    """The same surface in other coordinates, x · scale + shift: to bring parts to one unit and place.

    Raises:
        InputError: the scale is not positive, or not finite; or the shift is neither a finite number nor one for
            each axis.
    """
    _check_surfaces([surface])
    if not finite(scale, "the scale") > 0:
        raise InputError(f"the scale must be positive, not {scale}")
    steps = [shift] * surface.dimension if np.ndim(shift) == 0 else list(shift)  # type: ignore[arg-type]
    if len(steps) != surface.dimension:
        raise InputError(f"a shift is one number, or {surface.dimension} numbers here, not {len(steps)}")
    by = np.array([finite(step, "every number of a shift") for step in steps])
    frame = Frame(surface.frame.center * scale + by, surface.frame.scale * scale)
    kept = {"samples": surface.samples, "details": surface.details, "measured": surface.measured}
    return type(surface)(surface.field, frame, surface.config, **kept)


def as_closed(surface: Surface) -> Surface:
    """The closed surface that an open one was cut from, whose distance has no jump; a closed one as it is."""
    _check_surfaces([surface])
    if not surface.is_open:
        return surface
    closed = object.__new__(type(surface))
    vars(closed).update(vars(surface), details=surface.details | {"open": False})
    return closed


def _smallest(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _picked(values, values.argmin(0))


def _largest(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _picked(values, values.argmax(0))


def _remaining(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    value, part, _ = _largest(np.concatenate([values[:1], -values[1:]]))
    return value, part, np.where(part == 0, 1.0, -1.0)


def _moved(values: np.ndarray, amount: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return values[0] - amount, *_alone(values)


def _walled(values: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.abs(values[0]) - half, _alone(values)[0], np.where(values[0] < 0, -1.0, 1.0)


def _alone(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(values.shape[1], int), np.ones(values.shape[1])


def _picked(values: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.take_along_axis(values, part[None], 0)[0], part, np.ones(len(part))


def _check_surfaces(surfaces: Sequence[Surface]) -> None:
    """Refuse what cannot be combined.

    Raises:
        InputError: there is no surface, something else is among them, or curves and surfaces are mixed.
    """
    if not surfaces:
        raise InputError("there is no surface to combine; give one or more")
    for surface in surfaces:
        if not isinstance(surface, _Fitted):
            raise InputError(f"surfaces are combined with surfaces, not with a {type(surface).__name__}")
    if len({surface.dimension for surface in surfaces}) != 1:
        raise InputError("surfaces in space and curves in the plane cannot be combined")


def _combination(
    surfaces: Sequence[Surface], combine: Combine, *, moved: tuple[float, ...] = (0.0,), ends: bool = False
) -> Surface:
    """The surface of a rule; its samples are those of the parts that decide, moved outward by so much. Open parts
    count as closed, unless the rule asks for where they end."""
    _check_surfaces(surfaces)
    surfaces = surfaces if ends else [as_closed(surface) for surface in surfaces]
    field = CombinedField(surfaces, combine, Frame(np.zeros(surfaces[0].dimension), 1.0))
    points, deciding = _moved_samples(field, [s.frame.to_input(s.samples) for s in surfaces], moved)
    samples = points[deciding] if deciding.sum() >= FEW else points
    places, values = _attributes(field, moved)
    field.frame = unit_frame(samples, strays=np.zeros(len(samples), bool))
    told = Measured(values, field.frame.to_unit(places).astype(np.float32)) if values else None
    config = next((s.config for s in surfaces if isinstance(s.config.network, MLPConfig)), surfaces[0].config)
    details = {"combined": [str(surface.details.get("name", "surface")) for surface in surfaces]}
    kept = {"samples": field.frame.to_unit(samples), "details": details, "measured": told}
    return type(surfaces[0])(field, field.frame, config, **kept)


def _moved_samples(
    field: CombinedField, clouds: list[np.ndarray], moved: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Points of every part moved outward by each amount, one part after the other, and which of them decide."""
    normals = [s.normals(x) if any(moved) else np.zeros(1) for s, x in zip(field.parts, clouds, strict=True)]
    clouds = [np.concatenate([x + by * n for by in moved]) for x, n in zip(clouds, normals, strict=True)]
    points = np.concatenate(clouds)
    return points, field.deciding(points) == np.repeat(np.arange(len(clouds)), [len(cloud) for cloud in clouds])


def _attributes(field: CombinedField, moved: tuple[float, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The attributes that all parts have, where each decides; and at which places, in the input's frame."""
    told = [surface.measured for surface in field.parts if surface.measured is not None]
    shapes = [{name: values.shape[1:] for name, values in part.values.items()} for part in told]
    names = [name for name in shapes[0] if all(s.get(name) == shapes[0][name] for s in shapes)] if shapes else []
    if len(told) < len(field.parts) or not names:
        return np.empty((0, field.dimension)), {}
    clouds = [s.samples if m.points is None else m.points for s, m in zip(field.parts, told, strict=True)]
    clouds = [surface.frame.to_input(points) for surface, points in zip(field.parts, clouds, strict=True)]
    points, deciding = _moved_samples(field, clouds, moved)
    joined = {name: np.concatenate([part.values[name] for part in told for _ in moved]) for name in names}
    return points[deciding], {name: values[deciding] for name, values in joined.items() if deciding.any()}
