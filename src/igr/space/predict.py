"""Predicting scans with a shape space: a mesh and a row of errors for each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..batch import Batch, Row, Table
from ..cloud.pointcloud import PointCloud, as_cloud
from ..errors import FAILURES, InputError, reason
from ..mesh.pieces import largest_piece
from ..mesh.write import write_mesh
from ..scans.batches import open_table
from ..scans.folders import choose, list_scans, read_split, scan_name
from ..scans.preprocess import FOLDER, placement
from ..store.atomic import make_folder
from .encode import EncodeOptions, Encoding

if TYPE_CHECKING:
    from ..surface.surface import Surface
    from .space import ShapeSpace

TOGETHER = 16
"""Scans whose latents are fitted in one batch."""
JUDGED = 20_000
"""Points of a scan that its errors are measured at."""


def scans_of(data: str | os.PathLike[str], split: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """The scans that a path names, by name: one file, or all below a folder of scans or samples.

    Raises:
        InputError: there are none, or the split names missing ones.
    """
    path = Path(data)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_file():
        return {path.stem: path}
    if (path / FOLDER).is_dir():
        path = path / FOLDER
    samples = {scan_name(file.relative_to(path)): file for file in sorted(path.rglob("*.npy"))}
    scans = samples or list_scans(path)
    if split is not None:
        scans, missing = choose(scans, read_split(split))
        if missing:
            raise InputError(f"{split} names {len(missing)} scans that are not in {path}, such as {missing[0]}")
    return scans


def evaluate_scans(
    space: ShapeSpace,
    scans: Mapping[str, Path],
    out: str | os.PathLike[str],
    options: EncodeOptions | None = None,
    *,
    resolution: int = 192,
    refine_seconds: float = 0.0,
    skip: bool = False,
    rank: tuple[int, int] = (0, 1),
) -> Iterator[dict[str, Any]]:
    """Encode scans in batches and write OUT/NAME.ply in each scan's own frame and units, and OUT/errors.json.

    Of each mesh the largest piece is kept, as in the paper; `kept_share_of_area` says how much of it that is.

    Args:
        space: what knows the shapes.
        scans: files by the scans' names.
        out: folder for the meshes and the table.
        options: how the scans are encoded.
        resolution: cells along the longest side of a mesh.
        refine_seconds: then fit each network to the scan's points for so long.
        skip: leave scans alone whose mesh and errors are there, and keep all that the tables in OUT say.
        rank: this process and the number of them; each takes its share of the scans, and has a table of its own.

    Yields:
        For each scan its errors (see `scan_errors`), or `error`: why there is no mesh of it.

    Raises:
        InputError: with `skip`, a table in OUT is damaged.
        OutputError: OUT cannot be written to.
    """
    out = Path(out)
    name = "errors.json" if rank[1] == 1 else f"errors_{rank[0]}_of_{rank[1]}.json"

    def finished(name: str, row: Row) -> Row | None:
        return row if row and (out / f"{name}.ply").is_file() else None

    def work(some: dict[str, Path]) -> Iterator[tuple[str, Row]]:
        for row in _predicted(space, some, out, options or EncodeOptions(), resolution, refine_seconds):
            yield row["scan"], row

    batch = Batch(scans, finished, Table(out / name, "errors*.json", "scan"), skip=skip, rank=rank)
    yield from batch.run(work, together=TOGETHER)


def read_scan(path: Path) -> PointCloud:
    """A scan, or samples of one put back to where the scan was."""
    if path.suffix != ".npy" or not path.with_name(path.stem + ".json").is_file():
        return as_cloud(path)
    with np.errstate(invalid="ignore"):  # NaN is refused below
        table = np.asarray(open_table(path), np.float64)
    center, scale = placement(path)
    d = table.shape[1] if table.shape[1] < 4 else table.shape[1] // 2
    normals = table[:, d:] if table.shape[1] > d else None
    return PointCloud(table[:, :d] * scale + center, normals, name=path.name)


def scan_errors(vertices: np.ndarray, faces: np.ndarray, cloud: PointCloud) -> dict[str, Any]:
    """Distances from the scan's points to the mesh (protocol `surface`, one direction: scan to mesh), in the
    scan's units and as a share of the diagonal of the scan's box."""
    import igl

    rng = np.random.default_rng(0)
    points = cloud.points[rng.permutation(len(cloud.points))[:JUDGED]]
    square = igl.point_mesh_squared_distance(points, np.asarray(vertices, float), np.asarray(faces, np.int64))[0]
    distance, size = np.sqrt(square), float(np.linalg.norm(np.ptp(cloud.points, axis=0)))
    return {
        "mean_to_surface": float(distance.mean()),
        "median_to_surface": float(np.median(distance)),
        "percentile_95_to_surface": float(np.percentile(distance, 95)),
        "largest_to_surface": float(distance.max()),
        "percent_of_size": float(100 * distance.mean() / size),
    }


def _predicted(
    space: ShapeSpace,
    scans: Mapping[str, Path],
    out: Path,
    options: EncodeOptions,
    resolution: int,
    refine_seconds: float,
) -> Iterator[dict[str, Any]]:
    """The rows of scans that are encoded together, their meshes written."""
    clouds: dict[str, PointCloud] = {}
    for name, path in scans.items():
        try:
            clouds[name] = read_scan(path)
        except FAILURES as problem:
            yield {"scan": name, "error": reason(problem)}
    for name, encoding in _encoded(space, clouds, options):
        if isinstance(encoding, str):
            yield {"scan": name, "error": encoding}
            continue
        try:
            surface = _surface(space, encoding, clouds[name], refine_seconds)
            errors = _written(out / f"{name}.ply", surface, clouds[name], resolution)
        except FAILURES as problem:
            yield {"scan": name, "error": reason(problem)}
        else:
            yield {"scan": name} | errors | {"latent": [round(float(value), 5) for value in encoding.latent]}


def _encoded(
    space: ShapeSpace, clouds: Mapping[str, PointCloud], options: EncodeOptions
) -> list[tuple[str, Encoding | str]]:
    """Encodings by name, or what is wrong with a scan."""
    try:
        return list(zip(clouds, space.encode_all(list(clouds.values()), options) if clouds else [], strict=True))
    except FAILURES:  # find out whose fault it was
        found: list[tuple[str, Encoding | str]] = []
        for name, cloud in clouds.items():
            try:
                found.append((name, space.encode(cloud, options)))
            except FAILURES as problem:
                found.append((name, reason(problem)))
        return found


def _surface(space: ShapeSpace, encoding: Encoding, cloud: PointCloud, refine_seconds: float) -> Surface:
    surface = space.decode(encoding)
    if refine_seconds > 0:
        from .refine import refine

        surface = refine(surface, cloud, seconds=refine_seconds)
    return surface


def _written(path: Path, surface: Surface, cloud: PointCloud, resolution: int) -> dict[str, Any]:
    mesh, share = largest_piece(surface.mesh(resolution=resolution))
    make_folder(path.parent)
    write_mesh(path, mesh.vertices, mesh.faces)
    facts = {"watertight": bool(mesh.is_watertight), "kept_share_of_area": share}
    return scan_errors(mesh.vertices, mesh.faces, cloud) | facts
