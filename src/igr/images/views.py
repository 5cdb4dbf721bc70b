"""Masked photographs with their cameras: rays through pixels, and where places are seen.

A camera is a pinhole: a place x is seen at the pixel (u, v) where w·(u, v, 1) = K (R x + t). Pixel centers are at
whole numbers, (0, 0) the upper left one; axes are those of a picture: x to the right, y down, z into it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ..cloud.frame import Frame
from ..errors import InputError


@dataclass(frozen=True, eq=False)
class View:
    """One photograph, what of it shows the object, and its camera."""

    name: str
    """Of its file, for messages."""
    image: UInt8[np.ndarray, "h w 3"]
    """Red, green, blue."""
    mask: Bool[np.ndarray, "h w"]
    """Whether each pixel shows the object."""
    intrinsics: Float[np.ndarray, "3 3"]
    """K, upper triangular, in pixels."""
    rotation: Float[np.ndarray, "3 3"]
    """R, world to camera."""
    center: Float[np.ndarray, " 3"]
    """Where it was taken from, −Rᵀt, in the cameras' units."""

    @property
    def focal(self) -> float:
        """Focal length in pixels, the mean of both axes."""
        return float(self.intrinsics[0, 0] + self.intrinsics[1, 1]) / 2

    @property
    def whole(self) -> bool:
        """Whether the object is seen as a whole: its mask ends within the picture."""
        mask = self.mask
        return not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())

    def seen_at(self, x: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
        """Pixel (column, row) of each place, NaN where it is not in front, and its depth along the axis."""
        seen = (x - self.center) @ (self.intrinsics @ self.rotation).T
        depth = seen[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(depth > 0, seen[:, :2].T / depth, np.nan).T, depth

    @property
    def turn(self) -> Float[np.ndarray, "3 3"]:
        """RᵀK⁻¹: pixels (u, v, 1) to directions in the world, of any length."""
        return self.rotation.T @ np.linalg.inv(self.intrinsics)

    def directions(self, pixels: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 3"]:
        """Unit directions, away from the camera, of the rays through pixels (column, row)."""
        along = np.column_stack([pixels, np.ones(len(pixels))]) @ self.turn.T
        return along / np.linalg.norm(along, axis=1, keepdims=True)

    def in_frame(self, frame: Frame) -> View:
        """The view with its camera in a unit frame."""
        return replace(self, center=frame.to_unit(self.center))

    def reduced(self, longest: int) -> View:
        """The view with at most so many pixels along its longer side, each the mean of those it stands for."""
        from PIL import Image

        height, width = self.mask.shape
        share = longest / max(height, width)
        if share >= 1:
            return self
        size = max(1, round(width * share)), max(1, round(height * share))
        image = Image.fromarray(self.image).resize(size, Image.Resampling.BOX)
        mask = Image.fromarray(np.uint8(255) * self.mask).resize(size, Image.Resampling.BOX)
        intrinsics = resized(self.intrinsics, size[0] / width, size[1] / height)
        return replace(self, image=np.array(image), mask=np.array(mask) >= 128, intrinsics=intrinsics)


def check_views(views: Iterable[View], *, fewest: int = 3) -> list[View]:
    """The views, where they can be used together.

    Raises:
        InputError: there are too few, a mask is empty or full, or a camera is impossible.
    """
    views = list(views)
    if len(views) < fewest:
        raise InputError(f"there are {len(views)} photographs with cameras; at least {fewest} are needed")
    for view in views:
        camera = (view.intrinsics, view.rotation, view.center)
        if not all(np.isfinite(part).all() for part in camera) or not 0 < view.focal < 1e6:
            raise InputError(f"{view.name}: its camera has numbers that are not finite, or no focal length")
        if abs(np.linalg.det(view.rotation) - 1) > 1e-3:
            raise InputError(f"{view.name}: the rotation of its camera is none; is the matrix world to camera?")
        if view.mask.all() or not view.mask.any():
            what = "empty" if not view.mask.any() else "full: all of the picture would be the object"
            raise InputError(f"{view.name}: its mask is {what}. {MASKS}")
    if np.mean([view.mask[:: len(view.mask) - 1, :: view.mask.shape[1] - 1].all() for view in views]) > 0.5:
        raise InputError(
            "most masks hold all corners of their pictures: they are inverted; the object must be white"
        )
    if np.ptp([view.center for view in views], axis=0).max() == 0:
        raise InputError("all photographs were taken from one place; walk around the object")
    return views


MASKS = (
    "Masks are pictures of the photographs' size, white where the object is: `rembg p -om image mask` makes them "
    "(pip install 'rembg[cli]'), and so do Segment Anything or a painting program."
)
"""How masks are made, for messages."""


def resized(intrinsics: Float[np.ndarray, "3 3"], across: float, down: float) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of a picture that is so many times as wide and as high; it keeps its edges, half a pixel beyond
    the centers of the outermost pixels."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(half) @ np.diag([across, down, 1.0]) @ half @ intrinsics


def decomposed(
    projection: Float[np.ndarray, "3 4"],
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
    """Intrinsics, rotation and center of a projection matrix K [R | t], by an RQ decomposition.

    Raises:
        ValueError: its left part is singular.
    """
    from scipy.linalg import rq

    left = projection[:, :3]
    if not np.isfinite(projection).all() or abs(np.linalg.det(left)) < 1e-12 * np.abs(left).max() ** 3:
        raise ValueError("singular")
    if np.linalg.det(left) < 0:
        projection, left = -projection, -left
    upper, rotation = rq(left)
    signs = np.diag(np.sign(np.diag(upper)))
    upper, rotation = upper @ signs, signs @ rotation
    return upper / upper[2, 2], rotation, -np.linalg.solve(left, projection[:, 3])


def undistorted(view: View, lens: tuple[float, float, float, float]) -> View:
    """The view as a pinhole with the same intrinsics would have taken it.

    Args:
        view: as it was taken.
        lens: k1, k2, p1, p2 of OpenCV's and COLMAP's model of distortion: radial, then tangential.
    """
    from scipy.ndimage import map_coordinates

    k1, k2, p1, p2 = lens
    rows, columns = np.indices(view.mask.shape, np.float64)
    K = view.intrinsics
    x, y = (columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1]
    square = x * x + y * y
    radial = k1 * square + k2 * square * square
    moved_x = x + x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x)
    moved_y = y + y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y
    place = np.stack([moved_y * K[1, 1] + K[1, 2], moved_x * K[0, 0] + K[0, 2]])
    channels = [map_coordinates(view.image[..., k].astype(np.float32), place, order=1) for k in range(3)]
    mask = map_coordinates(view.mask.astype(np.float32), place, order=1)
    image = np.stack(channels, -1).round().clip(0, 255).astype(np.uint8)
    return replace(view, image=image, mask=mask >= 0.5)
