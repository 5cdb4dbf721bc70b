"""Draws pictures/open-scans.png: open scans closed by force (as they were before) and as they are found."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import igr
from examples.clouds.open_scans import SCANS
from igr.show.render import View, render_mesh

TARGET = Path(__file__).with_name("pictures") / "open-scans.png"
PIXELS, ROWS = 250, 4
VIEWS = {"facade": (-70, 15), "tunnel": (-60, 10), "one_view": (-65, 20), "bowl": (-60, 50), "town": (-60, 55)}
"""Azimuth and elevation; others are seen from the default."""


def panel(name: str) -> np.ndarray:
    """One scan: closed, and as it is found."""
    points = SCANS[name](np.random.default_rng(0))
    surface = igr.reconstruct(points, notify=lambda note: print(f"{name}: {note}", flush=True))
    azimuth, elevation = VIEWS.get(name, (-60, 40))
    view = View(azimuth=azimuth, elevation=elevation, pixels=PIXELS)
    pictures = []
    for ends, resolution in (("closed", 64), ("auto", 160)):  # what is closed by force can be far larger
        mesh = surface.mesh(resolution=resolution, surface=ends)
        pictures.append(render_mesh(np.asarray(mesh.vertices), np.asarray(mesh.faces), view))
    picture = Image.fromarray(np.hstack(pictures))
    found = "open" if surface.is_open else "closed"
    ImageDraw.Draw(picture).text((8, 6), f"{name.replace('_', ' ')}: {found}", fill=(60, 60, 60))
    return np.asarray(picture)


def draw(names: list[str]) -> None:
    """The scans in space, in rows."""
    panels = [panel(name) for name in names]
    columns = -(-len(panels) // ROWS)
    blank = np.full_like(panels[0], 255)
    panels += [blank] * (ROWS * columns - len(panels))
    sheet = np.vstack([np.hstack(panels[row * columns : (row + 1) * columns]) for row in range(ROWS)])
    Image.fromarray(sheet).quantize(64).save(TARGET, optimize=True)


if __name__ == "__main__":
    draw(sys.argv[1:] or [name for name in SCANS if name != "river"])
