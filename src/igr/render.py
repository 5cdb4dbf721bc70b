"""Pictures of a fitted surface without a screen: rays cast through its distance field."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from .errors import InputError

if TYPE_CHECKING:
    from .surface import Surface

LIGHTS = ((np.array([0.35, 0.5, 0.8]), 0.75), (np.array([-0.8, 0.2, 0.3]), 0.25))
"""Direction of each light (right, up, toward the viewer) and its strength."""
COLOR = np.array([0.70, 0.77, 0.86])
"""Color of the surface, red, green, blue in [0, 1]."""
INVENTED = np.array([0.85, 0.25, 0.2])
"""Color of confidence 0."""


@dataclass(frozen=True)
class View:
    """Where a picture is taken from."""

    azimuth: float = -60.0
    """Degrees around the z axis from the x axis."""
    elevation: float = 15.0
    """Degrees above the x-y plane."""
    pixels: int = 800
    """Height and width of the picture."""
    confidence: bool = False
    """Color by confidence: the usual color where data supports the surface, red where it was filled in."""


def render(surface: Surface, view: View | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """A picture of the surface seen along parallel rays, lit from above, on white.

    Raises:
        InputError: the surface is a planar curve.
    """
    if surface.dimension != 3:
        raise InputError("a planar curve cannot be rendered; write it as svg instead")
    view = view or View()
    low, high = surface.frame.to_input(surface.box)
    center, reach = (low + high) / 2, 0.5 * float(np.linalg.norm(high - low))
    right, up, toward = _axes(view)
    steps = (np.arange(view.pixels) + 0.5) / view.pixels * 2 - 1
    across, upward = np.meshgrid(steps * reach, -steps * reach)
    eyes = center + across.ravel()[:, None] * right + upward.ravel()[:, None] * up + reach * toward
    _, hit, normals = surface.cast_rays(eyes, np.broadcast_to(-toward, eyes.shape), multiple_hits=False)
    image = np.ones((view.pixels**2, 3))
    shade = np.full(len(normals), 0.18)
    for direction, strength in LIGHTS:
        light = direction @ np.stack([right, up, toward])
        shade += strength * np.clip(normals @ (light / np.linalg.norm(light)), 0, None)
    color = COLOR[None]
    if view.confidence:
        color = INVENTED + surface.confidence(places[hit])[:, None] * (COLOR - INVENTED)
    image[hit] = np.clip(shade[:, None] * color, 0, 1)
    return (255 * image.reshape(view.pixels, view.pixels, 3)).astype(np.uint8)


def save_picture(path: str | os.PathLike[str], image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write a picture as PNG, whole or not at all."""
    from .storage import write_bytes

    write_bytes(path, png(image))


def png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The bytes of a PNG file."""
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _axes(view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right, up, and toward the viewer, as unit vectors."""
    around, above = np.deg2rad([view.azimuth, view.elevation])
    toward = np.array([np.cos(around) * np.cos(above), np.sin(around) * np.cos(above), np.sin(above)])
    right = np.array([-np.sin(around), np.cos(around), 0.0])
    return right, np.cross(toward, right), toward
