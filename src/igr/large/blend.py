"""The fields of all blocks as one, by a partition of unity along the planes that the cloud was cut by.

The blocks are the leaves of a k-d tree. At each of its planes the say passes from one side to the other over a
band, by the smoothstep s; that of a block is the product of s and 1 − s over the planes above it. So the shares of
all blocks add up to one everywhere, and each is zero beyond the band around its own box.

A block answers around its points; in the space far from all of them, the coarse fit of the whole does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float, Int

from ..cloud.frame import Frame
from ..errors import InputError
from ..field.beyond import fall
from ..field.field import NumpyField
from ..surface.surface import Surface

BAND = 1 / 48
"""Half the width of a band, as a share of the narrowest block at the plane: about 15 spacings of a block of
500,000 points. Two fields differ by a fraction of a spacing, which is then a slope of less than a hundredth."""
REACH = 1 / 24
"""As a share of the longest side of the box of a block's points: how far beyond it the block alone answers; it has
no say from twice that on. A field is asked within 1.05 of its cube's middle, and was fitted within 1.1."""


@dataclass(frozen=True)
class Cut:
    """A plane of the tree."""

    axis: int
    place: float
    band: float
    """Half the width of its band."""
    below: Cut | int
    above: Cut | int
    """What lies on either side: another plane, or a block."""


