"""The visual hull (Laurentini 1994): what no silhouette excludes, carved on cells that get smaller at its surface.

Each mask is turned once into signed distances to its outline, in pixels; at a place in space the largest of them
over all views, each times depth over focal length, is about the signed distance to the hull, negative inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..cloud.frame import Frame
from ..errors import InputError
from ..machine import threads
from ..mesh.extract import extract_mesh
from .views import View

COARSE = 32
"""Cells along an edge of the cube that the hull is first looked for in."""
ROUNDS = 6
"""Times that the cube is fitted to what was found in it, at most."""
FILLED = 0.85
"""A view whose mask is filled less by the hull contradicts others."""
PROBES = 200, 64
"""Pixels of a mask, and places along the ray of each, by which that is judged."""

CHUNK = 1 << 14
"""Places that are looked at together: as many as stay in the cache."""


class Hull:
    """Signed distances to the visual hull of some views.

    Args:
        views: masks and cameras.

    Raises:
        InputError: the silhouettes have nothing in common; where leaving one view out would help, it is named.
    """

    def __init__(self, views: Sequence[View]) -> None:
        self.views = list(views)
        self.whole = [view.whole for view in views]
        self.outlines = [_outline(view.mask) for view in views]
        self.middle = _middle(self.views)
        """Where single precision is finest."""
        matrices = [view.intrinsics @ view.rotation for view in views]
        self.matrices = np.array(matrices, np.float32)
        offsets = [m @ (self.middle - view.center) for m, view in zip(matrices, views, strict=True)]
        self.offsets = np.array(offsets, np.float32)[:, :, None]
        self.box = self._box()

    def __call__(self, x: Float[np.ndarray, "n 3"], *, enough: float = np.inf) -> Float[np.ndarray, " n"]:
        """Signed distance (n,) to the hull at `x` (n, 3), negative inside, in the cameras' units; about right near
        its surface, and of the right sign anywhere. Where it is above `enough`, any such value is."""
        parts = [x[at : at + CHUNK] for at in range(0, len(x), CHUNK)]
        with ThreadPoolExecutor(threads()) as pool:  # numpy lets others compute meanwhile
            values = list(pool.map(lambda part: self._largest(part, enough), parts))
        return np.concatenate(values) if values else np.empty(0, np.float32)

    def _largest(self, x: np.ndarray, enough: float) -> Float[np.ndarray, " n"]:
        x = self._local(x)
        value, rows = np.full(x.shape[1], -np.inf, np.float32), np.arange(x.shape[1])
        for view in range(len(self.views)):
            value[rows] = found = np.maximum(value[rows], self._cone(view, x))
            still = found <= enough
            if not still.all():
                rows, x = rows[still], x[:, still]
        return value

    def from_view(self, view: int, x: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """What one view says alone: signed distance to the cone of its silhouette; −∞ where it does not look, if
        the object does not end in its picture."""
        return self._cone(view, self._local(x))

    def _local(self, x: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "3 n"]:
        """Places beside the middle."""
        return np.ascontiguousarray((np.asarray(x, np.float64) - self.middle).T, np.float32)

    def _cone(self, view: int, x: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, " n"]:
        """As `from_view`, of places beside the middle."""
        outline = self.outlines[view]
        u, v, depth = self.matrices[view] @ x + self.offsets[view]
        behind = depth <= 0
        scale = 1 / np.where(behind, 1, depth)
        u *= scale
        v *= scale
        height, width = outline.shape
        inside_u, inside_v = u.clip(0, width - 1), v.clip(0, height - 1)
        u -= inside_u
        v -= inside_v
        value = _between(outline, inside_u, inside_v)
        value += np.sqrt(u * u + v * v)
        value *= depth / np.float32(self.views[view].focal)
        unseen = np.float32(np.inf if self.whole[view] else -np.inf)
        value[behind] = unseen
        if not self.whole[view]:
            value[(u != 0) | (v != 0)] = unseen
        return value

    def mesh(self, resolution: int = 192) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
        """The surface of the hull, watertight, in the cameras' frame and units.

        Args:
            resolution: cells along the longest side of its box.
        """
        vertices, faces, _ = extract_mesh(self._finite, self.box, resolution=resolution, limit=0)
        return vertices, faces

    def frame(self, radius: float = 0.9) -> Frame:
        """The frame in which the hull lies around the origin and reaches about to `radius`."""
        vertices, _ = self.mesh(64)
        center = (vertices.min(0) + vertices.max(0)) / 2
        return Frame(center, float(np.linalg.norm(vertices - center, axis=1).max() / radius))

    def doubts(self) -> list[str]:
        """A sentence for each view whose mask the hull does not fill: it, or the others, are wrong; one for all
        where those are many."""
        filled = np.array([self._filled(view) for view in self.views])
        low = np.flatnonzero(filled < FILLED)
        if len(low) > max(2, len(self.views) // 3):
            worst, middle = int(filled.argmin()), np.median(filled)
            return [
                f"the silhouettes contradict each other: together they leave {middle:.0%} of each mask, "
                f"{filled[worst]:.0%} of {self.views[worst].name}; cameras are off, or masks cut the object"
            ]
        return [
            f"{self.views[k].name}: the other silhouettes leave only {filled[k]:.0%} of its mask; "
            "its camera or its mask is off, or those of others"
            for k in low
        ]

    def _filled(self, view: View) -> float:
        """Share of a mask behind which there is something of the hull, by some of its pixels."""
        rng = np.random.default_rng(0)
        radius = float(np.linalg.norm(self.box[1] - self.box[0])) / 2
        rows, columns = np.nonzero(view.mask)
        some = rng.choice(len(rows), min(PROBES[0], len(rows)), replace=False)
        along = view.directions(np.stack([columns[some], rows[some]], 1).astype(float))
        middle = float((self.box.mean(0) - view.center) @ view.rotation[2])
        depth = np.linspace(max(middle - radius, 1e-3 * radius), middle + radius, PROBES[1])
        places = view.center + depth[:, None, None] * along / (along @ view.rotation[2])[:, None]
        margin = 1.5 * (depth[1] - depth[0]) / 2
        least = self(places.reshape(-1, 3), enough=margin).reshape(len(depth), -1).min(0)
        return float((least < margin).mean())

    def _finite(self, x: np.ndarray) -> np.ndarray:
        """The distances; at most an eighth of the box's side, which is also what places have that no view sees."""
        far = float((self.box[1] - self.box[0]).max()) / 8
        value = self(x, enough=far)
        return np.where(np.isfinite(value), np.clip(value, -far, far), far)

    def _box(self) -> Float[np.ndarray, "2 3"]:
        """Lower and upper corner of the hull, with a margin."""
        center, half = self.middle, 0.0
        for view in self.views:
            away = float(np.linalg.norm(center - view.center))
            rows, columns = np.nonzero(view.mask)
            reach = np.hypot(columns - columns.mean(), rows - rows.mean()).max()
            half = max(half, 1.2 * reach * away / view.focal)
        low, high = center - half, center + half
        for _ in range(ROUNDS):
            grid = _Cells(low, high, COARSE)
            kept = self._kept(grid)
            places = grid.centers()[kept]
            before = high - low
            low, high = places.min(0) - 1.5 * grid.step, places.max(0) + 1.5 * grid.step
            if (high - low > 0.7 * before).all():
                break
        return np.stack([low, high])

    def _kept(self, grid: _Cells) -> Bool[np.ndarray, " c"]:
        """The cells that no view excludes.

        Raises:
            InputError: there are none.
        """
        centers = grid.centers()
        reach = 0.5 * float(np.linalg.norm(grid.step))
        value = self(centers, enough=reach)
        kept = (value <= reach) & (value > -np.inf)
        if kept.any():
            return kept
        excluded = np.stack([self.from_view(view, centers) > reach for view in range(len(self.views))])
        alone = excluded[:, excluded.sum(0) == 1].sum(1)
        if alone.max():
            name = self.views[int(alone.argmax())].name
            raise InputError(
                f"{name} sees nothing of what the others see: its camera or its mask is wrong; mend it, or leave "
                "the photograph out"
            )
        raise InputError(
            "the silhouettes have nothing in common: cameras and photographs may be in another order, or "
            "the matrices not world to camera"
        )


