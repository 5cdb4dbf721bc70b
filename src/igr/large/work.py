"""A large cloud's folder: what is done already, and what one block needs to be fitted or meshed.

    points/            the cloud, sorted into blocks (`blocks.py`)
    whole.igr          the coarse fit of a sample of all
    plan.json          what holds for every block: configuration, lattice, where the surface ends
    block-00007.igr    the field of a block
    piece-00007.igr    its triangles

Every file is written whole, so a folder can be continued wherever it was left; and what a block comes out as
depends on nothing but its own points, those of its neighbors and the plan, so on no order.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..cloud.neighbors import Neighbors
from ..cloud.pointcloud import PointCloud
from ..config import Config
from ..field.field import NumpyField
from ..mesh.border import Edge
from ..mesh.pieces import connected
from ..mesh.triangles import face_areas
from ..settings import parse_json
from ..store.atomic import read_small_text, write_bytes
from ..store.tensors import read_tensors, write_tensors
from ..surface.surface import Surface
from ..tiles.blocks import Blocks, opened
from .blend import BlendedField, Part, Partition
from .block import Whole, fit_block
from .lattice import Lattice, Piece, asked, piece_of, rim_of

SUPPORT = 250_000
"""Points of a block that say where its surface ends, about."""
KEPT = 16
"""Fields that are kept in memory, of 50 to 200 MB: one block is near about nine."""
FORMAT = "igr piece 1"
"""First entry of a piece's metadata."""