class Partition:
    """The shares of blocks that fill a box.

    Args:
        boxes: lower and upper corner of each block (b, 2, 3), the leaves of a k-d tree.
    """

    def __init__(self, boxes: Float[np.ndarray, "b 2 3"]) -> None:
        self.boxes = boxes
        self.margin = np.zeros(len(boxes))
        """How far beyond its box each block has a say, (b,)."""
        self.root = self._cut(np.arange(len(boxes)))

    def __len__(self) -> int:
        return len(self.boxes)

    def shares(
        self, x: Float[np.ndarray, "n 3"]
    ) -> Iterator[tuple[int, Int[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, "m 3"]]]:
        """Each block that has a say at some of the places `x`, in the order of the blocks; the rows of these, its
        share there and the gradient of that."""
        yield from self._below(self.root, x, np.arange(len(x)), np.ones(len(x)), np.zeros((len(x), 3)))

    def near(self, box: Float[np.ndarray, "2 3"]) -> list[int]:
        """The blocks that have a say somewhere in a box."""
        meets = (self.boxes[:, 0] - self.margin[:, None] < box[1]) & (
            self.boxes[:, 1] + self.margin[:, None] > box[0]
        )
        return np.flatnonzero(meets.all(1)).tolist()

    def _cut(self, members: np.ndarray) -> Cut | int:
        """The tree of some blocks: a plane that none of them passes through, and the same on either side."""
        if len(members) == 1:
            return int(members[0])
        low, high = self.boxes[members, 0], self.boxes[members, 1]
        for axis in range(3):
            for place in np.unique(low[:, axis])[1:]:
                below = high[:, axis] <= place
                if (below | (low[:, axis] >= place)).all():
                    beside = members[(low[:, axis] == place) | (high[:, axis] == place)]
                    band = BAND * float((self.boxes[beside, 1, axis] - self.boxes[beside, 0, axis]).min())
                    self.margin[beside] = np.maximum(self.margin[beside], band)
                    return Cut(axis, float(place), band, self._cut(members[below]), self._cut(members[~below]))
        raise ValueError("the boxes are not the leaves of a k-d tree")

    def _below(
        self, node: Cut | int, x: np.ndarray, rows: np.ndarray, share: np.ndarray, slope: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        if len(rows) == 0:
            return
        if isinstance(node, int):
            yield node, rows, share, slope
            return
        across = (x[rows, node.axis] - node.place) / (2 * node.band) + 0.5
        lower, falling = fall(np.maximum(across, 0.0))
        falling = falling / (2 * node.band)
        for child, part, change in ((node.below, lower, falling), (node.above, 1 - lower, -falling)):
            here = part > 0
            turned = slope[here] * part[here, None]
            turned[:, node.axis] += share[here] * change[here]
            yield from self._below(child, x, rows[here], share[here] * part[here], turned)


@dataclass(frozen=True)
class Part:
    """The field of a block in the unit frame of the whole."""

    field: NumpyField
    frame: Frame
    """The way from the unit frame of the whole to that of the block."""
    box: Float[np.ndarray, "2 3"]
    """Of its points."""

    @staticmethod
    def of(surface: Surface, frame: Frame) -> Part:
        """The part that a block's surface is of a whole in that frame."""
        own = surface.frame
        inner = Frame(frame.to_unit(own.center), own.scale / frame.scale)
        box = frame.to_unit(np.array(surface.details["box"]))
        return Part(NumpyField(surface.field, surface.config.network), inner, box)

    def distance_and_gradient(
        self, x: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
        """Signed distance (n,) and gradient (n, 3) at `x`."""
        f, g = self.field.distance_and_gradient(self.frame.to_unit(x))
        return f * self.frame.scale, g

    def distance(self, x: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Signed distance (n,) at `x`."""
        return self.field.distance(self.frame.to_unit(x)) * self.frame.scale

    def say(self, x: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
        """How much the block knows of places (n,): 1 around its points, 0 far from them; and the gradient."""
        beyond = np.maximum(self.box[0] - x, 0) - np.maximum(x - self.box[1], 0)
        away, reach = np.linalg.norm(beyond, axis=1), REACH * float(np.ptp(self.box, axis=0).max())
        known, slope = fall(np.maximum(away / reach - 1, 0))
        return known, -beyond * (slope / (reach * np.maximum(away, 1e-12)))[:, None]


class BlendedField:
    """A field made of those of blocks, for reading, in the unit frame of the whole.

    Args:
        whole: the coarse fit's field.
        partition: the blocks' shares, in the unit frame of the whole.
        part: the field of a block.
    """

    dimension = 3

    def __init__(self, whole: NumpyField, partition: Partition, part: Callable[[int], Part]) -> None:
        self.whole, self.partition, self.part = whole, partition, part

    def array(self, values: np.ndarray) -> np.ndarray:
        """`values` in double precision: each block rounds in its own frame."""
        return np.asarray(values, np.float64)

    def distance(self, x: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Signed distance (n,) at `x` (n, 3)."""
        value = np.zeros(len(x))
        for block, rows, share, _ in self.partition.shares(x):
            part = self.part(block)
            known = part.say(x[rows])[0]
            if (here := known > 0).any():
                value[rows[here]] += (share * known)[here] * part.distance(x[rows[here]])
            if (rest := known < 1).any():
                value[rows[rest]] += (share * (1 - known))[rest] * self.whole.distance(x[rows[rest]])
        return value

    def distance_and_gradient(
        self, x: Float[np.ndarray, "n 3"], *, training: bool = False, shapes: Any = None
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
        """Signed distance (n,) and gradient (n, 3) at `x` (n, 3)."""
        if training:
            self._no_parameters()
        value, gradient = np.zeros(len(x)), np.zeros(x.shape)
        for block, rows, share, slope in self.partition.shares(x):
            part, places = self.part(block), x[rows]
            known, change = part.say(places)
            f, g = np.zeros(len(rows)), np.zeros(places.shape)
            for here, of, sign in ((known > 0, part, 1), (known < 1, self.whole, -1)):
                if here.any():
                    told, turns = of.distance_and_gradient(places[here])
                    much = known[here] if sign > 0 else 1 - known[here]
                    f[here] += much * told
                    g[here] += much[:, None] * turns + sign * told[:, None] * change[here]
            value[rows] += share * f
            gradient[rows] += share[:, None] * g + f[:, None] * slope
        return value, gradient

    def _no_parameters(self, *unused: object, **options: object) -> NoReturn:
        raise InputError(
            "a surface of blocks has no parameters of its own: it is kept as the folder of its blocks"
        )

    state = load_state = backward = update = set_detail = machine = _no_parameters
