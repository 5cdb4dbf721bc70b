"""How much memory a piece of work takes, and whether it is there: asked before, not found out in the middle.

The figures are bounds: measured peaks stay below them, usually by 1.2 to 3 (`python -m torture memory`).
"""

from __future__ import annotations

import ctypes
import gc
import math
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float

from .config import Config, FeatureConfig, MLPConfig
from .errors import InputError
from .parallel import control_groups, read_lines

PROGRAM = 250e6
"""The program itself with its libraries, in bytes; torch takes as much again."""
READ_BYTE = 8
"""Bytes that reading and checking a cloud takes for each byte of its file."""
CHECK_NUMBER = 36
"""Bytes that checking a cloud takes for each of its numbers."""
FIT_POINT = {True: 350, False: 600}
"""Bytes a point takes while it is prepared and fitted: with given normals, and without."""
TORCH_NEURON = 34
"""Bytes a neuron takes for each row of a batch in a training step of the paper's network."""
MESH_CELL = 300
"""Bytes that meshing takes for each cell of the finest level that is looked into."""
MESH_FACE = 420
"""Bytes that meshing, judging and writing together take for each triangle."""
CONTOUR_CELL = 120
"""Bytes that a planar contour takes for each cell of the square of its resolution."""
ADVICE = "use fewer points, a lower resolution (--resolution), or a machine with more memory"


def available() -> float:
    """Bytes that this process can still take before the system, or a control group that it is in, runs out;
    infinity where neither says."""
    free = [math.inf]
    for line in read_lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            free.append(1024.0 * int(line.split()[1]))
    for group in control_groups("memory"):
        free += _left(group, "memory.max", "memory.current", "inactive_file")
        free += _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return max(0.0, min(free))


def require(needed: float, what: str, advice: str = ADVICE) -> None:
    """Refuse work for which there is not enough memory.

    Args:
        needed: bytes that it takes, beyond those that are taken already.
        what: the work, for the message.
        advice: what can be done about it.

    Raises:
        InputError: it is so.
    """
    free = available()
    if needed > free:
        raise InputError(f"{what} takes up to {size(needed)} of memory, and {size(free)} are free; {advice}")


def size(count: float) -> str:
    """A number of bytes to read.

    >>> size(3.21e9), size(4.2e7)
    ('3.2 GB', '42 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def fitting(points: int, dimension: int, config: Config, *, with_normals: bool) -> float:
    """Bytes that preparing and fitting a cloud of so many points takes."""
    network, sampling = config.network, config.sampling
    used = min(points, config.steps * sampling.surface)
    columns = dimension * (2 if with_normals else 1)
    cloud = max(points * columns * CHECK_NUMBER, points * columns * 8 + used * FIT_POINT[with_normals])
    rows = min(points, sampling.surface) * (1 + sampling.near + sampling.uniform)
    if isinstance(network, MLPConfig):
        return PROGRAM + cloud + TORCH_NEURON * rows * network.width * network.layers
    assert isinstance(network, FeatureConfig)
    return PROGRAM + cloud + 12 * 4 * network.levels * network.features * 2**network.log2_rows / 4


def meshing(points: Float[np.ndarray, "n d"], resolution: int) -> float:
    """Bytes that a mesh or contour of a cloud takes, until it is written, by the area that the points cover.

    What a surface has beyond its points (membranes, ghosts) is allowed for by as much area again.
    """
    from .warmstart import point_areas

    longest = 1.1 * float(np.ptp(points, axis=0).max())
    if points.shape[1] == 2:
        return PROGRAM + CONTOUR_CELL * resolution**2
    few = points[:: max(1, len(points) // 20_000)]
    cells = 2 * float(point_areas(few / longest).sum()) * resolution**2
    return PROGRAM + 3 * MESH_FACE * max(cells, 3.0 * resolution**2)


def _left(group: Path, limit: str, usage: str, reclaimable: str) -> list[float]:
    """What a control group leaves, where it has a limit; in files named as its version names them."""
    most, taken = _number(group / limit), _number(group / usage)
    if most is None or taken is None or most >= 2**60:
        return []
    caches = [line.split()[1] for line in read_lines(group / "memory.stat") if line.split()[0] == reclaimable]
    return [most - taken + (float(caches[0]) if caches else 0.0)]


def _number(path: Path) -> float | None:
    text = "".join(read_lines(path)[:1])
    return float(text) if text.isdecimal() else None


def give_back(*, thoroughly: bool = True) -> None:
    """Return the memory of what is not needed any more to the system.

    That is meshes that refer to themselves, which Python looks for too rarely, and what the C library keeps:
    a viewer would hold twice as much, and more by the hour.

    Args:
        thoroughly: look through everything, 50 ms; else through what is young, within one.
    """
    gc.collect(2 if thoroughly else 1)
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
