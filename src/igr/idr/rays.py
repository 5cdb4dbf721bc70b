"""Where rays first enter a field: sphere tracing (Hart 1996), and the least value along those that miss it; and
points of a level set as a differentiable function of a network's parameters.

Atzmon, Haim, Yariv, Israelov, Maron, Lipman: Controlling Neural Level Sets. NeurIPS 2019. A point p of the level
set F = c of a network with parameters θ₀ moves, as the parameters change, with the sample network

    p(θ) = p − ∇F(p; θ₀)ᵀ† (F(p; θ) − c),    ∇Fᵀ† = ∇F/‖∇F‖² for one output,

which is p at θ₀ and has the derivative ∂p/∂θ = −∇F/‖∇F‖² ∂F/∂θ of the implicit function theorem across the level
set; along it points do not move. So a loss of the points is one of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from ..errors import InputError
from ..settings import finite, whole

if TYPE_CHECKING:
    from torch import Tensor

Distance = Callable[[np.ndarray], np.ndarray]
"""Signed distances (n,) at points (n, 3), negative inside."""
STEPS, SAMPLES, SECANTS = 14, 40, 5
"""Of sphere tracing; places along rays that it leaves open; refinements of a zero between two."""
CLOSE = 2e-4
"""A ray has met the surface where the field is below this, unit frame."""
ADVANCE = 0.9
"""Share of the distance that a ray advances."""
LEAST = 0.25
"""Square of the gradient's length that is divided by at least."""


@dataclass(frozen=True, eq=False)
class Traced:
    """Where rays meet a surface."""

    hit: Bool[np.ndarray, " n"]
    depth: Float[np.ndarray, " n"]
    """Length along each ray to where it meets it, or to the least value found along it."""


def first_hits(
    distance: Distance,
    origins: Float[np.ndarray, "n 3"],
    directions: Float[np.ndarray, "n 3"],
    box: Float[np.ndarray, "2 3"],
    *,
    shift: Float[np.ndarray, " n"] | float = 0.5,
) -> Traced:
    """Where rays first enter a surface: sphere tracing (Hart 1996), then places along what it leaves open.

    Args:
        distance: the field.
        origins: outside of it.
        directions: of unit length.
        box: lower and upper corner of where it is looked for.
        shift: where between its ends each piece of a ray that is left open is looked at, in [0, 1].
    """
    near, far = within_box(origins, directions, box)
    depth, hit = near.copy(), np.zeros(len(origins), bool)
    least, lowest = near.copy(), np.full(len(origins), np.inf)
    active = np.flatnonzero(near < far)
    for _ in range(STEPS):
        value = distance(origins[active] + depth[active, None] * directions[active])
        lower = value < lowest[active]
        rows = active[lower]
        lowest[rows], least[rows] = value[lower], depth[rows]
        close = np.abs(value) < CLOSE
        hit[active[close]] = True
        active, value = active[~close], value[~close]
        depth[active] = np.maximum(depth[active] + ADVANCE * value, near[active])
        active = active[depth[active] < far[active]]
    if len(active):  # rays that graze the surface
        share = (np.arange(SAMPLES) + np.broadcast_to(shift, len(origins))[active, None]) / SAMPLES
        share[:, 0] = 0
        places = depth[active, None] + share * (far[active] - depth[active])[:, None]
        x = origins[active, None] + places[..., None] * directions[active, None]
        value = distance(x.reshape(-1, 3)).reshape(places.shape)
        every, first, lowest_at = np.arange(len(active)), (value < 0).argmax(1), value.argmin(1)
        lower = value[every, lowest_at] < lowest[active]
        least[active[lower]] = places[every, lowest_at][lower]
        entered = value[every, first] < 0
        hit[active[entered]] = True
        depth[active[entered]] = places[every, first][entered]
        rows = np.flatnonzero(entered & (first > 0))
        ends, values = ((a[rows, first[rows] - 1], a[rows, first[rows]]) for a in (places, value))
        depth[active[rows]] = _zero(distance, origins[active[rows]], directions[active[rows]], ends, values)
    return Traced(hit, np.where(hit, depth, least))


