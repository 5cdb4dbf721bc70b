"""The loss of IDR, one function a term, beside the paper's equations.

Yariv, Kasten, Moran, Galun, Atzmon, Basri, Lipman: Multiview Neural Surface Reconstruction by Disentangling
Geometry and Appearance. NeurIPS 2020. A ray c + t v that meets the surface at x₀ = c + t₀ v is taken to meet it,
as the parameters θ change, at (equation 3)

    x̂(θ) = c + t₀ v − v f(x₀; θ) / (∇f(x₀; θ₀) · v)

whose color is L = M(x̂, n̂, v), n̂ = ∇f/‖∇f‖ (section 3.2). Over the rays P of a step (sections 3.3 and 3.4)

    loss = 1/|P| Σ ‖I − L‖₁  +  ρ/(α|P|) Σ CE(O, sigmoid(−α min_t f))  +  λ E (‖∇f‖ − 1)²

where the first sum is over rays that meet the surface inside the mask O, the second over all others. Everything
depends on the field through f and ∇f at points alone, as in `fit/objective.py`; the eikonal term is the one there.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from ..field.field import Array
from ..fit.objective import Loss, eikonal
from .batches import Poses, RayBatch
from .color import Colors
from .config import PhotoConfig

STEEPEST = 0.1
"""Rays meet the surface at no flatter an angle than that of this cosine, for derivatives: at a contour the place
where a ray meets it is not differentiable."""


def surface_points(
    x: Float[np.ndarray, "n 3"],
    directions: Float[np.ndarray, "n 3"],
    f: Float[np.ndarray, " n"],
    g: Float[np.ndarray, "n 3"],
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Where rays meet the surface, to first order along them (equation 3).

    Args:
        x: places x₀ on the rays, near the surface.
        directions: unit directions v of the rays.
        f, g: value and gradient of the field at x₀.

    Returns:
        x̂ (n, 3), and its derivative by f (n, 3): −v / (∇f · v).
    """
    along = (g * directions).sum(1)
    along = np.where(along > -STEEPEST, -STEEPEST, along)  # a ray that enters goes against the gradient
    slope = -directions / along[:, None]
    return x + slope * f[:, None], slope


def unit_normals(
    g: Float[np.ndarray, "n 3"], dn: Float[np.ndarray, "n 3"] | None = None
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """n̂ = ∇f/‖∇f‖, and for dL/dn̂ also dL/d∇f = (I − n̂n̂ᵀ) dL/dn̂ / ‖∇f‖."""
    length = np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-6)
    n = g / length
    if dn is None:
        return n, np.zeros_like(n)
    return n, (dn - n * (n * dn).sum(1, keepdims=True)) / length


def color_loss(
    colors: Float[np.ndarray, "n 3"], seen: Float[np.ndarray, "n 3"], rays: int
) -> tuple[float, Float[np.ndarray, "n 3"]]:
    """1/|P| Σ ‖I − L‖₁ over the rays that meet the surface inside the mask: the RGB loss of section 3.4.

    Args:
        colors: L, of the network, in [0, 1].
        seen: I, of the photographs.
        rays: |P|, all rays of the step.

    Returns:
        Value and dL/dcolors.
    """
    off = colors - seen
    return float(np.abs(off).sum()) / rays, np.sign(off) / rays


def mask_loss(
    f: Float[np.ndarray, " m"], inside: Bool[np.ndarray, " m"], alpha: float, rays: int
) -> tuple[float, Float[np.ndarray, " m"]]:
    """1/(α|P|) Σ CE(O, S), S = sigmoid(−α min_t f(c + t v)), over all other rays: the mask
    loss of section 3.4, with the differentiable silhouette of section 3.3.

    Args:
        f: least value of the field along each ray.
        inside: O, whether the ray's pixel is inside the mask.
        alpha: α, in 1/length; S becomes the silhouette as it grows.
        rays: |P|, all rays of the step.

    Returns:
        Value and dL/df.
    """
    score = alpha * f
    share = 1 / (1 + np.exp(np.clip(score, -60, 60)))
    wrong = np.where(inside, score, -score)
    entropy = np.maximum(wrong, 0) + np.log1p(np.exp(-np.abs(wrong)))
    return float(entropy.sum()) / (alpha * rays), -(share - inside) / rays