@dataclass(frozen=True)
class _Cells:
    """A grid of cells over a box."""

    low: np.ndarray
    high: np.ndarray
    count: int

    @property
    def step(self) -> np.ndarray:
        """Edges of a cell."""
        return (self.high - self.low) / self.count

    def centers(self) -> Float[np.ndarray, "c 3"]:
        """The middles of the cells."""
        axes = [self.low[k] + (np.arange(self.count) + 0.5) * self.step[k] for k in range(3)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def _outline(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Signed distance of each pixel to the outline of a mask, in pixels, negative inside."""
    from scipy.ndimage import distance_transform_edt

    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    return np.where(mask, 0.5 - np.asarray(inside), np.asarray(outside) - 0.5).astype(np.float32)


def _between(
    image: Float[np.ndarray, "h w"], u: Float[np.ndarray, " n"], v: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Bilinear values of an image at columns and rows within it."""
    height, width = image.shape
    left, top = u.astype(np.int32), v.astype(np.int32)
    np.minimum(left, width - 2, out=left)
    np.minimum(top, height - 2, out=top)
    u, v = u - left, v - top
    flat, place = image.ravel(), (top * width + left).astype(np.intp)
    a, b = flat.take(place), flat[1:].take(place)
    c, d = flat[width:].take(place), flat[width + 1 :].take(place)
    a += u * (b - a)
    c += u * (d - c)
    return (a + v * (c - a)).astype(np.float32, copy=False)


def _middle(views: Sequence[View]) -> Float[np.ndarray, " 3"]:
    """The place nearest to all rays through the middles of the masks."""
    system, right = np.zeros((3, 3)), np.zeros(3)
    for view in views:
        rows, columns = np.nonzero(view.mask)
        along = view.directions(np.array([[columns.mean(), rows.mean()]]))[0]
        across = np.eye(3) - np.outer(along, along)
        system += across
        right += across @ view.center
    return np.linalg.lstsq(system, right, rcond=None)[0]
