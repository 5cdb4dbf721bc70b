"""Numbers as colors, and the bar that says which is which."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

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
