"""A posed human body in numpy, to make scans of: eight shape components and linear blend skinning.

The data beside this file is described in `README.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from examples.clouds.motions import MOTIONS


class Body:
    """The body; `body.pose(shape, pose)` gives vertices in metres, z up, facing −y."""

    def __init__(self) -> None:
        with np.load(Path(__file__).with_name("mini_body.npz")) as data:
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

    def pose(
        self, shape: Sequence[float] = (), pose: Mapping[str, Sequence[float]] | None = None
    ) -> Float[np.ndarray, "v 3"]:
        """Vertices of the body in metres; `faces` are the triangles.

        Args:
            shape: up to eight coefficients, each about a standard normal number among people.
            pose: rotation vector in degrees for each bone that is moved, see `motions.py`; the others rest.

        Raises:
            ValueError: a bone is not among `bones`, or there are too many coefficients.
        """
        unknown = set(pose or {}) - set(self.bones)
        if unknown or len(shape) > len(self.shape_vertices):
            raise ValueError(
                f"unknown bones {sorted(unknown)}, or more than {len(self.shape_vertices)} coefficients"
            )
        coefficients = np.zeros(len(self.shape_vertices))
        coefficients[: len(shape)] = shape
        vertices = self.template + np.tensordot(coefficients, self.shape_vertices, 1)
        joints = self.joints + np.tensordot(coefficients, self.shape_joints, 1)
        bones = self._bones(joints, pose or {})
        skin = np.einsum("vk,vkij->vij", self.skin_weights, bones[self.skin_bones])
        return np.einsum("vij,vj->vi", skin[:, :, :3], vertices) + skin[:, :, 3]

    def _bones(self, joints: np.ndarray, pose: Mapping[str, Sequence[float]]) -> Float[np.ndarray, "b 3 4"]:
        """How each bone moves what hangs on it, from the rest pose on: a rotation and a shift."""
        chain = np.zeros((len(joints), 4, 4))
        for bone, parent in enumerate(self.parents):
            local = np.eye(4)
            local[:3, :3] = _rotation(pose.get(self.bones[bone], (0.0, 0.0, 0.0)))
            local[:3, 3] = joints[bone] - (joints[parent] if parent >= 0 else 0)
            chain[bone] = local if parent < 0 else chain[parent] @ local
        chain[:, :3, 3] -= np.einsum("nij,nj->ni", chain[:, :3, :3], joints)
        return chain[:, :3]

    def family(
        self, subjects: int, frames: int, *, motions: Sequence[str] = (), seed: int = 0
    ) -> Iterator[tuple[str, str, int, Float[np.ndarray, "v 3"]]]:
        """Bodies of several people in motion: subject, motion, frame, vertices in metres.

        Everyone moves a little differently. A person does not depend on how many others there are.

        Args:
            subjects: how many people, their shapes drawn at random.
            frames: poses of each motion, about evenly through it.
            motions: names of `MOTIONS`; all of them when empty.
            seed: seed of the shapes and of what is different.
        """
        for subject in range(subjects):
            rng = np.random.default_rng([seed, subject])
            shape = np.clip(rng.normal(0, 1, len(self.shape_vertices)), -2, 2).tolist()
            for motion in motions or MOTIONS:
                for frame in range(frames):
                    pose = MOTIONS[motion]((frame + rng.uniform(0.1, 0.4)) / frames)
                    varied = {
                        bone: (rng.uniform(0.9, 1.1) * np.asarray(turn)).tolist() for bone, turn in pose.items()
                    }
                    yield f"person{subject:02d}", motion, frame, self.pose(shape, varied)


def _rotation(degrees: Sequence[float]) -> Float[np.ndarray, "3 3"]:
    """Rotation matrix of a rotation vector in degrees (Rodrigues)."""
    vector = np.deg2rad(np.asarray(degrees, float))
    angle = np.linalg.norm(vector)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
