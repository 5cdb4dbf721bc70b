"""Where a step looks: points of the cloud, points near it, and points anywhere (section 4 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import Neighbors
from ..config import SamplingConfig
from ..field.field import Array


@dataclass
class Batch:
    """The points of one step, in this order: on the cloud, near it, anywhere; with what is known about them."""

    points: Array
    """(n, d), unit frame."""
    surface: int
    """The first so many rows lie on the cloud."""
    normals: Array | None
    """Unit normals (surface, d), or None."""
    trust: Array | None
    """How far each normal is trusted (surface,), in [0, 1], or None for entirely."""
    target: Array
    """Signed distances (m,) known for the last m rows; empty where the sign is unknown."""
    shapes: tuple[int, ...] | None = None
    """In a shape space: row i belongs to `shapes[i mod k]` of k shapes, in each of the three parts."""
    near_target: Array | None = None
    """Signed distances that the oriented points around tell of the rows near the cloud, where they were asked."""
    nearest: Array | None = None
    """Vector (n - surface, d) from the nearest point of the cloud to each row off it, where it was asked for."""


@dataclass(frozen=True)
class KnownSpace:
    """Places of space whose signed distance is known from an oriented cloud, to draw from."""

    points: np.ndarray
    """(p, d) float32, unit frame."""
    target: np.ndarray
    """(p,) float32: signed distance, negative inside."""
    sure: np.ndarray | None = None
    """(p,) bool: whether the distance is no guess, where that was asked."""

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """`count` of the places and their distances, at random."""
        rows = rng.integers(0, len(self.points), count)
        return self.points[rows], self.target[rows]


@dataclass(frozen=True)
class Known:
    """What is known of the space around a cloud before anything is fitted."""

    near: KnownSpace | None = None
    """Right beside the cloud; None: its places are drawn, and nothing is known of them."""
    far: KnownSpace | None = None
    """Anywhere."""


class CloudSampler:
    """Draws the batches of one cloud. The cloud is shuffled once and read in slices, each sorted along one axis
    order that keeps neighbors together, so a batch is known from its step and a resumed run sees the same."""

    def __init__(
        self,
        points: Float[np.ndarray, "n d"],
        config: SamplingConfig,
        *,
        seed: int,
        normals: Float[np.ndarray, "n d"] | None = None,
        trust: Float[np.ndarray, " n"] | None = None,
        known: Known = Known(),
        near: Neighbors | None = None,
        unsigned: bool = False,
    ) -> None:
        near = near or Neighbors(points)
        self.config = config
        self.known = known
        self.seed = seed
        rng = np.random.default_rng([seed, 0])
        order = rng.permutation(len(points))
        self.points = points[order].astype(np.float32)
        self.tree = Neighbors(self.points) if unsigned else None
        self.normals = None if normals is None else normals[order].astype(np.float32)
        self.trust = None if trust is None else trust[order].astype(np.float32)
        if known.near is None:
            self.sigma = (config.spread * near.spacing(config.neighbor)[order]).astype(np.float32)

    def __call__(self, step: int) -> Batch:
        """The batch of `step`: the same for the same seed and step, whatever came before."""
        rng = np.random.default_rng([self.seed, 1, step])
        count = min(self.config.surface, len(self.points))
        start = step * count % len(self.points)
        whole = start + count <= len(self.points)
        rows = slice(start, start + count) if whole else np.arange(start, start + count) % len(self.points)
        on = self.points[rows]
        near, near_target = self._near(rows, rng)
        anywhere, target = self._anywhere(count, rng)
        off = np.concatenate([near, anywhere])
        nearest = None if self.tree is None else off - self.points[self.tree.at(off)[1]]
        return Batch(
            points=np.concatenate([on, off]),
            surface=count,
            normals=None if self.normals is None else self.normals[rows],
            trust=None if self.trust is None else self.trust[rows],
            target=target,
            near_target=near_target,
            nearest=nearest,
        )

    def _near(self, rows: np.ndarray | slice, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Places near the cloud, and their distances where they are known."""
        if self.known.near is not None:
            return self.known.near.draw(int(self.config.near * self.config.surface), rng)
        points, sigma = self.points[rows], self.sigma[rows]
        if self.config.near != 1:
            chosen = rng.integers(0, len(points), int(self.config.near * len(points)))
            points, sigma = points[chosen], sigma[chosen]
        return points + sigma[:, None] * rng.standard_normal(points.shape, np.float32), None

    def _anywhere(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Places anywhere, and their distances, none where they are unknown."""
        if self.known.far is not None:
            whole = count if self.known.near is None else self.config.surface
            return self.known.far.draw(int(self.config.uniform * whole), rng)
        uniform = rng.random((int(self.config.uniform * count), self.points.shape[1]), np.float32)
        return (2 * uniform - 1) * np.float32(self.config.extent), np.empty(0, np.float32)
