"""Which triangle a mesh shows at each pixel: a depth buffer in numpy, for pictures without a screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

BATCH = 1 << 22
"""Pairs of a triangle and a pixel that are looked at together: bounds the memory."""


@dataclass(frozen=True)
class Visible:
    """What a picture shows; a row for each pixel that a triangle covers."""

    pixels: Int[np.ndarray, " p"]
    """Row-major number of the pixel."""
    faces: Int[np.ndarray, " p"]
    """The nearest triangle there."""
    weights: Float[np.ndarray, "p 3"]
    """Barycentric coordinates of the pixel's center in it."""


def rasterize(places: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], size: int) -> Visible:
    """The nearest triangle at each pixel of a square picture.

    Args:
        places: vertices as column and row in pixels, and depth; smaller depth hides larger.
        faces: the triangles; both sides are seen.
        size: height and width of the picture.
    """
    corners = places[faces]
    low = np.ceil(corners[..., :2].min(1) - 0.5).clip(0, size).astype(np.int64)
    high = np.floor(corners[..., :2].max(1) - 0.5).clip(-1, size - 1).astype(np.int64)
    spans = (high - low + 1).max(1)
    found = (high >= low).all(1)
    depth = np.full(size * size, np.inf)
    nearest, weights = np.full(size * size, -1), np.zeros((size * size, 3))
    bound = 1
    while found.any() and bound < 2 * spans[found].max():
        group = np.flatnonzero(found & (spans <= bound) & (spans > bound // 2))
        step = np.stack(np.meshgrid(np.arange(bound), np.arange(bound), indexing="ij"), -1).reshape(-1, 2)
        for start in range(0, len(group), max(1, BATCH // len(step))):
            part = group[start : start + max(1, BATCH // len(step))]
            pixels = low[part, None] + step
            share, inside = _barycentric(corners[part], pixels + 0.5)
            inside &= (pixels <= high[part, None]).all(-1)
            triangle, which = np.nonzero(inside)
            column, row = pixels[triangle, which].T
            place, share = row * size + column, share[triangle, which]
            ahead = (share * corners[part[triangle], :, 2]).sum(1)
            np.minimum.at(depth, place, ahead)
            seen = depth[place] == ahead
            nearest[place[seen]], weights[place[seen]] = part[triangle[seen]], share[seen]
        bound *= 2
    covered = np.flatnonzero(nearest >= 0)
    return Visible(covered, nearest[covered], weights[covered])


def _barycentric(corners: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Barycentric coordinates (m, k, 3) of pixels (m, k, 2) in triangles (m, 3, 3), and which lie inside."""
    a, b, c = (corners[:, i, None, :2] for i in range(3))
    area = _cross(b - a, c - a)
    area = np.where(area == 0, np.nan, area)  # seen from its edge: no pixel is inside
    u, v = _cross(b - pixels, c - pixels) / area, _cross(c - pixels, a - pixels) / area
    share = np.stack([u, v, 1 - u - v], -1)
    return share, np.all(share >= -1e-9, axis=-1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