def _zero(
    distance: Distance, origins: np.ndarray, directions: np.ndarray, ends: tuple, values: tuple
) -> Float[np.ndarray, " n"]:
    """The zero between two places along each ray, by false position."""
    (low, high), (f_low, f_high) = ends, values
    place = low
    for _ in range(SECANTS):
        place = low + (high - low) * f_low / np.maximum(f_low - f_high, 1e-12)
        value = distance(origins + place[:, None] * directions)
        below = value < 0
        high, f_high = np.where(below, place, high), np.where(below, value, f_high)
        low, f_low = np.where(below, low, place), np.where(below, f_low, value)
    return place


def within_box(
    origins: Float[np.ndarray, "n 3"], directions: Float[np.ndarray, "n 3"], box: Float[np.ndarray, "2 3"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Lengths along rays at which they enter and leave a box; the first is not less where they miss it."""
    safe = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
    first, second = (box[0] - origins) / safe, (box[1] - origins) / safe
    near = np.minimum(first, second).max(1)
    return np.maximum(near, 0.0), np.maximum(first, second).min(1)


def least_along(
    distance: Distance,
    origins: Float[np.ndarray, "n 3"],
    directions: Float[np.ndarray, "n 3"],
    box: Float[np.ndarray, "2 3"],
    shift: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """Length along each ray to the least of the values that are looked at in a box; see `first_hits`."""
    near, far = within_box(origins, directions, box)
    share = (np.arange(SAMPLES) + shift[:, None]) / SAMPLES
    places = near[:, None] + share * np.maximum(far - near, 0)[:, None]
    x = origins[:, None] + places[..., None] * directions[:, None]
    least = distance(x.reshape(-1, 3)).reshape(places.shape).argmin(1)
    return places[np.arange(len(places)), least]


def level_set_samples(
    network: Any, x: Float[Tensor, "n d"], *, level: float = 0.0, steps: int = 8
) -> Float[Tensor, "n d"]:
    """Places moved onto a level set of a network, with their derivative by its parameters.

    Args:
        network: gives the value (n,) and the spatial gradient (n, d) at places (n, d), as `MLP` and
            `FeatureNetwork` do: the `field.network` of a surface that was fitted on torch.
        x: places near the level set, in the network's frame (`surface.frame.to_unit`).
        level: c, the value of the level set.
        steps: Newton steps onto it, along the gradient.

    Returns:
        Points on the level set, through which a loss flows back to the parameters; none flows back to `x`.

    Raises:
        InputError: `x` are no floating numbers (n, d), or the network does not answer with values and gradients.

    Example:
        >>> import torch
        >>> radius = torch.tensor(2.0, requires_grad=True)
        >>> ball = lambda x: (x.norm(dim=1) - radius, x / x.norm(dim=1, keepdim=True))
        >>> points = level_set_samples(ball, torch.tensor([[3.0, 0.0, 0.0]]))
        >>> points.sum().backward()
        >>> points.tolist(), radius.grad.item()
        ([[2.0, 0.0, 0.0]], 1.0)
    """
    import torch

    if not isinstance(x, torch.Tensor) or x.ndim != 2 or not x.is_floating_point():
        raise InputError("level_set_samples needs a tensor of floating numbers (n, d)")
    level, steps = finite(level, "the level"), whole(steps, "the number of steps", 0)
    p = x.detach()
    with torch.no_grad():
        for _ in range(steps):
            value, gradient = _answer(network, p)
            square = (gradient * gradient).sum(1).clamp(min=LEAST)
            p = p - gradient * ((value - level) / square)[:, None]
    value, gradient = _answer(network, p)
    gradient = gradient.detach()
    square = (gradient * gradient).sum(1).clamp(min=LEAST)
    moved = value - value.detach()  # F(p; θ) − F(p; θ₀): 0, but with a derivative
    return p - gradient * (moved / square)[:, None]


def _answer(network: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    answer = network(x)
    if not isinstance(answer, tuple) or len(answer) != 2 or answer[0].shape != x.shape[:1]:
        raise InputError("the network must answer with values (n,) and spatial gradients (n, d)")
    return answer
