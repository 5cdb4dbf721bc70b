"""A posed human body in numpy, to make scans of: eight shape components and linear blend skinning.

The shipped data is described in `data/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources

import numpy as np
from jaxtyping import Float, Int

Pose = Mapping[str, Sequence[float]]
"""Rotation vector in degrees for each bone that is moved."""


class Body:
    """The shipped body; `body.pose(shape, pose)` gives vertices in metres, z up, facing −y."""

    def __init__(self) -> None:
        shipped = resources.files("igr") / "data" / "mini_body.npz"
        with resources.as_file(shipped) as path, np.load(path) as data:
            self.template = data["template"].astype(float)
            self.joints = data["joints"].astype(float)
            self.shape_vertices = data["shape_v"].astype(float)
            self.shape_joints = data["shape_j"].astype(float)
            self.faces: Int[np.ndarray, "f 3"] = data["faces"].astype(np.int64)
            self.skin_bones = data["skin_idx"].astype(np.int64)
            weights = data["skin_w"].astype(float)
            self.parents = data["parents"].astype(int)
            self.bones = [str(name) for name in data["bone_labels"]]
        self.skin_weights = weights / weights.sum(1, keepdims=True)

    def pose(self, shape: Sequence[float] = (), pose: Pose | None = None) -> Float[np.ndarray, "v 3"]:
        """Vertices of the body in metres.

        Args:
            shape: up to eight coefficients, each about a standard normal number among people.
            pose: rotations of single bones; the others stay at rest.
        """
        coefficients = np.zeros(len(self.shape_vertices))
        coefficients[: len(shape)] = shape
        vertices = self.template + np.tensordot(coefficients, self.shape_vertices, 1)
        joints = self.joints + np.tensordot(coefficients, self.shape_joints, 1)
        chain = np.zeros((len(joints), 4, 4))
        for bone, parent in enumerate(self.parents):
            local = np.eye(4)
            local[:3, :3] = _rotation((pose or {}).get(self.bones[bone]))
            local[:3, 3] = joints[bone] - (joints[parent] if parent >= 0 else 0)
            chain[bone] = local if parent < 0 else chain[parent] @ local
        chain[:, :3, 3] -= np.einsum("nij,nj->ni", chain[:, :3, :3], joints)
        skin = np.einsum("vk,vkij->vij", self.skin_weights, chain[self.skin_bones])
        return np.einsum("vij,vj->vi", skin[:, :3, :3], vertices) + skin[:, :3, 3]

    def family(
        self, subjects: int, frames: int, *, motions: Sequence[str] = (), seed: int = 0
    ) -> Iterator[tuple[str, str, int, Float[np.ndarray, "v 3"]]]:
        """Bodies of several people in motion: subject, motion, frame, vertices in metres.

        Args:
            subjects: how many people, their shapes drawn at random.
            frames: poses of each motion, evenly through it.
            motions: names of `MOTIONS`; all of them when empty.
            seed: seed of the shapes.
        """
        rng = np.random.default_rng(seed)
        for subject in range(subjects):
            shape = np.clip(rng.normal(0, 1, len(self.shape_vertices)), -2, 2)
            for motion in motions or MOTIONS:
                for frame in range(frames):
                    moved = MOTIONS[motion](frame / frames + 0.03)
                    yield f"person{subject:02d}", motion, frame, self.pose(shape.tolist(), moved)


def _both(name: str, left: Sequence[float], right: Sequence[float] | None = None) -> Pose:
    """The same rotation left and right, mirrored unless the right one is given."""
    mirrored = [left[0], -left[1], -left[2]] if right is None else right
    return {f"{name}.L": left, f"{name}.R": mirrored}


def _jumping_jacks(t: float) -> Pose:
    u = 0.5 - 0.5 * np.cos(2 * np.pi * t)
    return {**_both("upperarm01", [0, 22 - 95 * u, 0]), **_both("upperleg01", [0, -20 * u, 0])}


def _knees(t: float) -> Pose:
    left, right = max(np.sin(2 * np.pi * t), 0), max(-np.sin(2 * np.pi * t), 0)
    return {
        **_both("upperarm01", [0, 22, 0]),
        **_both("lowerarm01", [-30, 0, 0]),
        **_both("upperleg01", [-85 * left, 0, 0], [-85 * right, 0, 0]),
        **_both("lowerleg01", [90 * left, 0, 0], [90 * right, 0, 0]),
    }


def _punching(t: float) -> Pose:
    s = np.sin(2 * np.pi * t)
    left, right = max(s, 0), max(-s, 0)
    return {
        **_both("upperarm01", [-15 - 45 * left, 25, 0], [-15 - 45 * right, -25, 0]),
        **_both("lowerarm01", [-95 + 80 * left, 0, 0], [-95 + 80 * right, 0, 0]),
        **_both("upperleg01", [-12, -8, 0], [14, 8, 0]),
        "spine03": [0, 0, -18 * s],
    }


def _side_bend(t: float) -> Pose:
    s = np.sin(2 * np.pi * t)
    spine = {f"spine0{k}": [0, 9 * s, 0] for k in (2, 3, 4, 5)}
    return {**_both("upperarm01", [0, -60 * max(s, 0) + 10, 0]), **_both("upperleg01", [0, -10, 0]), **spine}


MOTIONS = {"jumping_jacks": _jumping_jacks, "knees": _knees, "punching": _punching, "side_bend": _side_bend}
"""Motions as functions of the time in [0, 1)."""


def _rotation(degrees: Sequence[float] | None) -> Float[np.ndarray, "3 3"]:
    """Rotation matrix of a rotation vector in degrees (Rodrigues)."""
    if degrees is None:
        return np.eye(3)
    vector = np.deg2rad(np.asarray(degrees, float))
    angle = np.linalg.norm(vector)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
