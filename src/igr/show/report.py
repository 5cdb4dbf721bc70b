"""One page about a result: pictures, the surface in 3D, cuts through the field, curves of the fit, the facts."""

from __future__ import annotations

import base64
import dataclasses
import html
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import readable
from ..mesh.triangles import decimated
from ..mesh.write import matt
from ..store.atomic import write_bytes
from ..surface.combine import as_closed
from .drawings import curves, cut, histogram
from .render import SHOWN, View, png, render, render_mesh

if TYPE_CHECKING:
    from ..mesh.triangles import Mesh
    from ..surface.surface import Surface

STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse}td{padding:.15em 1em .15em 0;
vertical-align:top}td:first-child{color:#666}.row{display:flex;flex-wrap:wrap;gap:1em;align-items:flex-end}
.row img,.row svg{width:21em;height:auto;max-height:34em}.one svg{width:40em;max-width:100%}
iframe{width:100%;height:34em;border:1px solid #ddd}pre{background:#f6f6f6;padding:1em;overflow:auto}"""
TRIANGLES = 40_000
"""About so many are shown in 3D at most, so that the page stays under four megabytes."""
OPENING = 40.0
"""Degrees from the lower to the upper edge of the view in 3D."""
LABELS = {
    "strays": "outliers left out",
    "attributes": "what the points carry",
    "given_normals": "check of the normals",
    "angle": "degrees to their planes",
    "roughness": "degrees of roughness",
    "right": "share on the right side",
    "orientation": "normals with a clear side, share",
    "spacing": "spacing of the points, input units",
    "noise": "noise of the points, input units",
    "residual": "mean distance of the points (input units)",
    "resolution": "cells along the longest side",
    "supported": "area with a confidence of a half or more, share",
    "box": "sides of the box, input units",
    "components": "pieces",
    "large_components": "pieces with over 0.5 % of the area",
    "euler": "Euler characteristic",
    "genus": "handles",
    "area": "area, input units²",
    "volume": "volume, input units³",
    "seconds": "seconds",
}
"""What the page calls a fact that its name alone does not explain."""


def write_report(path: str | os.PathLike[str], surface: Surface, *, facts: dict[str, Any] | None = None) -> None:
    """Write a standalone page (no outside address, under four megabytes) about `surface` to `path`.

    Args:
        path: the .html file.
        surface: a fitted surface; its history and details are shown where it has any.
        facts: further rows of the table, such as the time it took.
    """
    facts = {**surface.details, **(facts or {})}
    body = [_table({k: v for k, v in facts.items() if k != "command"})]
    if "command" in facts:
        body.append(f"<pre>{_shown(str(facts['command']))}</pre>")
    if surface.dimension == 3:
        views = [View(azimuth, 15, 420) for azimuth in (-60, 30, 150)]
        body.insert(0, _pictures([render(surface, view) for view in views]))
        mesh = _small_mesh(surface)
        on_surface = mesh[0]
        body.append(_scene(mesh, surface, surface.attributes(on_surface).get("colors")))
        body.append(_cuts(surface))
    else:
        on_surface = np.concatenate(surface.contour(resolution=256))
        body.append(f'<h2>The field</h2><div class="one">{cut(surface, (0, 1), points=1500)}</div>')
    body += [_histograms(surface), _confidence(surface.confidence(on_surface))]
    if surface.history:
        body.append(_while_fitting(surface.history))
    body.append(f"<h2>Configuration</h2><pre>{html.escape(surface.config.to_json())}</pre>")
    _write(path, str(surface.details.get("name", "surface")), body)


def write_mesh_report(path: str | os.PathLike[str], mesh: Mesh, *, name: str) -> None:
    """Write the same page about a mesh from elsewhere: pictures, what it is made of, and the mesh in 3D."""
    from ..judge.quality import topology

    drawn = decimated(*mesh, SHOWN)
    body = [_pictures([render_mesh(*drawn, View(azimuth, 15, 420)) for azimuth in (-60, 30, 150)])]
    sides = [float(side) for side in np.ptp(mesh[0], axis=0)]
    facts = {"vertices": len(mesh[0]), "triangles": len(mesh[1]), "box": sides}
    body.append(_table(facts | dataclasses.asdict(topology(mesh))))
    body.append(_scene(decimated(*drawn, TRIANGLES), None))
    _write(path, name, body)


def _write(path: str | os.PathLike[str], title: str, body: list[str]) -> None:
    title = _shown(title)
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    write_bytes(path, (f"{page}<h1>{title}</h1>" + "\n".join(body) + "</html>\n").encode())


def _pictures(images: list[np.ndarray]) -> str:
    data = [base64.b64encode(png(image)).decode() for image in images]
    tags = [f'<img alt="the surface" src="data:image/png;base64,{image}">' for image in data]
    return f'<div class="row">{"".join(tags)}</div>'


def _table(facts: dict[str, Any]) -> str:
    rows = [f"<tr><td>{_shown(LABELS.get(k, k))}</td><td>{_shown(_text(v))}</td></tr>" for k, v in facts.items()]
    return f"<table>{''.join(rows)}</table>"


def _shown(text: str) -> str:
    """Text in a page: no tag, and no character that cannot be written."""
    return html.escape(readable(text))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{LABELS.get(key, key)}: {_text(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return "; ".join(_text(entry) for entry in value) or "none"
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _small_mesh(surface: Surface) -> Mesh:
    """The surface as a mesh of at most about `TRIANGLES`."""
    resolution = 128
    mesh = surface.mesh(resolution=resolution, attributes=False)
    if len(mesh.faces) > TRIANGLES:
        resolution = max(16, int(resolution * (TRIANGLES / len(mesh.faces)) ** 0.5))
        mesh = surface.mesh(resolution=resolution, attributes=False)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def _scene(mesh: Mesh, surface: Surface | None, colors: np.ndarray | None = None) -> str:
    """The mesh, in the colors (v, 3) of its scan if it has any, and a surface's samples, in trimesh's viewer."""
    import trimesh
    from trimesh.viewer.notebook import scene_to_html
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    vertices, faces = mesh
    center = (vertices.min(0) + vertices.max(0)) / 2
    shape = trimesh.Trimesh(vertices - center, faces, process=False)
    color = [72, 88, 112, 255] if colors is None else [150, 150, 150, 255]  # the viewer's light is bright
    material = PBRMaterial(baseColorFactor=color, metallicFactor=0.0, roughnessFactor=0.9, doubleSided=True)
    shape.visual = TextureVisuals(material=material) if colors is None else matt(colors)
    shape.visual.material = material
    shape.vertex_normals  # noqa: B018 (asked for, so that they are written and it looks smooth)
    parts: list[Any] = [shape]
    if surface is not None:
        few = surface.samples[:: max(1, len(surface.samples) // 5000)]
        parts.append(trimesh.PointCloud(surface.frame.to_input(few) - center, colors=[193, 102, 107, 255]))
    upright = trimesh.transformations.rotation_matrix(-np.pi / 2, [1, 0, 0])  # the viewer's y axis points up
    scene = trimesh.Scene(parts).apply_transform(upright)
    low, high = scene.bounds
    reach = np.linalg.norm(high - low) / 2
    scene.set_camera(
        angles=np.deg2rad([-20, 30, 0]), distance=reach / np.sin(np.deg2rad(OPENING / 2)), fov=(OPENING, OPENING)
    )
    page = scene_to_html(scene)
    return f'<h2>In 3D</h2><iframe title="the surface in 3D" srcdoc="{html.escape(page)}"></iframe>'


def _cuts(surface: Surface) -> str:
    """Lines of equal distance on three planes through the middle."""
    closed = as_closed(surface).triangles(128, crumbs=True)
    planes = (((0, 1), 2), ((0, 2), 1), ((1, 2), 0))
    drawn = "".join(cut(surface, axes, across, mesh=closed) for axes, across in planes)
    text = "Lines of equal distance from the surface: blue inside, red outside, the surface dark."
    return f'<h2>Cuts</h2><p>{text}</p><div class="row">{drawn}</div>'


def _histograms(surface: Surface) -> str:
    """How far the points lie from the surface, and how long the gradient is there."""
    few = surface.frame.to_input(surface.samples[:: max(1, len(surface.samples) // 20_000)])
    length = np.linalg.norm(surface.gradient(few), axis=1)
    drawn = [
        histogram(np.abs(surface.distance(few)), "distance of the points"),
        histogram(length, "length of the gradient at the points", high=2.0),
    ]
    return f'<h2>At the points</h2><div class="row">{"".join(drawn)}</div>'


def _confidence(values: np.ndarray) -> str:
    """How much of the surface is supported how well by the samples."""
    low = float((values < 0.5).mean())
    text = f"{low:.1%} of the surface has a confidence below one half: filled in, or fitting its points badly."
    drawn = histogram(values, "confidence of the surface", high=1.0)
    return f'<h2>Confidence</h2><p>{text}</p><div class="row">{drawn}</div>'


def _while_fitting(history: list[dict[str, float]]) -> str:
    """Every term of the loss over the steps; and how far the gradient's length is from one."""
    names = [name for name in history[-1] if name not in ("step", "seconds", "learning_rate")]
    steps = np.array([row["step"] for row in history], float)
    series = {name: np.array([row.get(name, np.nan) for row in history], float) for name in names}
    drawn = f"<h2>While fitting</h2>{curves(series, steps)}"
    if "eikonal" in series:
        deviation = {"rms of ‖∇f‖ − 1": np.sqrt(series["eikonal"])}
        drawn += f"<h2>Gradient length while fitting</h2>{curves(deviation, steps)}"
    return drawn
