"""Predicting scans with a shape space: a mesh and a row of errors for each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .crumbs import largest_piece
from .dfaust import FOLDER, placement
from .errors import InputError
from .exports import write_mesh
from .files import make_folder, write_bytes
from .latentfit import EncodeOptions
from .parallel import rank_and_ranks
from .points import PointCloud, as_cloud
from .scansampling import open_table
from .splits import choose, list_scans, read_split, scan_name

if TYPE_CHECKING:
    from .shapespace import Encoding, ShapeSpace
    from .surface import Surface

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
    rank, ranks = rank_and_ranks()
    return dict(list(scans.items())[rank::ranks])


def evaluate_scans(
    space: ShapeSpace,
    scans: Mapping[str, Path],
    out: str | os.PathLike[str],
    options: EncodeOptions | None = None,
    *,
    resolution: int = 192,
    refine_seconds: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """Encode scans in batches and write OUT/NAME.ply in each scan's own frame and units, and OUT/errors.json.

    Of each mesh the largest piece is kept, as in the paper; `kept_share_of_area` says how much of it that is.

    Yields:
        For each scan its errors (see `scan_errors`), or `error`: why it could not be used.
    """
    options, rows = options or EncodeOptions(), []
    names = list(scans)
    for start in range(0, len(names), TOGETHER):
        clouds: dict[str, PointCloud] = {}
        for name in names[start : start + TOGETHER]:
            try:
                clouds[name] = read_scan(scans[name])
            except InputError as problem:
                rows.append({"scan": name, "error": str(problem)})
                yield rows[-1]
        for name, encoding in _encoded(space, clouds, options):
            if isinstance(encoding, str):
                rows.append({"scan": name, "error": encoding})
            else:
                surface = _surface(space, encoding, clouds[name], refine_seconds)
                rows.append(
                    {"scan": name} | _written(Path(out) / f"{name}.ply", surface, clouds[name], resolution)
                )
                rows[-1]["latent"] = [round(float(value), 5) for value in encoding.latent]
            yield rows[-1]
        make_folder(out)
        write_bytes(Path(out) / _table_name(), json.dumps({"scans": rows}, indent=1).encode())


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


def _encoded(
    space: ShapeSpace, clouds: Mapping[str, PointCloud], options: EncodeOptions
) -> list[tuple[str, Encoding | str]]:
    """Encodings by name, or what is wrong with a scan."""
    try:
        return list(zip(clouds, space.encode_all(list(clouds.values()), options) if clouds else [], strict=True))
    except InputError:  # find out whose fault it was
        found: list[tuple[str, Encoding | str]] = []
        for name, cloud in clouds.items():
            try:
                found.append((name, space.encode(cloud, options)))
            except InputError as problem:
                found.append((name, str(problem)))
        return found


def _surface(space: ShapeSpace, encoding: Encoding, cloud: PointCloud, refine_seconds: float) -> Surface:
    surface = space.decode(encoding)
    if refine_seconds > 0:
        from .refinement import refine

        surface = refine(surface, cloud, seconds=refine_seconds)
    return surface


def _written(path: Path, surface: Surface, cloud: PointCloud, resolution: int) -> dict[str, Any]:
    mesh, share = largest_piece(surface.mesh(resolution=resolution))
    make_folder(path.parent)
    write_mesh(path, mesh.vertices, mesh.faces)
    facts = {"watertight": bool(mesh.is_watertight), "kept_share_of_area": share}
    return scan_errors(mesh.vertices, mesh.faces, cloud) | facts


def _table_name() -> str:
    rank, ranks = rank_and_ranks()
    return "errors.json" if ranks == 1 else f"errors_{rank}_of_{ranks}.json"
