"""Outlines in the plane: one curve of each of the 65 MPEG-7 classes, 100 points, no normals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

import igr
from igr.config import FAST

from .clouds import DATA

POINTS = 100
ROWS = 500
"""Rows and columns of the grid that areas are compared on."""


def outline(index: int, *, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of a class at equal steps along its first curve, their normals, and the curve (m, 2) itself, closed.

    Args:
        index: of the class.
        noise: standard deviation of Gaussian noise as a share of the bounding circle's radius.
    """
    curve = np.load(DATA / "2d" / "mpeg7_closed_curves.npz")["curves"][index, 0].astype(float)
    steps = np.diff(curve, axis=0)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(steps, axis=1))])
    at = np.arange(POINTS) / POINTS * length[-1]
    points = np.stack([np.interp(at, length, axis) for axis in curve.T], axis=1)
    edge = steps[np.searchsorted(length, at, side="right") - 1]
    turn = np.sign((curve[:-1, 0] * curve[1:, 1] - curve[1:, 0] * curve[:-1, 1]).sum())
    normals = turn * np.stack([edge[:, 1], -edge[:, 0]], axis=1) / np.linalg.norm(edge, axis=1, keepdims=True)
    radius = np.linalg.norm(curve - (curve.min(0) + curve.max(0)) / 2, axis=1).max()
    return points + np.random.default_rng(index).normal(0, noise * radius, points.shape), normals, curve


def area_iou(curves: list[np.ndarray], truth: np.ndarray) -> float:
    """Area of the intersection over that of the union of what closed polylines enclose (even-odd)."""
    corners = np.concatenate([truth, *curves])
    x, y = (
        np.linspace(low, high, ROWS + 2)[1:-1] for low, high in zip(corners.min(0), corners.max(0), strict=True)
    )
    one, other = _filled(curves, x, y), _filled([truth], x, y)
    return float((one & other).sum() / max((one | other).sum(), 1))


def _filled(curves: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    start, stop = (np.concatenate([curve[part] for curve in curves]) for part in (slice(-1), slice(1, None)))
    filled = np.zeros((len(y), len(x)), bool)
    for row, level in enumerate(y):
        a, b = (ends[(start[:, 1] > level) != (stop[:, 1] > level)] for ends in (start, stop))
        crossings = a[:, 0] + (level - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
        filled[row] = np.searchsorted(np.sort(crossings), x) % 2
    return filled


def outlines() -> Iterator[str]:
    """Area IoU, mean and worst over the classes, without normals and with those of the curve."""
    classes = range(len(np.load(DATA / "2d" / "mpeg7_closed_curves.npz")["curves"]))
    yield "| points | normals | IoU mean | worst | classes below .9 |"
    yield "| --- | --- | --- | --- | --- |"
    for noise in (0.0, 0.01):
        ways = {
            "none": [outline_iou(index, noise=noise) for index in classes],
            "of the curve": [outline_iou(index, noise=noise, normals=True) for index in classes],
            "none, but joined by straight lines in their true order": [
                joined_iou(index, noise) for index in classes
            ],
        }
        for label, found in ways.items():
            ious, points = np.array(found), "1 % noise" if noise else "clean"
            yield (
                f"| {points} | {label} | {ious.mean():.4f} | {ious.min():.3f} (class {ious.argmin()}) | "
                f"{(ious < 0.9).sum()} |"
            )


def joined_iou(index: int, noise: float) -> float:
    """Area IoU of the polygon through the points in their order along the curve, which no program is told."""
    points, _, curve = outline(index, noise=noise)
    return area_iou([np.concatenate([points, points[:1]])], curve)


def outline_iou(index: int, *, noise: float, normals: bool = False, seed: int = 0) -> float:
    """Area IoU of one class's fit with its curve."""
    points, given, curve = outline(index, noise=noise)
    config = dataclasses.replace(FAST, seed=seed)
    surface = igr.reconstruct(points, normals=given if normals else "ignore", config=config)
    return area_iou(surface.contour(), curve)
