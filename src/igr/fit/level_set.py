"""Points of a level set as a differentiable function of a network's parameters (torch).

Atzmon, Haim, Yariv, Israelov, Maron, Lipman: Controlling Neural Level Sets. NeurIPS 2019. A point p of the level
set F = c of a network with parameters θ₀ moves, as the parameters change, with the sample network

    p(θ) = p − ∇F(p; θ₀)ᵀ† (F(p; θ) − c),    ∇Fᵀ† = ∇F/‖∇F‖² for one output,

which is p at θ₀ and has the derivative ∂p/∂θ = −∇F/‖∇F‖² ∂F/∂θ of the implicit function theorem across the level
set; along it points do not move. So a loss of the points is one of the parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxtyping import Float

from ..errors import InputError
from ..settings import finite, whole

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 0.25
"""Square of the gradient's length that is divided by at least."""


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
