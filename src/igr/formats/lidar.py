"""What scanners write: las and laz by laspy and lazrs, e57 by pye57, pcd; by libraries of the extra `scans`.

Each is read in a process of its own (`store/apart.py`), some rows at a time: the libraries believe what files say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..machine import require
from ..store.apart import Part, apart, gathered, joined, library
from .arrays import PACKING, UNPACKED
from .rows import cut_short
from .table import AXES, COLORS, NORMAL, Table, as_colors, named_places

ROWS = 1 << 18
"""Points that are on their way at once."""
KEPT = ("points", "normals", "classification")
"""Columns that say something even where all rows are the same; others are then left out."""
LAS_PLACES = ("X", "Y", "Z", "red", "green", "blue")
PCD_TYPES = {"F": "f", "I": "i", "U": "u"}
PCD_HEADER = 64
"""Lines of a PCD header, at most: ten and comments."""
E57_NORMALS = ("nor:normalX", "nor:normalY", "nor:normalZ")
E57_COLORS = ("colorRed", "colorGreen", "colorBlue")
E57_SYSTEMS = {
    "cartesianInvalidState": ("cartesianX", "cartesianY", "cartesianZ"),
    "sphericalInvalidState": ("sphericalRange", "sphericalAzimuth", "sphericalElevation"),
}
E57_TYPES = {"intensity": "f4", **dict.fromkeys(E57_COLORS, "f4"), **dict.fromkeys(E57_SYSTEMS, "i1")}
"""Types that the fields are read in; all others are float64."""


def read_lidar(path: Path) -> Table:
    """The points of a las, laz, e57 or pcd file with all that is known of each, in float64 and in their own frame.

    Raises:
        InputError: the file is damaged, or its library is not installed.
    """
    parts = _parts(path)
    known = next(parts)
    require(24 * known["points"], f"reading {path.name}")
    columns = gathered(parts, known["points"], KEPT)
    if "colors" in columns:
        columns["colors"] = eight_bits(columns["colors"])
    table = _table(known, columns)
    withheld = columns.get("withheld")
    if withheld is None:
        return table
    return table.rows(withheld == 0, f"left out {np.count_nonzero(withheld):,} points marked as withheld")


def lidar_tables(path: Path, rows: int) -> Iterator[Table]:
    """The same, about so many rows at a time, with colors in the file's own numbers and all columns.

    Raises:
        InputError: as `read_lidar`, also while the rows come.
    """
    parts = _parts(path)
    known, held = next(parts), []
    for part in parts:
        held.append(part)
        if sum(len(one["points"]) for one in held) >= rows:
            yield _table(known, joined(held))
            held = []
    if held:
        yield _table(known, joined(held))


def _table(known: Part, columns: Part) -> Table:
    """The table of columns, or of a part of their rows, by what is known of their file."""
    points, normals, notes = columns.pop("points"), columns.pop("normals", None), tuple(known.get("notes", ()))
    if not known.get("viewpoints"):
        return Table(points, normals, columns, notes=notes)
    views = np.array(known["views"], np.int32)[columns.get("scan", np.zeros(len(points), np.uint8))]
    return Table(points, normals, columns, np.array(known["viewpoints"], np.float64), views, notes)


def _parts(path: Path) -> Iterator[Part]:
    """What is known of the file as a whole, then its rows, as many as it announces: columns by name."""
    parts = apart(LIDAR_FORMATS[path.suffix.lower()], path)
    known, done = next(parts), 0
    count = known["points"]
    if 24 * count > max(UNPACKED, PACKING * path.stat().st_size):
        raise InputError(f"{path.name} announces {count:,} points, far more than it can hold.")
    if count == 0:
        raise InputError(f"{path.name} holds no points.")
    yield known
    for part in parts:
        done += len(part["points"])
        if done > count:
            raise InputError(f"{path.name} is damaged: it announces {count:,} points and holds more.")
        yield part
    if done < count:
        raise cut_short(path.name, count, done)


def eight_bits(colors: np.ndarray, top: int | None = None) -> np.ndarray:
    """Colors as uint8, if they have 16 bits (by the `top` of a whole of which these are perhaps a part): writers
    multiply by 256 or by 257, and shifting undoes both."""
    if colors.dtype == np.uint8:
        return colors
    if (colors.max() if top is None else top) > 255:
        colors >>= 8  # in place: they may be many
    return colors.astype(np.uint8)


def _las_parts(path: Path) -> Iterator[Part]:
    laspy = library("laspy", path)
    with laspy.open(path, read_evlrs=False) as reader:
        if reader.header.are_points_compressed:
            library("lazrs", path)
        yield {"points": int(reader.header.point_count)}
        names = [str(name) for name in reader.header.point_format.dimension_names]
        colored = {"red", "green", "blue"} <= set(names)
        others = [name for name in names if name not in LAS_PLACES and not name.startswith("wave")]
        for rows in reader.chunk_iterator(ROWS):
            part = {"points": np.stack([rows.x, rows.y, rows.z], axis=1)}
            if colored:
                part["colors"] = np.stack([rows.red, rows.green, rows.blue], axis=1)
            yield _with_normals(part | {name: np.asarray(rows[name]) for name in others})


def _named(columns: Mapping[str, np.ndarray], meanings: Sequence[str]) -> list[str]:
    """The names that columns of these meanings have here."""
    names = list(columns)
    places = named_places(names)
    return [names[places[meaning]] for meaning in meanings if meaning in places]


def _with_normals(part: Part) -> Part:
    """The part with the columns that are components of normals as one."""
    axes = _named(part, NORMAL)
    if len(axes) < len(NORMAL):
        return part
    return part | {"normals": np.stack([part.pop(axis).astype(np.float64) for axis in axes], axis=1)}


def _e57_parts(path: Path) -> Iterator[Part]:
    pye57 = library("pye57", path)
    image = pye57.libe57.ImageFile(str(path), "r")
    data = image.root()["data3D"]
    scans = [scan for scan in (pye57.ScanHeader(data[i]) for i in range(len(data))) if scan.point_count]
    fields = [set(scan.point_fields) for scan in scans]
    shared = set.intersection(*fields) if fields else set()
    notes = [
        f"left the {what} aside, which not all scans have"
        for what, key in (("colors", "colorRed"), ("intensity", "intensity"), ("normals", E57_NORMALS[0]))
        if key not in shared and any(key in names for names in fields)
    ]
    places = [_scanner(scan) for scan in scans]
    seen = [place is not None for place in places]
    yield {
        "points": sum(scan.point_count for scan in scans),
        "viewpoints": [place for place in places if place is not None],
        "views": np.where(seen, np.cumsum(seen) - 1, -1).tolist(),
        "notes": notes,
    }
    for number, scan in enumerate(scans):
        for part in _e57_rows(pye57, image, scan, shared):
            yield part | {"scan": np.full(len(part["points"]), number, np.uint16)}


def _scanner(scan: Any) -> list[float] | None:
    """Where the scanner stood: the origin of the scan's own frame. A pose that changes nothing is written by
    default, for merged clouds too; it says so only where the points are a scanner's grid or in its angles."""
    moved = scan.has_pose() and (scan.translation.any() or abs(scan.rotation[0]) < 1 - 1e-12)
    if moved or "rowIndex" in scan.point_fields or E57_SYSTEMS["sphericalInvalidState"][0] in scan.point_fields:
        return [float(value) for value in scan.translation]
    return None