@dataclass(frozen=True)
class Plan:
    """What holds for every block."""

    config: str
    """As JSON."""
    normals: str
    """What the cloud's normals are used for, as the coarse fit found."""
    spacing: float
    """Of the points of the coarse fit, in the scan's units."""
    step: float | None
    """Of the lattice of the mesh, whose origin is that of the unit frame of the coarse fit, in that frame; None
    until a first field tells it (`Work.find_step`)."""
    is_open: bool
    holes: float | None = None
    trim: float | None = None
    """In the scan's units."""
    attributes: bool = True

    def to_json(self) -> str:
        """This plan as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1)


class Work:
    """The folder of a large cloud.

    Args:
        folder: that of the files above.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder, self._plan = Path(folder), None

    def file(self, kind: str, block: int) -> Path:
        """Where the field ("block") or the triangles ("piece") of a block are kept."""
        return self.folder / f"{kind}-{block:05d}.igr"

    @cached_property
    def blocks(self) -> Blocks:
        """The sorted points."""
        return opened(self.folder / "points")

    @cached_property
    def whole(self) -> Surface:
        """The coarse fit."""
        return Surface.load(self.folder / "whole.igr")

    @property
    def plan(self) -> Plan:
        """What holds for every block; read anew until it is complete."""
        if self._plan is None or self._plan.step is None:
            path = self.folder / "plan.json"
            self._plan = Plan(**parse_json(read_small_text(path), path))
        return self._plan

    @plan.setter
    def plan(self, plan: Plan) -> None:
        write_bytes(self.folder / "plan.json", plan.to_json().encode())

    @cached_property
    def pilot(self) -> int:
        """The block of the middle size, whose field tells how fine all are meshed."""
        return int(np.argsort(self.blocks.counts, kind="stable")[len(self.blocks) // 2])

    def find_step(self) -> bool:
        """Complete the plan, if the field is there that tells the lattice's step; whether it is complete."""
        plan = self.plan
        if plan.step is None and self.file("block", self.pilot).exists():
            cell = self.surface_of(self.pilot).details["cell"]
            self.plan = plan = dataclasses.replace(plan, step=cell / self.whole.frame.scale)
        return plan.step is not None

    @cached_property
    def partition(self) -> Partition:
        """The blocks in the unit frame of the coarse fit; the outermost reach as far as its box does."""
        boxes = self.whole.frame.to_unit(self.blocks.boxes)
        low, high, box = boxes[:, 0].min(0), boxes[:, 1].max(0), self.whole.box
        boxes[:, 0] = np.where(boxes[:, 0] == low, np.minimum(low, box[0]), boxes[:, 0])
        boxes[:, 1] = np.where(boxes[:, 1] == high, np.maximum(high, box[1]), boxes[:, 1])
        return Partition(boxes)

    @cached_property
    def coarse(self) -> NumpyField:
        """The field of the coarse fit, asked by every block: what lies beyond its ball is found once."""
        return NumpyField(self.whole.field, self.whole.config.network, self.whole.near)

    @cached_property
    def lattice(self) -> Lattice:
        """The cells of the mesh, in the unit frame of the coarse fit."""
        assert self.plan.step is not None
        return Lattice(np.zeros(3), self.plan.step)

    @cached_property
    def rim(self) -> int:
        """Cells around those of a block that are looked at for its triangles."""
        holes = self.plan.holes if self.plan.is_open else None
        return rim_of(self.lattice, holes and holes / self.whole.frame.scale)

    @cached_property
    def field(self) -> BlendedField:
        """The field of all blocks; each is read when it is first asked for, and the last few are kept."""
        return BlendedField(self.coarse, self.partition, self._part)

    def _part(self, block: int) -> Part:
        return Part.of(self.surface_of(block), self.whole.frame)

    @lru_cache(maxsize=KEPT)  # noqa: B019 (a work lives as long as its process)
    def surface_of(self, block: int) -> Surface:
        """The fitted field of a block."""
        return Surface.load(self.file("block", block))

    def cloud_of(self, block: int) -> PointCloud:
        """The points of a block, then those around that belong to its neighbors: twice as far as it has a say."""
        return self.blocks.around(block, 2 * float(self.partition.margin[block]) * self.whole.frame.scale)

    def fit(self, block: int) -> None:
        """Fit the field of a block, and keep it."""
        cloud, own, plan = self.cloud_of(block), int(self.blocks.counts[block]), self.plan
        whole, config = Whole(self.whole, self.coarse, plan.spacing), Config.from_json(plan.config)
        surface = fit_block(cloud, own, whole, config, normals=plan.normals)
        write_bytes(self.file("block", block), surface.to_bytes())

    def mesh(self, block: int) -> None:
        """Make the triangles of a block, and keep them; the fields of all blocks near it must be there."""
        partition = self.partition
        lattice = self.lattice
        whole = np.stack([partition.boxes[:, 0].min(0), partition.boxes[:, 1].max(0)])
        field = NumpyField(self.field, self.whole.config.network)  # type: ignore[arg-type]
        piece = piece_of(field, lattice, partition.boxes[block], whole, self._edge(block))
        arrays = {} if piece is None else self._told(block, piece)
        write_tensors(self.file("piece", block), arrays, {"format": FORMAT})

    def _told(self, block: int, piece: Piece) -> dict[str, np.ndarray]:
        """What is kept of the triangles of a block, in the scan's frame: for each part that hangs together its
        area, and the samples nearest to it; and the names of vertices that other blocks may share."""
        places, faces = self.whole.frame.to_input(piece.vertices), piece.faces.astype(np.int32)
        label = connected(np.concatenate([faces[:, :2], faces[:, 1:]]), len(places)).astype(np.int32)
        rows, of = np.flatnonzero(piece.shared), label[faces[:, 0]]
        count = int(label.max()) + 1
        samples, nearest = self._samples(block), np.zeros(0, np.int64)
        if count > 1 and len(samples):
            nearest = Neighbors(places[faces].mean(1)).at(samples)[1]
        arrays = {"vertices": places, "faces": faces, "own": piece.own, "label": label}
        arrays |= {"shared": rows.astype(np.int32), "names": piece.names[rows]}
        arrays |= {"area": np.bincount(of, face_areas(places, faces), count)}
        arrays |= {"support": np.bincount(of[nearest], minlength=count) if count > 1 else np.array([len(samples)])}
        surface = self.surface_of(block)
        arrays["confidence"] = surface.confidence(places).astype(np.float32)
        told = surface.attributes(places) if self.plan.attributes else {}
        return arrays | {f"attribute.{name}": values for name, values in told.items()}

    def piece(self, block: int) -> dict[str, np.ndarray]:
        """What `mesh` kept."""
        return read_tensors(self.file("piece", block))[0]

    def missing(self, kind: str) -> list[int]:
        """The blocks whose field ("block") or triangles ("piece") are not there."""
        return [block for block in range(len(self.blocks)) if not self.file(kind, block).exists()]

    @cached_property
    def asks(self) -> list[list[int]]:
        """Of each block those whose fields are asked for its triangles."""
        boxes = [asked(self.lattice, box, self.rim) for box in self.partition.boxes]
        return [self.partition.near(box) for box in boxes]

    def needed(self, pieces: list[int]) -> list[int]:
        """The blocks whose fields these pieces need and that are not there; where the plan is not complete, all
        blocks, first the one that completes it."""
        if not self.find_step():
            return sorted(self.missing("block"), key=lambda block: block != self.pilot)
        near = {block for piece in pieces for block in self.asks[piece]}
        return [block for block in sorted(near) if not self.file("block", block).exists()]

    def forget(self, block: int) -> None:
        """Remove the fields that the triangles of a block came from and that no block still to be meshed asks."""
        left = {other for piece in self.missing("piece") for other in self.asks[piece]}
        for other in set(self.asks[block]) - left:
            self.file("block", other).unlink(missing_ok=True)

    def _edge(self, block: int) -> Edge | None:
        plan, frame = self.plan, self.whole.frame
        if not plan.is_open:
            return None
        holes, trim = (None if length is None else length / frame.scale for length in (plan.holes, plan.trim))
        wide = self.rim * self.lattice.step * frame.scale
        samples = self._samples(block, 2 * wide)  # so that all is known of what lies in the rim
        return Edge(Neighbors(frame.to_unit(samples)), holes, trim)

    def _samples(self, block: int, rim: float = 0.0) -> Float[np.ndarray, "s 3"]:
        """Points of a block, and of those as far around it as `rim`, that say where its surface ends: the same of
        each block, whoever asks."""
        points = (self.blocks.around(block, rim) if rim else self.blocks.points(block)).points
        share = SUPPORT / float(np.median(self.blocks.counts))
        return points if share >= 1 else points[_drawn(points, share)]


def _drawn(points: Float[np.ndarray, "n 3"], share: float) -> np.ndarray:
    """A share of points, each chosen by its own coordinates alone."""
    bits = np.ascontiguousarray(points).view(np.uint64)
    mixed = bits[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ bits[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed = (mixed ^ bits[:, 2] * np.uint64(0x165667B19E3779F9)) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xC2B2AE3D27D4EB4F) >> np.uint64(40) < share * 2**24
