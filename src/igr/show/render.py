"""Pictures of surfaces and meshes without a screen, by a depth buffer."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, UInt8

from ..errors import InputError
from ..store.atomic import write_bytes

if TYPE_CHECKING:
    from ..surface.surface import Surface

SHOWN = 300_000
"""Triangles that are drawn at most: meshes of more are decimated for it, and stay whole in their files."""
LIGHTS = ((np.array([0.35, 0.5, 0.8]), 0.75), (np.array([-0.8, 0.2, 0.3]), 0.25))
"""Direction of each light (right, up, toward the viewer) and its strength."""
COLOR = np.array([179, 197, 220], np.uint8)
"""Color of the surface, red, green, blue."""
INVENTED = np.array([217, 64, 51], np.uint8)
"""Color of confidence 0."""
VIEWS = {
    "corner": (-60.0, 15.0),
    "front": (-90.0, 0.0),
    "back": (90.0, 0.0),
    "left": (180.0, 0.0),
    "right": (0.0, 0.0),
    "top": (-90.0, 90.0),
    "bottom": (-90.0, -90.0),
}
"""Azimuth and elevation by name; z is up, and the front looks along y."""


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
    """Color a model by confidence: the usual color where data supports it, red where it was filled in."""
    colors: bool = True
    """Show a model in the colors of its scan, where it has any and is not colored by confidence."""
    tight: bool = True
    """Fill the picture with what is seen; otherwise with the ball around it, the same from all sides."""

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Right, up, and toward the viewer, as unit vectors."""
        around, above = np.deg2rad([self.azimuth, self.elevation])
        toward = np.array([np.cos(around) * np.cos(above), np.sin(around) * np.cos(above), np.sin(above)])
        right = np.array([-np.sin(around), np.cos(around), 0.0])
        return right, np.cross(toward, right), toward


def render(surface: Surface, view: View | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """A picture of the mesh of a surface, lit from above, on white.

    Raises:
        InputError: the surface is a planar curve.
        FitError: it has no mesh.
    """
    if surface.dimension != 3:
        raise InputError("a planar curve cannot be rendered; write it as svg instead")
    view, (vertices, faces), colors = view or View(), surface.triangles(), None
    if view.confidence:
        colors = confidence_colors(surface, vertices)
    elif view.colors:
        colors = surface.attributes(vertices).get("colors")
    return render_mesh(vertices, faces, view, colors=colors)


def _window(places: Float[np.ndarray, "n 2"]) -> tuple[np.ndarray, float]:
    """Middle and half the side of the square that holds `places` with a margin of its own 8 %."""
    low, high = places.min(0), places.max(0)
    return (low + high) / 2, max(0.54 * float((high - low).max()), 1e-300)


def confidence_colors(surface: Surface, x: Float[np.ndarray, "n 3"]) -> UInt8[np.ndarray, "n 3"]:
    """Color (n, 3) of places on a surface by its confidence: blue where it was measured, red where filled in."""
    share = surface.confidence(x)[:, None]
    return (INVENTED * (1 - share) + COLOR * share).astype(np.uint8)


def render_mesh(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    view: View | None = None,
    *,
    colors: UInt8[np.ndarray, "v 3"] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """The same picture of a mesh, smooth between its vertices.

    Args:
        vertices, faces: the mesh, counter-clockwise seen from outside.
        view: where it is seen from.
        colors: of the vertices; one light blue when missing.

    Raises:
        InputError: the mesh has no triangles.
    """
    from ..mesh.triangles import face_normals
    from .raster import rasterize

    if len(faces) == 0:
        raise InputError("a mesh without triangles cannot be rendered")
    view = view or View()
    low, high = vertices.min(0), vertices.max(0)
    right, up, toward = ((vertices - (low + high) / 2) @ np.stack(view.axes()).T).T
    reach = 0.55 * max(float(np.linalg.norm(high - low)), 1e-300)
    if view.tight:
        middle, reach = _window(np.stack([right, up], 1))
        right, up = right - middle[0], up - middle[1]
    right, up, toward = right / reach, up / reach, toward / reach
    half = view.pixels / 2
    shown = rasterize(np.stack([half * (1 + right), half * (1 - up), -toward], 1), faces, view.pixels)
    normals = np.zeros(vertices.shape)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], face_normals(vertices, faces))
    corners = faces[shown.faces]
    color = COLOR if colors is None else np.einsum("pk,pkc->pc", shown.weights, colors[corners].astype(float))
    smooth = np.einsum("pk,pkc->pc", shown.weights, normals[corners])
    smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-12)
    return _picture(view, shown.pixels, smooth, color)


def save_picture(path: str | os.PathLike[str], image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write a picture as PNG, whole or not at all."""
    write_bytes(path, png(image))


def png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The bytes of a PNG file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def turntable(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    view: View,
    *,
    colors: UInt8[np.ndarray, "v 3"] | None = None,
    frames: int = 48,
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Pictures of a mesh from all around, starting at `view`."""
    for turn in np.arange(frames) * (360 / frames):
        turned = dataclasses.replace(view, azimuth=view.azimuth + turn, tight=False)
        yield render_mesh(vertices, faces, turned, colors=colors)


def save_film(
    path: str | os.PathLike[str], images: Iterator[UInt8[np.ndarray, "h w 3"]], *, rate: int = 16
) -> None:
    """Write pictures as a film, whole or not at all.

    Args:
        path: .gif (endless), or .mp4, which needs imageio-ffmpeg and pictures of even size.
        images: of one size.
        rate: pictures a second.

    Raises:
        InputError: another suffix, or imageio-ffmpeg is missing.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".gif":
        from PIL import Image

        first, *others = (Image.fromarray(image).quantize(64) for image in images)
        stream = io.BytesIO()
        first.save(stream, "GIF", save_all=True, append_images=others, duration=round(1000 / rate), loop=0)
        write_bytes(path, stream.getvalue())
    elif suffix == ".mp4":
        write_bytes(path, _mp4(images, rate))
    else:
        raise InputError(f"{path}: films are written as .gif or .mp4")


def _mp4(images: Iterator[np.ndarray], rate: int) -> bytes:
    import tempfile

    try:
        import imageio_ffmpeg
    except ImportError:
        raise InputError("mp4 needs imageio-ffmpeg: pip install imageio-ffmpeg; or write a .gif") from None
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        first = next(images)
        writer = imageio_ffmpeg.write_frames(str(film), first.shape[1::-1], fps=rate, macro_block_size=2)
        writer.send(None)
        for image in chain([first], images):
            writer.send(np.ascontiguousarray(image))
        writer.close()
        return film.read_bytes()


def _picture(view: View, hit: np.ndarray, normals: np.ndarray, color: np.ndarray) -> np.ndarray:
    """The lit picture: pixels `hit` (p,) have `normals` (p, 3) and `color` (3,) or (p, 3)."""
    axes = np.stack(view.axes())
    shade = np.full(len(normals), 0.18)
    for direction, strength in LIGHTS:
        light = direction @ axes
        shade += strength * np.clip(normals @ (light / np.linalg.norm(light)), 0, None)
    image = np.full((view.pixels**2, 3), 255, np.uint8)
    image[hit] = np.clip(shade[:, None] * color, 0, 255).astype(np.uint8)
    return image.reshape(view.pixels, view.pixels, 3)
