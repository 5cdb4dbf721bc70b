"""Point clouds: what a user gives, read, checked and cleaned once, in the frame and units it came in.

What cannot be used is refused with one sentence; what can be mended is mended and noted.
"""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..errors import InputError, readable, usual_arithmetic
from ..formats.arrays import array_table
from ..formats.rows import plain_table
from ..formats.table import Table, rows_of
from .clean import MINIMUM_POINTS, check_extent, clean, many
from .frame import sides
from .neighbors import Neighbors
from .read import read_table
from .select import checked_box, in_box, one_a_cell
from .shown import Shown


@dataclass(frozen=True, eq=False)
class PointCloud(Shown):
    """Points of a surface in space or an outline in the plane, and what is known of each; see `as_cloud`."""

    points: Float[np.ndarray, "n d"]
    """Positions in float64, d = 2 or 3, in the input's own frame and units; finite."""
    normals: Float[np.ndarray, "n d"] | None = None
    """Directions in float64, of unit length, or None."""
    name: str = "cloud"
    """File name, or `array`, for messages."""
    notes: tuple[str, ...] = ()
    """What was noticed and done on reading, a phrase each, for the user."""
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What else is known of each point, by name, (n,) or (n, k): `colors` as uint8 (n, 3), sRGB; `intensity`, …"""
    viewpoints: Float[np.ndarray, "k d"] | None = None
    """Positions of scanners or cameras that saw the points, in their frame and units; None where not known."""
    views: Int[np.ndarray, " n"] | None = None
    """Row of `viewpoints` from which each point was seen, -1 where that is not known; None for all unknown."""
    checked: int | None = field(default=None, init=False, repr=False)
    """Checksum of what `as_cloud` has checked, so that what was not changed since is not checked again."""

    def __post_init__(self) -> None:
        """Refuse arrays that break the promises above; `as_cloud` is the way to mend them."""
        points, normals = self.points, self.normals
        if not all(isinstance(array, np.ndarray) for array in (points, points if normals is None else normals)):
            raise InputError(f"{self.name}: a cloud is made of numpy arrays, which igr.as_cloud makes of others.")
        if points.ndim != 2 or points.shape[1] not in (2, 3) or points.dtype != np.float64:
            raise InputError(
                f"{self.name}: points of shape {points.shape} and type {points.dtype} are no cloud; "
                "float64 (n, 2) or (n, 3) is needed, which igr.as_cloud makes."
            )
        if not np.isfinite(points).all():
            raise InputError(f"{self.name}: points hold NaN or infinity; igr.as_cloud removes such rows.")
        if normals is not None and (
            normals.shape != points.shape or not (np.abs(np.linalg.norm(normals, axis=1) - 1) < 1e-4).all()
        ):
            raise InputError(f"{self.name}: normals must be of unit length, one for each point.")
        self._check_attributes()

    def _check_attributes(self) -> None:
        for name, values in self.attributes.items():
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf" or values.ndim not in (1, 2):
                raise InputError(f"{self.name}: attribute {name!r} is no array of numbers (n,) or (n, k).")
            if len(values) != len(self.points):
                held, needed = many(len(values), "row"), many(len(self.points), "point")
                raise InputError(f"{self.name}: attribute {name!r} has {held} for {needed}; give one a point.")
        colors = self.attributes.get("colors")
        if colors is not None and (colors.dtype != np.uint8 or colors.shape != (len(self.points), 3)):
            raise InputError(
                f"{self.name}: colors of shape {colors.shape} and type {colors.dtype}; uint8 (n, 3), red, green, "
                "blue, is needed."
            )
        if self.viewpoints is None:
            return
        places, views, dimension = self.viewpoints, self.views, self.points.shape[1]
        if not (places.shape[1:] == (dimension,) and len(places) and (np.abs(places) < 1e100).all()):
            raise InputError(f"{self.name}: viewpoints of shape {places.shape}; finite (k, {dimension}) needed.")
        if views is not None and not (
            views.shape == (len(self.points),)
            and views.dtype.kind == "i"
            and views.min(initial=-1) >= -1
            and views.max(initial=-1) < len(places)
        ):
            raise InputError(f"{self.name}: views must be the row of a viewpoint for each point, or -1.")

    @property
    def dimension(self) -> int:
        """2 in the plane, 3 in space."""
        return self.points.shape[1]

    def __len__(self) -> int:
        return len(self.points)

    def lines_of_sight(self) -> Float[np.ndarray, "n d"] | None:
        """Unit vectors from each point to the viewpoint that saw it, to the nearest one where that is not known;
        None without viewpoints."""
        if self.viewpoints is None:
            return None
        views = np.full(len(self), -1) if self.views is None else self.views.copy()
        unknown = views < 0
        if unknown.any():
            views[unknown] = Neighbors(self.viewpoints).at(self.points[unknown])[1]
        sight = self.viewpoints[views] - self.points
        return sight / np.maximum(np.linalg.norm(sight, axis=1, keepdims=True), 1e-300)

    def select(self, keep: np.ndarray) -> PointCloud:
        """Some of the points with all that is known of them, by a mask (n,) or by number."""
        return replace(self, **rows_of(self, keep))

    def crop(self, *box: float) -> PointCloud:
        """The points in a box: xmin ymin zmin xmax ymax zmax, in the plane xmin ymin xmax ymax."""
        low, high = checked_box(box, self.dimension)
        own = " ".join(f"{number:.8g}" for number in (*self.points.min(axis=0), *self.points.max(axis=0)))
        return self._part(in_box(self.points, np.stack([low, high])), "the crop", f"the cloud's own box is {own}")

    def thin(self, size: float) -> PointCloud:
        """One point for each cell of a grid of this size, the one nearest to the mean of those in the cell."""
        if not 0 < size < np.inf:
            raise InputError(f"cells of {size:g} make no grid; give a positive size in the units of the cloud")
        return self._part(one_a_cell(self.points, size), f"one point a cell of {size:g}", "give a smaller size")

    def of_classes(self, *classes: int) -> PointCloud:
        """The points whose attribute `classification` is one of these; 2 is ground in las, 6 building."""
        given = self.attributes.get("classification")
        if given is None:
            raise InputError(f"{self.name} has no attribute 'classification' to choose classes by.")
        held = ", ".join(
            f"{value} ({count:,})" for value, count in zip(*np.unique(given, return_counts=True), strict=True)
        )
        what = f"class{'' if len(classes) == 1 else 'es'} {', '.join(map(str, classes))}"
        return self._part(np.isin(given, classes), f"choosing {what}", f"its classes are {held}")

    def _part(self, keep: np.ndarray, what: str, advice: str) -> PointCloud:
        part = self.select(keep)
        if len(part) < MINIMUM_POINTS:
            left = f"{what} leaves {many(len(part), 'point')} of {len(self):,}"
            raise InputError(f"{self.name}: {left}, at least {MINIMUM_POINTS} are needed; {advice}.")
        return replace(part, notes=(*self.notes, f"{what} leaves {len(part):,} of {many(len(self), 'point')}"))

    def __repr__(self) -> str:
        kind = "points" if self.normals is None else "points with normals"
        size = sides(self.points) if len(self) else "empty"
        return f"<igr.PointCloud {readable(self.name)}: {len(self):,} {kind}, box {size}>"


def read_points(path: str | os.PathLike, *, columns: str | None = None) -> PointCloud:
    """A point cloud from a file, checked and cleaned.

    Args:
        path: text of any suffix with a point on a line, `.npy`, `.npz` (`points`, `normals`), `.ply`, ptx, las,
            laz, e57, pcd, a mesh file (obj, off, stl, glb, gltf: its vertices), or the folder of a sparse model of
            COLMAP.
        columns: what the columns of text or of a plain array are, such as "x y z intensity", `_` for one to leave
            aside. If not given, it is what the file says, else what the numbers can be: three columns of unit
            vectors are normals, three of whole numbers up to 255 colors; a note says what was decided.

    Raises:
        InputError: the file cannot be read, or its points cannot be used; see `as_cloud`.
    """
    return _checked(read_table(path, columns), os.path.basename(os.path.abspath(path)))


@usual_arithmetic
def as_cloud(
    source: Any, normals: Any = None, *, attributes: Mapping[str, Any] | None = None, viewpoints: Any = None
) -> PointCloud:
    """Whatever holds points, as a checked and cleaned cloud.

    Removed, with a note: rows with NaN or infinity, exact duplicates, and up to 5 % of points whose normal has
    no length. Normals are brought to unit length.

    Args:
        source: a path, a `PointCloud`, or an array or tensor of 2 to 12 columns: positions (n, 2|3), perhaps with
            normals, colors (to 255 or 1) and an intensity, told apart by what their numbers can be; or an array of
            named fields, or (h, w, 3), without the pixels that are 0 or NaN.
        normals: directions for an array of points, of the same shape; any length.
        attributes: what else is known of each point of an array, by name, (n,) or (n, k); `colors` (n, 3) as
            integers from 0 to 255 or as fractions from 0 to 1.
        viewpoints: positions (k, d) or (d,) of the scanners or cameras that saw the points, of any source, in its
            frame and units; a third coordinate says nothing in the plane.

    Returns:
        The cloud, in the frame and units of the source; one that came from here unchanged is handed through.

    Raises:
        InputError: not such an array; fewer than 10 different points; all on one line or in one plane;
            coordinates too large, or too far from the origin, for float64; or attributes that do not fit.
    """
    if isinstance(source, PointCloud | str | os.PathLike):
        if normals is not None or attributes is not None:
            raise InputError(
                "normals and attributes can be given beside an array of points only, not beside a file or a cloud."
            )
        cloud = source if isinstance(source, PointCloud) else read_points(source)
        if viewpoints is not None:
            cloud = replace(cloud, viewpoints=_places(viewpoints, cloud.dimension), views=None)
        if cloud.checked == _checksum(cloud):
            return cloud
        parts = cloud.attributes, cloud.viewpoints, cloud.views, cloud.notes
        return _checked(Table(cloud.points, cloud.normals, *parts), cloud.name)
    if normals is None and isinstance(source, np.ndarray) and (source.ndim == 3 or source.dtype.names):
        table = array_table(source, "array")
    elif normals is None:
        table = plain_table(_as_table(source, "points"), "array")
    else:
        points = _as_table(source, "points")
        directions = _as_table(normals, "normals")
        if directions.shape != points.shape or points.shape[1] not in (2, 3):
            raise InputError(
                f"points have shape {points.shape} and normals {directions.shape}; both need (n, 2) or (n, 3)."
            )
        table = Table(points, directions)
    given = {**table.attributes, **{name: _attribute(name, values) for name, values in (attributes or {}).items()}}
    if any(values.ndim == 0 or len(values) != len(table.points) for values in given.values()):
        PointCloud(np.ascontiguousarray(table.points), attributes=given)  # says which
    seen = None if viewpoints is None else _places(viewpoints, table.points.shape[1])
    return _checked(replace(table, attributes=given, viewpoints=seen), "array")


def _places(viewpoints: Any, dimension: int) -> Float[np.ndarray, "k d"]:
    places = np.asarray(viewpoints)
    return _as_table(places[None] if places.ndim == 1 else places, "viewpoints")[:, :dimension]


def _attribute(name: str, values: Any) -> np.ndarray:
    """An attribute as an array of its own; colors as uint8."""
    array = np.array(values.detach().cpu() if hasattr(values, "detach") else values)
    if name != "colors" or array.dtype == np.uint8 or array.dtype.kind not in "iuf" or array.size == 0:
        return array
    largest = 1.0 if array.dtype.kind == "f" and array.max() <= 1 else 255.0
    if not (array.min() >= 0 and array.max() <= largest):
        raise InputError(
            f"colors from {array.min():g} to {array.max():g}; whole numbers to 255, or fractions to 1, are needed."
        )
    return np.round(array * (255 / largest)).astype(np.uint8)


def positions(source: Any) -> Float[np.ndarray, "n d"]:
    """Whatever holds points without normals, as an array of as many rows, nothing removed.

    Raises:
        InputError: as for `as_cloud`; or a row holds NaN or infinity.
    """
    points = _as_table(source, "points")
    if points.shape[1] not in (2, 3):
        raise InputError(f"points have shape {points.shape}; (n, 2) or (n, 3) is needed.")
    if not np.isfinite(points).all():
        raise InputError("points hold NaN or infinity; leave such rows out.")
    if len(points) < MINIMUM_POINTS:
        raise InputError(f"there are {many(len(points), 'point')}, at least {MINIMUM_POINTS} are needed.")
    check_extent(points, "the cloud")
    return points


def _as_table(source: Any, what: str) -> np.ndarray:
    if hasattr(source, "detach"):
        source = source.detach().cpu().double().numpy()
    if isinstance(source, np.ma.MaskedArray) and source.dtype.kind in "fiu":  # what is masked is missing
        source = np.ma.filled(source.astype(np.float64), np.nan)
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise InputError(f"{what}: rows of different length are no array (n, 2) or (n, 3).") from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"{what} hold values of type {array.dtype}; plain numbers are needed.")
    if array.ndim != 2:
        raise InputError(f"{what} have shape {array.shape}; one row a point is needed, (n, 2) or (n, 3).")
    with np.errstate(all="ignore"):
        return array.astype(np.float64)


def _checked(table: Table, name: str) -> PointCloud:
    """Every check and mending; the cloud remembers that it was checked."""
    table = clean(table, name)
    parts = table.attributes, table.viewpoints, table.views
    cloud = PointCloud(table.points, table.normals, name, table.notes, *parts)
    object.__setattr__(cloud, "checked", _checksum(cloud))
    return cloud


def _checksum(cloud: PointCloud) -> int:
    parts = cloud.points, cloud.normals, cloud.viewpoints, cloud.views, *cloud.attributes.values()
    arrays = (np.ascontiguousarray(array) for array in parts if array is not None)
    return functools.reduce(lambda so_far, array: zlib.crc32(array.data, so_far), arrays, 0)
