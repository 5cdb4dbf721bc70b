"""Numbers as colors, the bar that says which is which, and a mesh colored by its distance to the truth."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ..cloud.neighbors import Neighbors
from ..mesh.triangles import Mesh
from ..mesh.write import write_mesh
from .render import View, render_mesh, save_picture

STOPS = np.array(
    [
        *([68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140]),
        *([40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37]),
    ],
    float,
)
"""Viridis (van der Walt & Smith 2015, CC0) at nine even places: dark is low, and it stays readable in gray."""


def colorize(values: Float[np.ndarray, " n"], low: float, high: float) -> UInt8[np.ndarray, "n 3"]:
    """Red, green, blue (n, 3) of each value on the scale from `low` to `high`; what lies beyond gets its end.

    >>> colorize(np.array([0.0, 9.0]), 0.0, 1.0).tolist()
    [[68, 1, 84], [253, 231, 37]]
    """
    place = np.clip((np.asarray(values, float) - low) / max(high - low, 1e-300), 0, 1) * (len(STOPS) - 1)
    stops = np.arange(len(STOPS))
    return np.stack([np.interp(place, stops, STOPS[:, c]) for c in range(3)], -1).round().astype(np.uint8)


def colorbar(low: float, high: float, title: str, *, height: int, width: int = 170) -> UInt8[np.ndarray, "h w 3"]:
    """A picture of the scale from `low` to `high` with five numbers beside it and a title above."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=13)
    top, bottom = 60, height - 40
    shares = 1 - np.arange(bottom - top) / max(bottom - top - 1, 1)
    bar = np.repeat(colorize(shares, 0, 1)[:, None], 22, axis=1)
    image.paste(Image.fromarray(bar), (12, top))
    draw.multiline_text((8, 14), title, fill="black", font=font)
    for share in np.linspace(0, 1, 5):
        y = top + (1 - share) * (bottom - top - 1)
        draw.line([(34, y), (39, y)], fill="black")
        draw.text((44, y), f"{low + share * (high - low):.3g}", fill="black", font=font, anchor="lm")
    return np.asarray(image)


def vertex_errors(mesh: Mesh, reference: Mesh | Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " v"]:
    """Distance of every vertex of a mesh to a reference, to its triangles or to its nearest point."""
    if isinstance(reference, tuple):
        import igl

        square, _, _ = igl.point_mesh_squared_distance(np.ascontiguousarray(mesh[0], np.float64), *reference)
        return np.sqrt(square)
    return Neighbors(reference).at(mesh[0])[0]


def write_error_map(
    path: str | os.PathLike[str], mesh: Mesh, reference: Mesh | Float[np.ndarray, "n 3"], *, pixels: int = 640
) -> list[Path]:
    """Write a mesh colored by its distance to a reference, and a picture of it with the scale of the colors.

    The scale ends at the 95th percentile of the distances, so that few stray places do not hide all others.

    Args:
        path: .ply; every vertex also carries its distance as `error`, in the reference's units.
        mesh: vertices and triangles.
        reference: the truth, triangles or points.
        pixels: height of the picture.

    Returns:
        The files: the mesh, and beside it the picture (.png), seen from the front and from behind.
    """
    error = vertex_errors(mesh, reference)
    high = float(np.quantile(error, 0.95))
    colors = colorize(error, 0.0, high)
    write_mesh(path, *mesh, attributes={"error": error.astype(np.float32)}, colors=colors)
    views = [render_mesh(*mesh, View(azimuth, 15, pixels), colors=colors) for azimuth in (-60, 120)]
    picture = Path(path).with_suffix(".png")
    save_picture(
        picture,
        np.concatenate(
            [*views, colorbar(0.0, high, "distance to the\nreference, in its units", height=pixels)], axis=1
        ),
    )
    return [Path(path), picture]
