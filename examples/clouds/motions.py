"""Poses of the body through a dozen motions, such as people make in a scanner.

A body at rest stands upright, faces −y and holds its arms a little away. A rotation is a vector in degrees in the
frame of the bone's parent: about x, negative swings a limb forward; about y, positive lowers the left arm and
draws the left leg in; about z, positive turns to the left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Pose = dict[str, Sequence[float]]
"""Rotation vector in degrees for each bone that is moved."""


def _both(bone: str, left: Sequence[float]) -> Pose:
    """The same rotation left and right, mirrored."""
    return _sides(bone, left, [left[0], -left[1], -left[2]])


def _sides(bone: str, left: Sequence[float], right: Sequence[float]) -> Pose:
    return {f"{bone}.L": left, f"{bone}.R": right}


def _wave(t: float) -> tuple[float, float]:
    """Sine of a motion that repeats, and a rise from 0 to 1 and back."""
    return float(np.sin(2 * np.pi * t)), float(0.5 - 0.5 * np.cos(2 * np.pi * t))


def _alternate(t: float) -> tuple[float, float]:
    """How far the left and the right side are into a motion that they take in turns."""
    s, _ = _wave(t)
    return max(s, 0.0), max(-s, 0.0)


def _jumping_jacks(t: float) -> Pose:
    _, u = _wave(t)
    arms = _both("upperarm01", [0, 22 - 95 * u, 0]) | _both("clavicle", [0, -14 * u, 0])
    return arms | _both("upperleg01", [0, -20 * u, 0])


def _knees(t: float) -> Pose:
    left, right = _alternate(t)
    arms = _both("upperarm01", [0, 22, 0]) | _both("lowerarm01", [-30, 0, 0])
    thighs = _sides("upperleg01", [-75 * left, 0, 0], [-75 * right, 0, 0])
    return arms | thighs | _sides("lowerleg01", [90 * left, 0, 0], [90 * right, 0, 0])


def _punching(t: float) -> Pose:
    left, right = _alternate(t)
    arms = _sides("upperarm01", [-15 - 45 * left, 14, 0], [-15 - 45 * right, -14, 0])
    forearms = _sides("lowerarm01", [80 * left - 95, 0, 0], [80 * right - 95, 0, 0])
    stance = _sides("upperleg01", [-12, -8, 0], [14, 8, 0]) | _both("lowerleg01", [11, 0, 0])
    return (
        arms | forearms | stance | {"spine03": [0, 0, 18 * (right - left)], "spine02": [0, 0, 10 * (right - left)]}
    )


def _side_bend(t: float) -> Pose:
    s, _ = _wave(t)
    left, right = _alternate(t)
    arms = _sides("upperarm01", [0, 10 - 60 * left, 0], [0, 60 * right - 10, 0])
    spine: Pose = {f"spine0{k}": [0, 9 * s, 0] for k in (2, 3, 4, 5)}
    return arms | spine | _both("upperleg01", [0, -10, 0])


def _hips(t: float) -> Pose:
    s, u = _wave(t)
    c = 1 - 2 * u
    arms = _both("upperarm01", [0, -5, 0]) | _both("lowerarm01", [-70, 20, 0])
    spine: Pose = {
        "root": [-6 * c, -10 * s, 8 * c],
        "spine05": [8 * c, 12 * s, 0],
        "spine04": [6 * c, 8 * s, 10 * s],
    }
    return arms | spine | _both("upperleg01", [-4, -8, 0])


def _running_on_spot(t: float) -> Pose:
    s, _ = _wave(t)
    left, right = _alternate(t)
    thighs = _sides("upperleg01", [18 * right - 55 * left, 0, 0], [18 * left - 55 * right, 0, 0])
    shins = _sides("lowerleg01", [60 * left + 35 * right, 0, 0], [60 * right + 35 * left, 0, 0])
    arms = _sides("upperarm01", [35 * left - 30 * right, 16, 0], [35 * right - 30 * left, -16, 0])
    return thighs | shins | arms | _both("lowerarm01", [-70, 0, 0]) | {"spine03": [-6, 0, 8 * s]}


def _squats(t: float) -> Pose:
    _, u = _wave(t)
    legs = _both("upperleg01", [-70 * u, -14 * u, 0]) | _both("lowerleg01", [95 * u, 0, 0])
    arms = _both("upperarm01", [-70 * u, 20 - 12 * u, 0])
    return legs | arms | _both("foot", [-25 * u, 0, 0]) | {"spine03": [-16 * u, 0, 0], "neck01": [12 * u, 0, 0]}


def _shake_arms(t: float) -> Pose:
    s, u = _wave(t)
    arms = _sides("upperarm01", [0, 25 * s - 25, 0], [0, 25 * s + 25, 0])
    return arms | _both("lowerarm01", [40 * u - 40, 0, 0]) | {"head": [0, 0, 20 * s]}


def _chicken_wings(t: float) -> Pose:
    _, u = _wave(t)
    arms = _both("upperarm01", [0, -5 - 40 * u, 0]) | _both("lowerarm01", [0, 0, -80])
    return (
        arms
        | _both("clavicle", [0, -8 * u, 0])
        | _both("upperleg01", [-10 * u, 0, 0])
        | _both("lowerleg01", [20 * u, 0, 0])
    )


def _one_leg_loose(t: float) -> Pose:
    s, u = _wave(t)
    free = {"upperleg01.L": [-25 - 30 * s, -10, 0], "lowerleg01.L": [20 + 35 * u, 0, 0], "foot.L": [20 * u, 0, 0]}
    return free | _both("upperarm01", [0, -15 + 15 * s, 0]) | {"spine04": [0, 5, 0], "spine03": [4 * s, 0, 0]}


def _shake_shoulders(t: float) -> Pose:
    s, u = _wave(t)
    shoulders = _sides("clavicle", [0, -12 * u, -14 * s], [0, 12 * (1 - u), -14 * s])
    return shoulders | _both("upperarm01", [0, 20, 0]) | {"spine02": [0, 0, 14 * s], "neck01": [0, 0, -10 * s]}


def _twists(t: float) -> Pose:
    s, _ = _wave(t)
    spine: Pose = {f"spine0{k}": [0, 0, 13 * s] for k in (2, 3, 4, 5)}
    arms = _both("upperarm01", [0, -30, 0]) | _both("lowerarm01", [0, 0, -50])
    return spine | arms | {"head": [0, 0, -15 * s]} | _both("upperleg01", [0, -8, 0])


MOTIONS: dict[str, Callable[[float], Pose]] = {
    "jumping_jacks": _jumping_jacks,
    "knees": _knees,
    "punching": _punching,
    "side_bend": _side_bend,
    "hips": _hips,
    "running_on_spot": _running_on_spot,
    "squats": _squats,
    "shake_arms": _shake_arms,
    "chicken_wings": _chicken_wings,
    "one_leg_loose": _one_leg_loose,
    "shake_shoulders": _shake_shoulders,
    "twists": _twists,
}
"""Motions as functions of the time in [0, 1), at the end of which they begin again."""
