"""Photographs of things whose truth is known."""

import numpy as np

from igr.images.views import View


def ball(count, *, pixels=64, center=(5, 0, -2), radius=2.0, color=None):
    """Photographs of a ball around (5, 0, −2), or of one elsewhere by cameras that believe it is there."""
    target, center = np.array([5.0, 0, -2]), np.array(center, float)
    height = 1 - (2 * np.arange(count) + 1) / count
    around = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    flat = np.sqrt(1 - height**2)
    views = []
    for index, toward in enumerate(np.stack([flat * np.cos(around), flat * np.sin(around), height], 1)):
        right = np.cross([0.1, 0, 1], toward)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(right, toward), -toward])
        middle = (pixels - 1) / 2
        intrinsics = np.array([[1.4 * pixels, 0, middle], [0, 1.4 * pixels, middle], [0, 0, 1]])
        rows, columns = np.indices((pixels, pixels)).reshape(2, -1)
        place = target + 8 * toward
        nothing = np.zeros((pixels, pixels), np.uint8)
        view = View(f"{index:03d}.png", np.stack([nothing] * 3, -1), nothing > 0, intrinsics, rotation, place)
        along = view.directions(np.stack([columns, rows], 1).astype(float))
        to = center - place
        nearest = np.linalg.norm(to - (along @ to)[:, None] * along, axis=1)
        mask = (nearest < radius).reshape(pixels, pixels)
        image = np.zeros((pixels, pixels, 3), np.uint8)
        if color is not None:
            depth = along @ to - np.sqrt(np.maximum(radius**2 - nearest**2, 0))
            image = (255 * color(place + depth[:, None] * along)).astype(np.uint8).reshape(pixels, pixels, 3)
            image[~mask] = 0
        views.append(View(view.name, image, mask, intrinsics, rotation, place))
    return views
