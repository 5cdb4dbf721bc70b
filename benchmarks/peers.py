"""Screened Poisson reconstruction (Kazhdan & Hoppe 2013), timed and remembered: what we are compared with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from pathlib import Path

import numpy as np

from igr.judge.baselines import screened_poisson
from igr.judge.metrics import Comparison, compare

from .clouds import Case

CACHE = Path(__file__).resolve().parents[1] / "build" / "cache"


def poisson(points: np.ndarray, normals: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Vertices, faces and seconds of screened Poisson at `depth`."""
    began = time.perf_counter()
    vertices, faces = screened_poisson(points, normals, depth=depth)
    return vertices, faces, time.perf_counter() - began


def judged_poisson(case: Case, depth: int, *, cached: bool = True) -> tuple[Comparison, float]:
    """Poisson compared with the truth by the protocol `surface`, and its seconds; remembered between runs."""
    key = hashlib.sha256(case.points.tobytes() + case.normals.tobytes() + bytes([depth, 2])).hexdigest()[:20]
    path = CACHE / f"poisson-{key}.json"
    if cached and path.exists():
        saved = json.loads(path.read_text())
        return Comparison(**saved["comparison"]), saved["seconds"]
    vertices, faces, seconds = poisson(case.points, case.normals, depth)
    found = compare((vertices, faces), case.truth)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"comparison": dataclasses.asdict(found), "seconds": seconds}))
    return found, seconds