def outside_hull(
    f: Float[np.ndarray, " k"], distance: Float[np.ndarray, " k"]
) -> tuple[float, Float[np.ndarray, " k"]]:
    """Mean max(0, d − f): outside the visual hull the surface is at least as far as the hull.

    Args:
        f: values of the field there.
        distance: d, distances to the hull.

    Returns:
        Value and dL/df.
    """
    short = distance - f
    return float(np.maximum(short, 0).mean()), (short > 0) * (-1.0 / max(len(f), 1))


def by_rays(
    v: Float[np.ndarray, "n 3"], g: Float[np.ndarray, "n 3"], dx: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """(I − g vᵀ/(g·v)) dL/dx̂: how the loss changes as rays are carried along, of which x̂ is the place where they
    meet the surface: what carries x̂ along the ray, or the surface along itself, is made up for.

    Args:
        v: unit directions of the rays.
        g: gradients of the field where they meet the surface.
        dx: dL/dx̂ there.
    """
    along = (g * v).sum(1)
    along = np.where(along > -STEEPEST, -STEEPEST, along)
    return dx - g * ((v * dx).sum(1) / along)[:, None]


def ray_objective(
    f: Array,
    g: Array,
    batch: RayBatch,
    network: Colors,
    config: PhotoConfig,
    share: float,
    poses: Poses | None = None,
) -> Loss:
    """All terms on a batch of rays; the network's own derivatives stay with it, and those of cameras with them.

    Args:
        f: field values (n,) at the points of the batch.
        g: spatial gradients (n, 3).
        batch: the rays.
        network: what gives places their colors.
        config: weights of the terms.
        share: share of the run that is done.
        poses: the cameras, where they are mended.
    """
    assert batch.directions is not None
    assert batch.inside is not None
    assert batch.colors is not None
    seen = batch.colors
    missed = batch.surface + len(batch.inside)
    on, lost = slice(0, batch.surface), slice(batch.surface, missed)
    anywhere, out = slice(missed, len(f) - len(batch.target)), slice(len(f) - len(batch.target), len(f))
    df, dg, terms = np.zeros_like(f), np.zeros_like(g), {}
    x, slope = surface_points(batch.points[on], batch.directions, f[on], g[on])

    def weighted(colors: np.ndarray) -> tuple[float, np.ndarray]:
        value, slopes = color_loss(colors, seen, batch.rays)
        return value, config.color * slopes

    terms["color"], dx, dn = network.loss(x, unit_normals(g[on])[0], batch.directions, weighted)
    df[on] = (dx * slope).sum(1)
    dg[on] = unit_normals(g[on], dn)[1]
    terms["mask"], slopes = mask_loss(f[lost], batch.inside, config.alpha_at(share), batch.rays)
    df[lost] = config.mask * slopes
    if poses is not None and batch.views is not None:
        places = np.concatenate([x, batch.points[lost]])
        p = [by_rays(batch.directions, g[on], dx), g[lost] * df[lost, None]]
        poses.carried(batch.views, places, np.concatenate(p))
    terms["eikonal"], slopes = eikonal(g[anywhere])
    dg[anywhere] = config.eikonal * slopes
    if config.outside:
        terms["outside"], slopes = outside_hull(f[out], batch.target)
        df[out] = config.outside * slopes
    weights = {name: getattr(config, name) for name in terms}
    total = sum(weight * float(terms[name]) for name, weight in weights.items())
    return Loss({name: float(value) for name, value in terms.items()}, total, df, dg)