def _e57_rows(pye57: Any, image: Any, scan: Any, shared: set[str]) -> Iterator[Part]:
    """The points of a scan, in the frame of the file; NaN for those that it marks as invalid."""
    held = set(scan.point_fields)
    invalid = next((state for state, axes in E57_SYSTEMS.items() if held >= set(axes)), None)
    if invalid is None:
        raise ValueError("the scan has no coordinates")
    axes = E57_SYSTEMS[invalid]
    groups = [group for group in (("intensity",), E57_COLORS, E57_NORMALS) if shared >= set(group)]
    names = [*axes, *([invalid] if invalid in held else []), *(name for group in groups for name in group)]
    columns = {name: np.zeros(ROWS, E57_TYPES.get(name, "f8")) for name in names}
    buffers = pye57.libe57.VectorSourceDestBuffer()
    for name, values in columns.items():
        buffers.append(pye57.libe57.SourceDestBuffer(image, name, values, ROWS, True, True))
    top = scan["colorLimits"]["colorRedMaximum"].value() if scan.node.isDefined("colorLimits") else 255
    reader = scan.points.reader(buffers)
    while count := reader.read():
        rows = {name: values[:count] for name, values in columns.items()}
        points = np.stack([rows[axis] for axis in axes], axis=1)
        if invalid.startswith("spherical"):
            points = pye57.utils.convert_spherical_to_cartesian(points)
        if invalid in rows:
            points[rows[invalid] != 0] = np.nan
        origin = np.zeros(3)
        part = {"points": pye57.E57.to_global(points, scan.rotation, scan.translation)}
        if "colorRed" in rows:
            share = np.stack([rows[name] for name in E57_COLORS], axis=1) / max(float(top), 1e-9)
            part["colors"] = np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)
        if E57_NORMALS[0] in rows:
            turned = np.stack([rows[name] for name in E57_NORMALS], axis=1)
            part["normals"] = pye57.E57.to_global(turned, scan.rotation, origin)
        if "intensity" in rows:
            part["intensity"] = rows["intensity"]
        yield part


