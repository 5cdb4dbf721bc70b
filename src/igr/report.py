"""One page about a reconstruction: pictures, the surface in 3D, cuts through the field, loss curves, the facts."""

from __future__ import annotations

import base64
import html
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .render import View, png, render
from .storage import write_bytes

if TYPE_CHECKING:
    from .surface import Surface

COLORS = ("#2a6f97", "#c1666b", "#4a7c59", "#8d6a9f", "#b08900", "#555555")
"""Colors of the curves of a plot, in order."""
STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse}td{padding:.15em 1em .15em 0;
vertical-align:top}td:first-child{color:#666}.row{display:flex;flex-wrap:wrap;gap:1em}.row img,.row svg{width:22em;
height:auto}iframe{width:100%;height:34em;border:1px solid #ddd}
pre{background:#f6f6f6;padding:1em;overflow:auto}"""


def write_report(path: str | os.PathLike[str], surface: Surface, *, facts: dict[str, Any] | None = None) -> None:
    """Write a standalone page (no outside address, a few megabytes at most) about `surface` to `path`.

    Args:
        path: the .html file.
        surface: a fitted surface; its history and details are shown where it has any.
        facts: further rows of the table, such as the command and the time it took.
    """
    title = html.escape(str(surface.details.get("name", "surface")))
    rows = {**surface.details, **(facts or {})}
    body = [f"<h1>{title}</h1>", _pictures(surface), _table(rows)]
    if surface.dimension == 3:
        body.append(f"<h2>In 3D</h2>{_scene(surface)}")
    body.append(f"<h2>Confidence</h2>{_histogram(surface)}")
    body.append(f"<h2>Cuts through the field</h2>{_cuts(surface)}")
    if surface.history:
        body.append(f"<h2>While fitting</h2>{_curves(surface.history)}")
    body.append(f"<h2>Configuration</h2><pre>{html.escape(surface.config.to_json())}</pre>")
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    write_bytes(path, (page + "\n".join(body) + "</html>\n").encode())


def _pictures(surface: Surface) -> str:
    if surface.dimension == 2:
        return ""
    images = [png(render(surface, View(azimuth, 15, 420))) for azimuth in (-60, 30, 150)]
    tags = [f'<img alt="the surface" src="data:image/png;base64,{base64.b64encode(i).decode()}">' for i in images]
    return f'<div class="row">{"".join(tags)}</div>'


def _table(facts: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{key} {text(entry)}" for key, entry in value.items())
        if isinstance(value, list):
            return "; ".join(text(entry) for entry in value) or "none"
        return (
            f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
        )

    rows = [f"<tr><td>{html.escape(k)}</td><td>{html.escape(text(v))}</td></tr>" for k, v in facts.items()]
    return f"<table>{''.join(rows)}</table>"


def _scene(surface: Surface) -> str:
    """The surface and its samples in trimesh's standalone viewer."""
    import trimesh
    from trimesh.viewer.notebook import scene_to_html

    mesh = surface.mesh(resolution=112)
    center = mesh.bounds.mean(0)
    color = np.tile(np.array([179, 197, 220, 255], np.uint8), (len(mesh.faces), 1))
    shape = trimesh.Trimesh(mesh.vertices - center, mesh.faces, face_colors=color, process=False)
    few = surface.samples[:: max(1, len(surface.samples) // 5000)].astype(float)
    samples = surface.frame.to_input(few) - center
    points = trimesh.PointCloud(samples, colors=[193, 102, 107, 255])
    upright = trimesh.transformations.rotation_matrix(-np.pi / 2, [1, 0, 0])  # the viewer's y axis points up
    page = scene_to_html(trimesh.Scene([shape, points]).apply_transform(upright))
    return f'<iframe title="the surface in 3D" srcdoc="{html.escape(page)}"></iframe>'


def _histogram(surface: Surface) -> str:
    """How much of the surface is supported how well by the samples, as SVG."""
    if surface.dimension == 3:
        places = np.asarray(surface.mesh(resolution=112).vertices)
    else:
        places = np.concatenate(surface.contour(resolution=256))
    values = surface.confidence(places)
    share = np.histogram(values, 20, (0, 1))[0] / len(values)
    heights = 120 * share / share.max()
    bars = "".join(
        f'<rect x="{30 * k}" y="{120 - height:.1f}" width="27" height="{height:.1f}"'
        f' fill="{COLORS[1] if k < 10 else COLORS[0]}"><title>{bar:.1%}</title></rect>'
        for k, (bar, height) in enumerate(zip(share, heights, strict=True))
    )
    ticks = "".join(f'<text x="{600 * x:.0f}" y="136" font-size="12">{x:.1f}</text>' for x in (0, 0.5, 0.96))
    low = float((values < 0.5).mean())
    text = (
        f"<p>{low:.1%} of the surface has a confidence below one half: filled in, or fitting its points badly.</p>"
    )
    return f'{text}<svg viewBox="0 0 620 140" style="width:38em">{bars}{ticks}</svg>'


def _cuts(surface: Surface) -> str:
    """Level sets of the field: in the plane, or on the three planes through the middle."""
    low, high = surface.frame.to_input(surface.box)
    if surface.dimension == 2:
        return f'<div class="row">{_cut(surface, low, high, (0, 1), None)}</div>'
    planes = [_cut(surface, low, high, axes, axis) for axes, axis in (((0, 1), 2), ((0, 2), 1), ((1, 2), 0))]
    return f'<div class="row">{"".join(planes)}</div>'


def _cut(surface: Surface, low: np.ndarray, high: np.ndarray, axes: tuple[int, int], across: int | None) -> str:
    """An SVG of the level sets on one plane, the surface itself drawn thick."""
    import contourpy

    first, second = (np.linspace(low[axis], high[axis], 160) for axis in axes)
    places = np.tile((low + high) / 2, (160 * 160, 1))
    grid = np.meshgrid(first, second)
    places[:, axes[0]], places[:, axes[1]] = grid[0].ravel(), grid[1].ravel()
    values = surface.distance(places).reshape(160, 160)
    size = float(max(high[axes[0]] - low[axes[0]], high[axes[1]] - low[axes[1]]))
    contours = contourpy.contour_generator(first, second, values)
    paths = []
    for level in np.arange(-6, 7) * 0.05 * size:
        color = "#222" if level == 0 else COLORS[0] if level < 0 else COLORS[1]
        for line in contours.lines(float(level)):
            points = " ".join(
                f"{x:.2f},{y:.2f}" for x, y in (line - low[list(axes)]) / size * [400, -400] + [0, 400]
            )
            width = 2 if level == 0 else 0.7
            paths.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="{width}"/>')
    name = "" if across is None else f"{'xyz'[across]} = {(low + high)[across] / 2:.4g}"
    label = f'<text x="4" y="14" font-size="12">{name}</text>'
    return f'<svg viewBox="0 0 400 400">{"".join(paths)}{label}</svg>'


def _curves(history: list[dict[str, float]]) -> str:
    """Every term of the loss over the steps, on a logarithmic scale, as SVG."""
    names = [name for name in history[-1] if name not in ("step", "seconds", "learning_rate")]
    steps = np.array([row["step"] for row in history], float)
    series = {name: np.array([row.get(name, np.nan) for row in history], float) for name in names}
    logs = {name: np.log10(np.maximum(values, 1e-9)) for name, values in series.items()}
    bottom = min(np.nanmin(values) for values in logs.values())
    top = max(np.nanmax(values) for values in logs.values())
    parts = []
    for index, (name, values) in enumerate(logs.items()):
        known = np.isfinite(values)
        x, y = 600 * steps[known] / steps[-1], 300 * (top - values[known]) / max(top - bottom, 1e-9)
        keep = slice(None, None, max(1, len(x) // 400))
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[keep], y[keep], strict=True))
        color = COLORS[index % len(COLORS)]
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}"/>')
        parts.append(
            f'<text x="610" y="{14 + 18 * index}" font-size="13" fill="{color}">{html.escape(name)}</text>'
        )
    scale = f'<text x="0" y="318" font-size="12">{steps[-1]:,.0f} steps, 10^{bottom:.1f} … 10^{top:.1f}</text>'
    return f'<svg viewBox="0 0 740 325" style="width:46em">{"".join(parts)}{scale}</svg>'
