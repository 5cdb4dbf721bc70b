"""How well photographs that were kept apart are foretold: silhouettes and colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ..field.field import Field, as_numpy
from ..images.views import View
from .color import Colors
from .rays import Distance, first_hits
from .terms import unit_normals

CHUNK = 1 << 16
"""Rays that are followed together."""


@dataclass(frozen=True, eq=False)
class Foretold:
    """What a fitted field and its colors say that a camera sees."""

    image: Float[np.ndarray, "h w 3"]
    """Colors in [0, 1], black where nothing is met."""
    mask: Bool[np.ndarray, "h w"]
    """Where the surface is met."""

    def psnr(self, view: View) -> float:
        """10 log₁₀ 1/mean square error of the colors inside the photograph's mask, in decibels."""
        off = (self.image - view.image / 255)[view.mask]
        return float(-10 * np.log10(max(float((off * off).mean()), 1e-12)))

    def iou(self, view: View) -> float:
        """Pixels in both masks by those in any."""
        return float((self.mask & view.mask).sum() / (self.mask | view.mask).sum())


def foretold(
    view: View, field: Field, distance: Distance, network: Colors, box: Float[np.ndarray, "2 3"]
) -> Foretold:
    """What the camera of a view sees of a field in a box, unit frame."""
    height, width = view.mask.shape
    rows, columns = np.indices((height, width)).reshape(2, -1)
    image, mask = np.zeros((height * width, 3)), np.zeros(height * width, bool)
    for at in range(0, len(rows), CHUNK):
        part = slice(at, at + CHUNK)
        directions = view.directions(np.stack([columns[part], rows[part]], 1).astype(float))
        origins = np.broadcast_to(view.center, directions.shape)
        found = first_hits(distance, origins, directions, box)
        hit = np.flatnonzero(found.hit)
        x = origins[hit] + found.depth[hit, None] * directions[hit]
        gradient = as_numpy(field.distance_and_gradient(field.array(x))[1])
        mask[at + hit] = True
        image[at + hit] = network.colors(x, unit_normals(gradient)[0], directions[hit]).clip(0, 1)
    return Foretold(image.reshape(height, width, 3), mask.reshape(height, width))


def judged(views: Sequence[View], pictures: Sequence[Foretold]) -> dict[str, float]:
    """Mean PSNR inside the masks and mean IoU of the masks."""
    pairs = list(zip(pictures, views, strict=True))
    return {
        "views": len(pairs),
        "psnr": round(float(np.mean([picture.psnr(view) for picture, view in pairs])), 2),
        "mask_iou": round(float(np.mean([picture.iou(view) for picture, view in pairs])), 4),
    }