def _pcd_parts(path: Path) -> Iterator[Part]:
    with path.open("rb") as stream:
        head, lines = _pcd_header(stream, path.name)
        names, sizes, types = (head[key] for key in ("FIELDS", "SIZE", "TYPE"))
        repeats = [int(word) for word in head.get("COUNT", ["1"] * len(names))]
        count = int(head["POINTS"][0] if "POINTS" in head else int(head["WIDTH"][0]) * int(head["HEIGHT"][0]))
        kinds = [PCD_TYPES[kind] + size for kind, size in zip(types, sizes, strict=True)]
        layout = list(zip(names, kinds, repeats, strict=True))
        dtype = np.dtype([(str(i), f"<{kind}", (repeat,)) for i, (_, kind, repeat) in enumerate(layout)])
        columns = _pcd_columns(stream, path, head["DATA"][0], count, dtype, lines)
    named = {name: columns[i] for i, name in enumerate(names) if name != "_"}
    axes = _named(named, AXES)
    if len(axes) < len(AXES):
        raise InputError(f"{path.name} has the fields {' '.join(names)[:200]}; x, y and z are needed.")
    points = np.concatenate([named.pop(axis).astype(np.float64) for axis in axes], axis=1)
    every = {name: values[:, 0] if values.shape[1] == 1 else values for name, values in named.items()}
    every["points"] = points
    packed = next((name for name in ("rgb", "rgba") if name in every and every[name].ndim == 1), None)
    if packed is not None:
        every["colors"] = _unpacked(every.pop(packed), kinds[names.index(packed)])
    elif len(parts := _named(every, COLORS)) == 3:
        colors = as_colors(np.stack([every.pop(part) for part in parts], axis=1))
        every |= {} if colors is None else {"colors": colors}
    place = [float(word) for word in head.get("VIEWPOINT", ())]
    if place == [0, 0, 0, 1, 0, 0, 0]:  # the default, which says nothing
        place = []
    yield {"points": count, "viewpoints": [place[:3]] if len(place) == 7 else [], "views": [0]}
    for start in range(0, count, ROWS):
        yield _with_normals({name: values[start : start + ROWS] for name, values in every.items()})


def _pcd_header(stream: Any, name: str) -> tuple[dict[str, list[str]], int]:
    """The words behind each key, and the number of lines."""
    head: dict[str, list[str]] = {}
    for lines in range(1, PCD_HEADER):
        key, *words = stream.readline(4096).decode("latin-1").partition("#")[0].split() or [""]
        head["FIELDS" if key == "COLUMNS" else key] = words  # as version .5 has it
        if key == "DATA":
            return head, lines
    raise InputError(f"{name} is no PCD file: it has no line that begins with DATA.")


def _pcd_columns(stream: Any, path: Path, kind: str, count: int, dtype: np.dtype, lines: int) -> list[np.ndarray]:
    """The values (n, k) of each field."""
    names = dtype.names or ()
    if kind == "ascii":
        values = np.loadtxt(path, skiprows=lines, ndmin=2, max_rows=count, encoding="latin-1")
        if len(values) < count:
            raise cut_short(path.name, count, len(values))
        starts = np.cumsum([dtype[name].shape[0] for name in names])
        if values.shape[1] != starts[-1]:
            raise InputError(f"{path.name}: {values.shape[1]} numbers on a line, {starts[-1]} in its header.")
        return np.split(values, starts[:-1], axis=1)
    data = stream.read()
    if kind == "binary_compressed":
        packed, size = np.frombuffer(data, "<u4", 2).tolist()
        if packed > len(data) - 8 or size > max(UNPACKED, PACKING * packed):
            raise ValueError("its sizes make no sense")
        data = library("lzf", path).decompress(data[8 : 8 + packed], size)
    if len(data) < count * dtype.itemsize:
        raise cut_short(path.name, count, len(data) // dtype.itemsize)
    if kind == "binary":
        rows = np.frombuffer(data, dtype, count)
        return [rows[name] for name in names]
    columns, start = [], 0
    for base, (repeat,) in ((dtype[name].base, dtype[name].shape) for name in names):  # all of one, then the next
        columns.append(np.frombuffer(data, base, count * repeat, start).reshape(count, repeat))
        start += columns[-1].nbytes
    return columns


def _unpacked(values: np.ndarray, kind: str) -> np.ndarray:
    """Colors of PCL's four bytes in one number, of which a float is only the disguise."""
    numbers = values.astype("<f4").view("<u4") if kind[0] == "f" else values.astype(np.int64).astype("<u4")
    return np.stack([numbers >> 16 & 255, numbers >> 8 & 255, numbers & 255], axis=1).astype(np.uint8)


LIDAR_FORMATS = {".las": _las_parts, ".laz": _las_parts, ".e57": _e57_parts, ".pcd": _pcd_parts}
"""What reads a format, by suffix."""
