"""Where the fit of a latent begins: training shapes laid into the scan, upright and in other orientations.

A scan may lie anywhere and miss half of the shape, so its center is not the shape's: each candidate is moved to
where its distances to the scan's points are least squares.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from .space import ShapeSpace

CANDIDATES = 40
"""Training shapes that are tried as a start."""
LAID = 160
"""Points of the scan that they are laid into."""
DRAWS = 2
"""Draws of other candidates that there are."""
STARTS = 3
"""Shapes, and orientations, that a scan which fits badly is tried with."""


@dataclass(frozen=True)
class Start:
    """Where the fit of a scan may begin."""

    rank: int
    """0 for the most promising."""
    coordinates: Tensor
    """Of the latent, along the principal directions."""
    turn: Tensor
    shift: Tensor


@torch.no_grad()
def upright_starts(
    space: ShapeSpace, table: np.ndarray, mean: Tensor, basis: Tensor, *, seed: int, moves: int = 4, draw: int = 0
) -> list[Start]:
    """The training shapes that fit best as they are, upright, best first; another `draw` tries others of them."""
    w, points = _candidates(space, mean, basis, draw), _some(table, seed + draw)
    return _ranked(space, points, w, mean + w @ basis, torch.eye(space.dimension), moves)


@torch.no_grad()
def turned_starts(
    space: ShapeSpace, table: np.ndarray, mean: Tensor, basis: Tensor, *, seed: int, moves: int = 4
) -> list[Start]:
    """The same in the orientations that promise most."""
    w, points = _candidates(space, mean, basis), _some(table, seed)
    few = w[:: max(1, len(w) // 8)][:8]
    turns = quarter_turns(space.dimension)[1:]
    scores = [float(_laid(space, points, mean + few @ basis, turn, moves=3)[0].min()) for turn in turns]
    return [
        _ranked(space, points, w, mean + w @ basis, turns[index], 4)[0] for index in np.argsort(scores)[:STARTS]
    ]


def _candidates(space: ShapeSpace, mean: Tensor, basis: Tensor, draw: int = 0) -> Float[Tensor, "c b"]:
    """Principal coordinates of the mean and of some training shapes."""
    step = max(1, len(space.names) // CANDIDATES)
    latents = torch.as_tensor(space.latents[draw * step // DRAWS :: step][:CANDIDATES])
    w = (latents - mean) @ basis.T / basis.square().sum(1)  # the directions are orthogonal; empty without shapes
    return torch.cat([w.new_zeros(1, len(basis)), w])


def _some(table: np.ndarray, seed: int) -> Float[Tensor, "n c"]:
    rng = np.random.default_rng([seed, 9])
    return torch.as_tensor(table[rng.integers(0, len(table), LAID)], dtype=torch.float32)


def _ranked(
    space: ShapeSpace, points: Tensor, w: Tensor, latents: Tensor, turn: Tensor, moves: int
) -> list[Start]:
    score, shift = _laid(space, points, latents, turn, moves=moves)
    order = score.argsort()[:STARTS].tolist()
    return [Start(rank, w[index], turn, shift[index]) for rank, index in enumerate(order)]


def _laid(
    space: ShapeSpace, points: Tensor, latents: Tensor, turn: Tensor, *, moves: int
) -> tuple[Float[Tensor, " c"], Float[Tensor, "c d"]]:
    """How far points are from shapes moved to them, in the mean, and the shifts: Gauss-Newton on Σ f²."""
    d, network = space.dimension, space.field.space.network
    latents, shift = latents.to(space.field.device), points.new_zeros(len(latents), d)
    for move in range(moves + 1):
        places = (points[:, :d] - shift.unsqueeze(1)) @ turn
        value, gradient = (part.cpu() for part in network(places.to(space.field.device), latents))
        gradient = gradient @ turn.T
        if move < moves:
            square = gradient.mT @ gradient + 1e-3 * len(points) * torch.eye(d)
            step = torch.linalg.solve(square, (gradient * value.unsqueeze(2)).sum(1))
            shift = shift + step.clamp(-0.3, 0.3)
    score = value.abs().mean(1)  # type: ignore[possibly-undefined]
    if points.shape[1] > d:
        aligned = (gradient * points[:, d:]).sum(2) / gradient.norm(dim=2).clamp(min=1e-6)  # type: ignore[possibly-undefined]
        score = score + 0.05 * (1 - aligned).mean(1)
    return score, shift


def quarter_turns(dimension: int) -> list[Tensor]:
    """The rotations that take the axes to the axes: 24 in space, 4 in the plane, the identity first."""
    turns = []
    for order in itertools.permutations(range(dimension)):
        for signs in itertools.product((1.0, -1.0), repeat=dimension):
            turn = torch.zeros(dimension, dimension)
            for row, (column, sign) in enumerate(zip(order, signs, strict=True)):
                turn[row, column] = sign
            if torch.linalg.det(turn) > 0:
                turns.append(turn)
    return turns
