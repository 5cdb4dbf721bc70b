"""The loss of implicit geometric regularization, one function a term, beside the paper's equations.

Every term depends on the field only through its values f (n,) and spatial gradients g = ∇f (n, d), and returns
its value with the derivatives with respect to them: that is all that `Field.backward` needs. The functions
use operations that numpy and torch share, so they serve both fields.

Gropp, Yariv, Haim, Atzmon, Lipman: Implicit Geometric Regularization for Learning Shapes. ICML 2020, equation 2:

    loss = 1/|I| Σ ( |f(x_i)| + τ ‖∇f(x_i) − n_i‖ )  +  λ E_x (‖∇f(x)‖ − 1)²
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config import ObjectiveConfig
from ..field.field import Array
from .sampling import Batch

TINY = 1e-12
"""Length below which a vector's direction is taken as undefined (its derivative is zero there)."""


def surface_distance(f: Array, width: float = 0.0) -> tuple[Array, Array]:
    """Mean |f| on the cloud: the points lie on the zero level set (equation 2, first term).

    Args:
        f: field values at points of the cloud (n,).
        width: |f| up to which the term is f²/2w + w/2 instead (Huber 1964), as suits noise of about that size:
            the mean of noisy points is surer than their median.

    Returns:
        Value and dL/df (n,).
    """
    if width <= 0:
        return abs(f).mean(), _functions(f).sign(f) / len(f)
    within = f.clip(-width, width)
    return (abs(f) + (abs(within) - width) ** 2 / (2 * width)).mean(), within / (width * len(f))


