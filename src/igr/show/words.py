"""What was noticed about a scan and about its surface, in plain words with numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..cloud.frame import sides, strays_left_out
from ..cloud.pointcloud import PointCloud
from ..normals.openness import SHEET

if TYPE_CHECKING:
    from ..surface.surface import Surface

CLEAN, NOISY = 0.05, 0.2
"""Noise in spacings of the points below which a scan is called clean, and above which noisy."""


def contents(cloud: PointCloud) -> list[str]:
    """What a cloud holds: a sentence each about points, size and what was mended on reading."""
    carried = ["normals"] * (cloud.normals is not None) + sorted(cloud.attributes)
    seen = "" if cloud.viewpoints is None else f", seen from {_many(len(cloud.viewpoints), 'known place')}"
    lines = [
        f"{len(cloud):,} points with {_listed(carried)}{seen}"
        if carried
        else f"{len(cloud):,} points, nothing else{seen}",
        f"size {sides(cloud.points)}, in the scan's own units",
    ]
    return [*lines, *cloud.notes]


def noticed(cloud: PointCloud, details: dict[str, Any], *, looked_at: int) -> list[str]:
    """What a look at a scan found before it is fitted.

    Args:
        cloud: all of it.
        details: of that look: strays, spacing and noise in the scan's units, normals, closedness.
        looked_at: so many points were looked at.
    """
    lines = [f"judged by {looked_at:,} of the points"] if looked_at < len(cloud) else []
    strays = int(details.get("strays", 0))
    lines.append(strays_left_out(strays, looked_at) if strays else "no stray points")
    if "spacing" in details:
        lines.append(noise(details["spacing"], details["noise"]))
    use = details.get("normals")
    if use == "given":
        lines.append("its normals are sound and are used")
    if details.get("closedness", 1.0) < SHEET:
        lines.append("it looks open, like a sheet")
    return lines


def noise(spacing: float, sigma: float) -> str:
    """How dense and how clean points are.

    >>> noise(8.0, 0.35)
    'neighboring points are 8 apart and scatter by 0.35: clean'
    """
    share = sigma / max(spacing, 1e-300)
    judged = "clean" if share < CLEAN else "somewhat noisy" if share < NOISY else "noisy, which the fit averages"
    return f"neighboring points are {spacing:.2g} apart and scatter by {sigma:.2g}: {judged}"


def outcome(surface: Surface) -> list[str]:
    """What came of a fit: where the surface ends, how close it is to its points, how long it took."""
    details = surface.details
    share = details.get("invented", 0.0)
    if surface.is_open:
        lines = [f"open: it ends where the points end; closed, {share:.0%} of it would be invented"]
    else:
        lines = [f"closed; {share:.0%} of it is invented" if share >= 0.005 else "closed, with points all around"]
    fitted = details.get("fit", {})
    if "residual" in fitted:
        lines.append(f"the points lie {fitted['residual']:.2g} from it on average, in the scan's units")
    if "spacing" in details:
        lines.append(noise(details["spacing"], details["noise"]))
    if surface.seconds:
        lines.append(f"fitted in {surface.seconds:.1f} s")
    return lines


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _listed(words: Sequence[str]) -> str:
    """Words with commas and an `and`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
