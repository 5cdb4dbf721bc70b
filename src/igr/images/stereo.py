"""Where photographs agree: depths by plane sweeps (Collins 1996), which see into hollows that no silhouette shows.

For each view planes parallel to its picture are swept through the hull; on each, the pictures of its neighbors are
laid over its own and compared in windows, by their normalized correlation, which light does not change. A pixel's
depth is the plane on which they agree best, if other views' depths confirm it. What all of them together say of
space is found in `fusion.py`: a start for the fit, which otherwise would have to dig a bowl out of its lid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .hull import Hull
from .views import View

LONGEST = 96
"""Pixels along the longer side of the pictures that are compared."""
PLANES = 48
"""Depths that are tried."""
NEIGHBORS = 5
"""Views that each is compared with."""
BEST = 2
"""So many of them must agree: from the others the place may be hidden."""
WINDOW = 5
"""Height and width of the windows, in pixels."""
ALIKE = 0.7
"""Correlation from which on windows show the same."""
APART = 8.0, 70.0
"""Angles between views that can be compared, in degrees: closer ones tell no depth, others show something else."""
FLAT = 2e-4
"""Variance of colors in [0, 1] below which a window has no texture."""


@dataclass(frozen=True, eq=False)
class DepthMap:
    """What one view sees how far away."""

    view: View
    """The view, reduced."""
    depth: Float[np.ndarray, "h w"]
    """Depth along the camera's axis; NaN where it is not known."""
    step: float
    """Distance between two planes."""


def depth_maps(views: Sequence[View], hull: Hull) -> list[DepthMap]:
    """The confirmed depths of each view.

    Args:
        views: photographs.
        hull: their hull.
    """
    small = [view.reduced(LONGEST) for view in views]
    maps = [_swept(index, small, hull.box) for index in range(len(views))]
    return [_confirmed(index, maps) for index in range(len(views))]


