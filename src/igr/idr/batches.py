"""The rays of a step: pixels drawn from all photographs, and where their rays meet the field as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from ..field.field import Field, as_numpy
from ..fit.sampling import Batch, KnownSpace
from ..images.views import View
from .color import Adam
from .rays import first_hits, least_along

BAND = 0.08
"""How far around a mask background is drawn from, as a share of the picture's longer side."""
INSIDE = 0.75
"""Share of the rays that go through masks."""
ANYWHERE, BESIDE, OUTSIDE = 0.5, 0.25, 0.25
"""Places of the eikonal term in the whole box and beside the surface, and places outside the hull, as multiples of
the rays."""
NEAR = 0.02
"""Standard deviation of the distance of places beside the surface."""


@dataclass
class RayBatch(Batch):
    """The points of a step of rays, in this order: where they meet the surface inside their masks (`surface` of
    them), where the others are nearest to it, anywhere, and outside the hull (`target`: distances to it)."""

    directions: Float[np.ndarray, "surface 3"] | None = None
    """Unit directions of the rays that meet the surface."""
    colors: Float[np.ndarray, "surface 3"] | None = None
    """What they see, in [0, 1]."""
    inside: np.ndarray | None = None
    """For each of the others (m,), whether its pixel is inside the mask."""
    rays: int = 0
    """All rays of the step."""
    views: np.ndarray | None = None
    """Which photograph each ray is of (surface + m,), in the order of their points."""


class Poses:
    """Cameras that are mended while the surface is fitted: a small turn and a shift of each (IDR, section 4.2).

    A camera that turns by ω around its center c and moves by τ carries a place x on one of its rays along by
    τ + ω × (x − c). So from the derivatives p of the loss by such places, dL/dτ = Σ p and dL/dω = Σ (x − c) × p.
    All cameras together can move with the surface and nothing changes: the mean turn and shift stay zero.

    Args:
        views: photographs, cameras in the unit frame.
    """

    def __init__(self, views: Sequence[View]) -> None:
        self.given = np.stack([view.center for view in views]), np.stack([view.turn for view in views])
        self.moves = np.zeros((len(views), 6))
        """ω, τ of each."""
        self.adam, self.slopes = Adam([self.moves]), np.zeros_like(self.moves)

    @property
    def centers(self) -> Float[np.ndarray, "k 3"]:
        """Where the photographs were taken from."""
        return self.given[0] + self.moves[:, 3:]

    @property
    def turns(self) -> Float[np.ndarray, "k 3 3"]:
        """See `View.turn`."""
        return Rotation.from_rotvec(self.moves[:, :3]).as_matrix() @ self.given[1]

    def carried(self, views: np.ndarray, x: Float[np.ndarray, "n 3"], p: Float[np.ndarray, "n 3"]) -> None:
        """Take note of the derivatives p of a loss by places x on rays of the views."""
        views = views.astype(np.int64)
        by_turn = np.cross(x - self.centers[views], p)
        self.slopes[:] = 0
        np.add.at(self.slopes, views, np.concatenate([by_turn, p], 1))

    def update(self, rate: float) -> None:
        """One step of Adam with the derivatives of the last `carried`."""
        if self.slopes.any():
            self.adam.step([self.slopes], rate)
            self.moves -= self.moves.mean(0)
            self.slopes[:] = 0

    def told(self, scale: float) -> dict[str, float]:
        """By how much the cameras were turned and shifted on average; the unit frame's length is `scale`."""
        turn, shift = (float(np.linalg.norm(part, axis=1).mean()) for part in np.split(self.moves, 2, axis=1))
        return {"turned_degrees": round(float(np.rad2deg(turn)), 4), "shifted": float(f"{shift * scale:.4g}")}

    def state(self) -> dict[str, np.ndarray]:
        """Copies of turns and shifts with their moments."""
        return self.adam.state()

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take them back."""
        self.adam.load_state(state)


class RaySampler:
    """Draws the rays of a step from photographs, and follows them through the field.

    Pixels at the border of a mask mix colors of object and background, so they only tell the silhouette.

    Args:
        views: photographs, cameras in the unit frame.
        field: what is fitted.
        outside: places outside the hull with their distance to it.
        box: lower and upper corner of where the surface is.
        rays: how many a step.
        seed: of the pixels.
    """

    def __init__(
        self,
        views: Sequence[View],
        field: Field,
        outside: KnownSpace,
        box: Float[np.ndarray, "2 3"],
        *,
        rays: int,
        seed: int,
    ) -> None:
        self.field, self.outside, self.box, self.rays, self.seed = field, outside, box, rays, seed
        self.poses = Poses(views)
        parts = [_pixels(index, view) for index, view in enumerate(views)]
        self.pixels = [
            [np.concatenate(arrays) for arrays in zip(*kind, strict=True)] for kind in zip(*parts, strict=True)
        ]

    def __call__(self, step: int) -> RayBatch:
        """The batch of `step`: the same for the same seed, step and field."""
        rng = np.random.default_rng([self.seed, 10, step])
        mask = np.arange(self.rays) < int(INSIDE * self.rays)
        counts = int(mask.sum()), int((~mask).sum())
        drawn = []
        for arrays, count in zip(self.pixels, counts, strict=True):
            rows = rng.integers(0, len(arrays[0]), count)
            drawn.append([array[rows] for array in arrays])
        view, pixel, color, sure = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
        origins = self.poses.centers[view]
        directions = np.einsum("nij,nj->ni", self.poses.turns[view], np.column_stack([pixel, np.ones(len(pixel))]))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        shift = rng.random(self.rays)
        found = first_hits(self.distance, origins, directions, self.box, shift=shift)
        ghosts = found.hit & ~mask  # rays that should have missed count by how deep they are inside
        found.depth[ghosts] = least_along(
            self.distance, origins[ghosts], directions[ghosts], self.box, shift[ghosts]
        )
        x = origins + found.depth[:, None] * directions
        shown, others = found.hit & mask & sure, ~(found.hit & mask)
        anywhere = rng.uniform(self.box[0], self.box[1], (int(ANYWHERE * self.rays), 3))
        beside = x[found.hit][: int(BESIDE * self.rays)]
        beside = beside + rng.normal(0, NEAR, beside.shape)
        far, target = self.outside.draw(int(OUTSIDE * self.rays), rng)
        return RayBatch(
            points=np.concatenate([x[shown], x[others], anywhere, beside, far]).astype(np.float32),
            surface=int(shown.sum()),
            normals=None,
            trust=None,
            target=target,
            directions=directions[shown].astype(np.float32),
            colors=color[shown].astype(np.float32) / 255,
            inside=mask[others],
            rays=self.rays,
            views=np.concatenate([view[shown], view[others]]),
        )

    def distance(self, x: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """The field (n,) at `x` (n, 3)."""
        return as_numpy(self.field.distance(self.field.array(x)))


def _pixels(index: int, view: View) -> list[list[np.ndarray]]:
    """View, pixel (column, row), color, and whether it is far from the border: of the pixels in a mask, and of
    those in the band around it."""
    from scipy.ndimage import binary_erosion, distance_transform_edt

    sure = binary_erosion(view.mask, np.ones((3, 3)), border_value=1)
    band = np.asarray(distance_transform_edt(~view.mask)) <= BAND * max(view.mask.shape)
    found = []
    for chosen in (view.mask, band & ~view.mask):
        rows, columns = np.nonzero(chosen)
        pixels = np.stack([columns, rows], 1).astype(np.int32)
        found.append([np.full(len(rows), index, np.int32), pixels, view.image[rows, columns], sure[rows, columns]])
    return found