def normal_alignment(g: Array, normals: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Mean ‖∇f − n‖ on the cloud: the gradient is the normal (equation 2, second term).

    Args:
        g: spatial gradients (n, d).
        normals: unit normals (n, d).
        weights: how far each normal is trusted (n,), in [0, 1]; all 1 when missing.

    Returns:
        Value and dL/dg (n, d).
    """
    difference = g - normals
    length = _norm(difference)
    scale = (1.0 if weights is None else weights) / len(g)
    return (length * scale).sum(), difference * (scale / (length + TINY))[:, None]


def eikonal(g: Array) -> tuple[Array, Array]:
    """Mean (‖∇f‖ − 1)²: the gradient has length one, so f is a distance (equation 2, third term).

    Returns:
        Value and dL/dg (n, d).
    """
    length = _norm(g)
    excess = length - 1
    return (excess * excess).mean(), g * (2 * excess / (len(g) * (length + TINY)))[:, None]


def off_surface(f: Array, alpha: float) -> tuple[Array, Array]:
    """Mean exp(−α|f|) off the cloud: values away from the points stay away from zero, so that no ghost sheets
    appear (Sitzmann et al. 2020, Implicit neural representations, equation 6).

    Returns:
        Value and dL/df (n,).
    """
    functions = _functions(f)
    weight = functions.exp(-alpha * abs(f))
    return weight.mean(), functions.sign(f) * weight * (-alpha / len(f))


def known_distance(f: Array, target: Array, width: float = 0.0) -> tuple[Array, Array]:
    """Mean |f − target| off the cloud, with signed distances read off the oriented points: no ghosts, and a
    distance in the middle of bodies, too, where the eikonal term alone knows many solutions.

    Args:
        f: field values (n,).
        target: signed distances (n,).
        width: as for `surface_distance`: distances that come from noisy points are as noisy.

    Returns:
        Value and dL/df (n,).
    """
    return surface_distance(f - target, width)


def far_sign(f: Array, target: Array) -> tuple[Array, Array]:
    """Mean max(0, |target|/3 − sign(target)·f): far from the cloud the sign is known and stays.

    Returns:
        Value and dL/df (n,).
    """
    sign = _functions(f).sign(target)
    shortfall = abs(target) / 3 - sign * f
    violated = shortfall > 0
    return (shortfall * violated).mean(), -sign * violated / len(f)


def unsigned_distance(f: Array, distance: Array) -> tuple[Array, Array]:
    """Mean ||f| − h| with the unsigned distance h to the cloud (SAL, Atzmon & Lipman 2020, equation 3 with ℓ = 1):
    the start as a sphere makes f choose opposite signs inside and outside.

    Returns:
        Value and dL/df (n,).
    """
    sign = _functions(f).sign
    difference = abs(f) - distance
    return abs(difference).mean(), sign(difference) * sign(f) / len(f)


def unsigned_gradient(g: Array, direction: Array) -> tuple[Array, Array]:
    """Mean min(‖∇f − ∇h‖, ‖∇f + ∇h‖) with the gradient ∇h of the unsigned distance (SALD, Atzmon & Lipman 2021,
    equation 4).

    Args:
        g: spatial gradients (n, d).
        direction: unit vectors (n, d) away from the nearest point of the cloud.

    Returns:
        Value and dL/dg (n, d).
    """
    return normal_alignment(g, on_the_side_of(g, direction))


@dataclass(frozen=True)
class Loss:
    """The weighted terms of one batch and their derivatives."""

    terms: dict[str, float]
    """Unweighted value of each term."""
    total: float
    """Weighted sum."""
    df: Array
    """dL/df (n,)."""
    dg: Array
    """dL/d∇f (n, d)."""


def objective(f: Array, g: Array, batch: Batch, weights: ObjectiveConfig, progress: float = 0.0) -> Loss:
    """All terms of `weights` on `batch`, whose first rows lie on the cloud and the rest off it.

    Args:
        f: field values (n,).
        g: spatial gradients (n, d).
        batch: the points where f and g were taken, with what is known there, in the arrays of f.
        weights: weight of each term.
        progress: share of the run that is done, for the terms that act only at its start.
    """
    if weights.kind != "igr":
        return _sign_agnostic(f, g, batch, weights)
    df, dg = f * 0, g * 0
    terms: dict[str, Any] = {}
    total = 0.0
    on, off, known = (
        slice(0, batch.surface),
        slice(batch.surface, len(f)),
        slice(len(f) - len(batch.target), len(f)),
    )

    def add(name: str, weight: float, rows: slice, into: Array, term: tuple[Array, Array]) -> None:
        nonlocal total
        terms[name], derivative = term
        total += weight * float(terms[name])
        into[rows] += weight * derivative

    add("surface", weights.surface, on, df, surface_distance(f[on], weights.surface_width))
    if weights.normals and batch.normals is not None:
        weight = normal_weight(weights, progress, estimated=batch.trust is not None)
        normals, trust = batch.normals, batch.trust
        if trust is not None and progress >= weights.field_side:
            normals, trust = on_the_side_of(g[on], normals), None
        add("normals", weight, on, dg, normal_alignment(g[on], normals, trust))
    if weights.eikonal:
        add("eikonal", weights.eikonal, off, dg, eikonal(g[off]))
    if weights.off_surface:
        add("off_surface", weights.off_surface, off, df, off_surface(f[off], weights.off_surface_alpha))
    if weights.near_distance and batch.near_target is not None:
        near = slice(batch.surface, batch.surface + len(batch.near_target))
        term = known_distance(f[near], batch.near_target, weights.surface_width)
        add("near_distance", weights.near_distance, near, df, term)
    if len(batch.target):
        if weights.warm_start and progress < weights.warm_share:
            add("warm_start", weights.warm_start, known, df, known_distance(f[known], batch.target))
        if weights.far_sign:
            add("far_sign", weights.far_sign, known, df, far_sign(f[known], batch.target))
    return Loss({name: float(value) for name, value in terms.items()}, total, df, dg)


def _sign_agnostic(f: Array, g: Array, batch: Batch, weights: ObjectiveConfig) -> Loss:
    """The loss of SAL or SALD: on the cloud h is 0, off it the distance to the nearest point."""
    on, off = slice(0, batch.surface), slice(batch.surface, len(f))
    assert batch.nearest is not None
    h = _norm(batch.nearest)
    df, dg = f * 0, g * 0
    surface, df[on] = surface_distance(f[on])
    terms = {"surface": surface}
    terms["unsigned_distance"], df[off] = unsigned_distance(f[off], h)
    df[on] *= weights.surface
    total = weights.surface * float(surface) + float(terms["unsigned_distance"])
    if weights.kind == "sald":
        direction = batch.nearest / (h + TINY)[:, None]
        terms["unsigned_gradient"], derivative = unsigned_gradient(g[off], direction)
        total += weights.eikonal * float(terms["unsigned_gradient"])
        dg[off] = weights.eikonal * derivative
    return Loss({name: float(value) for name, value in terms.items()}, total, df, dg)


def on_the_side_of(g: Array, normals: Array) -> Array:
    """The normals (n, d), each turned to the side that the gradient g (n, d) points to."""
    return normals * (1 - 2 * (_dot(normals, g) < 0))[:, None]


def normal_weight(weights: ObjectiveConfig, progress: float, *, estimated: bool) -> float:
    """Weight of the normals at `progress` of the run: those that were estimated lose it geometrically, since
    towards the end the field itself knows better."""
    if not estimated or not weights.estimated_normals:
        return weights.normals
    return weights.normals * (weights.estimated_normals / weights.normals) ** min(progress, 1.0)


def _functions(array: Array) -> Any:
    """The module, numpy or torch, whose functions work on `array`."""
    return np if isinstance(array, np.ndarray) else sys.modules["torch"]


def _norm(vectors: Array) -> Array:
    return _dot(vectors, vectors) ** 0.5


def _dot(one: Array, other: Array) -> Array:
    """The products (n,) of the rows of two arrays (n, d)."""
    return _functions(one).einsum("nd,nd->n", one, other)