def looked_up(found: DepthMap, x: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """How far in front of what a view sees places are; −∞ where it is not known."""
    pixel, depth = found.view.seen_at(x)
    height, width = found.depth.shape
    within = (pixel > -0.5).all(1) & (pixel[:, 0] < width - 0.5) & (pixel[:, 1] < height - 0.5)
    column, row = np.where(within[:, None], pixel, 0).round().astype(np.int64).T
    ahead = found.depth[row, column] - depth
    return np.where(within & np.isfinite(ahead), ahead, -np.inf)


def _neighbors(index: int, views: Sequence[View], middle: np.ndarray) -> list[View]:
    """The views that one can be compared with, the closest first."""
    toward = np.stack([view.center - middle for view in views])
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    angle = np.rad2deg(np.arccos(np.clip(toward @ toward[index], -1, 1)))
    order = [k for k in np.argsort(angle) if APART[0] <= angle[k] <= APART[1]]
    return [views[k] for k in order[:NEIGHBORS]]


def _swept(index: int, views: Sequence[View], box: Float[np.ndarray, "2 3"]) -> DepthMap:
    """The depths at which a view and its neighbors agree best, NaN where they do not."""
    view = views[index]
    corners = np.stack(np.meshgrid(*box.T, indexing="ij"), -1).reshape(-1, 3)
    depths = (corners - view.center) @ view.rotation[2]
    planes = np.linspace(max(depths.min(), 1e-3 * depths.max()), depths.max(), PLANES)
    depth = np.full(view.mask.shape, np.nan)
    neighbors = _neighbors(index, views, box.mean(0))
    found = DepthMap(view, depth, float(planes[1] - planes[0]))
    if len(neighbors) < BEST:
        return found
    (top, bottom), (left, right) = (np.flatnonzero(view.mask.any(axis=k))[[0, -1]].tolist() for k in (1, 0))
    crop = slice(max(top - 2, 0), bottom + 3), slice(max(left - 2, 0), right + 3)
    own, mask = _channels(view.image[crop]), view.mask[crop]
    across, down = np.meshgrid(np.arange(view.mask.shape[1]), np.arange(view.mask.shape[0]))
    along = view.directions(np.stack([across[crop], down[crop]], -1).reshape(-1, 2).astype(float))
    along /= (along @ view.rotation[2])[:, None]
    laid = [_Laid(other, view.center, along, mask.shape) for other in neighbors]
    scores = np.full((PLANES, *mask.shape), -1.0, np.float32)
    for plane, at in enumerate(planes):
        alike = [_correlation(own, mask, *other(at)) for other in laid]
        scores[plane] = np.sort(alike, axis=0)[-BEST:].mean(0)
    best = np.argmax(scores, axis=0)
    sure = mask & (np.take_along_axis(scores, best[None], 0)[0] > ALIKE) & (best > 0) & (best < PLANES - 1)
    around = [(best + k).clip(0, PLANES - 1)[None] for k in (-1, 0, 1)]
    below, peak, above = (np.take_along_axis(scores, at, 0)[0] for at in around)
    bend = np.maximum(2 * peak - below - above, 1e-6)
    place = best + np.clip(0.5 * (above - below) / bend, -0.5, 0.5)
    depth[crop] = np.where(sure, planes[0] + place * found.step, np.nan)
    return found


class _Laid:
    """Another view's picture, laid over that of a view on any plane parallel to it.

    Args:
        other: the other view.
        center: of the view's camera.
        along: the view's rays (n, 3), one unit long along its axis.
        shape: height and width of its picture.
    """

    def __init__(self, other: View, center: np.ndarray, along: np.ndarray, shape: tuple[int, ...]) -> None:
        matrix = other.intrinsics @ other.rotation
        self.along = np.ascontiguousarray((along @ matrix.T).T, np.float32)
        self.offset = (matrix @ (center - other.center)).astype(np.float32)[:, None]
        self.shape, self.mask = shape, other.mask
        self.flat = np.where(other.mask, _channels(other.image), 0).reshape(3, -1)

    def __call__(self, depth: float) -> tuple[Float[np.ndarray, "3 h w"], Float[np.ndarray, "h w"]]:
        """What the other view shows of the plane at a depth, and where it shows the object."""
        height, width = self.mask.shape
        u, v, w = np.float32(depth) * self.along + self.offset
        ahead = w > 0
        w = np.where(ahead, w, 1)
        u, v = u / w, v / w
        within = ahead & (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
        u, v = np.where(within, u, 0), np.where(within, v, 0)
        left, upper = np.minimum(u.astype(np.int32), width - 2), np.minimum(v.astype(np.int32), height - 2)
        place = upper * width + left
        u, v = u - left, v - upper
        top = self.flat[:, place] * (1 - u) + self.flat[:, place + 1] * u
        bottom = self.flat[:, place + width] * (1 - u) + self.flat[:, place + width + 1] * u
        shown = within & self.mask.ravel()[place]
        return (top * (1 - v) + bottom * v).reshape(3, *self.shape), shown.reshape(self.shape).astype(np.float32)


def _channels(image: np.ndarray) -> Float[np.ndarray, "3 h w"]:
    """Red, green and blue in [0, 1], one after the other."""
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / 255


def _correlation(
    own: Float[np.ndarray, "3 h w"],
    mask: np.ndarray,
    other: Float[np.ndarray, "3 h w"],
    shown: Float[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w"]:
    """Normalized correlation of the windows of two pictures, where both show the object; −1 where they do not."""
    from scipy.ndimage import uniform_filter

    weight = shown * mask
    mine, theirs = own * weight, other * weight
    products = [a[0] * b[0] + a[1] * b[1] + a[2] * b[2] for a, b in ((mine, own), (theirs, other), (mine, other))]
    layers = np.concatenate([weight[None], mine, theirs, products])
    means = uniform_filter(layers, (WINDOW, WINDOW), mode="constant", axes=(1, 2))  # pyright: ignore
    share = np.maximum(means[0], 1e-6)
    a, b, (aa, bb, ab) = means[1:4] / share, means[4:7] / share, means[7:] / share
    spread_a, spread_b = (m - (c * c).sum(0) for m, c in ((aa, a), (bb, b)))
    found = (ab - (a * b).sum(0)) / np.sqrt(np.maximum(spread_a * spread_b, 1e-12))
    good = (weight > 0) & (share > 0.4) & (spread_a > FLAT) & (spread_b > FLAT)
    return np.where(good, found, -1.0)


def _confirmed(index: int, maps: Sequence[DepthMap]) -> DepthMap:
    """The depths of a view that those of another are alike to, and none sees through by much."""
    own = maps[index]
    rows, columns = np.nonzero(np.isfinite(own.depth))
    depth = np.full_like(own.depth, np.nan)
    if len(rows):
        along = own.view.directions(np.stack([columns, rows], 1).astype(float))
        along /= (along @ own.view.rotation[2])[:, None]
        x = own.view.center + own.depth[rows, columns, None] * along
        near, through = np.zeros(len(rows), int), np.zeros(len(rows), int)
        for other in (*maps[:index], *maps[index + 1 :]):
            ahead = looked_up(other, x)
            near += np.abs(ahead) < 1.5 * other.step
            through += ahead > 4 * other.step
        kept = (near >= 1) & (near >= through)
        depth[rows[kept], columns[kept]] = own.depth[rows[kept], columns[kept]]
    return DepthMap(own.view, depth, own.step)
