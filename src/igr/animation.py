"""Meshes played one after the other: an animated GLB, which any glTF viewer shows."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .files import write_bytes


def write_animation(
    path: str | os.PathLike[str], meshes: Sequence[tuple[np.ndarray, np.ndarray]], *, frame_seconds: float = 0.25
) -> None:
    """Write meshes (vertices (v, 3), faces (f, 3)) to a GLB that shows each for `frame_seconds`, there and back.

    Each mesh is a node of its own, whose scale is animated in steps between 0 and 1.
    """
    import trimesh
    from trimesh.exchange.gltf import export_glb

    scene = trimesh.Scene()
    for index, (vertices, faces) in enumerate(meshes):
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        scene.add_geometry(mesh, node_name=f"frame{index:03d}", geom_name=f"frame{index:03d}")
    order = [*range(len(meshes)), *range(len(meshes) - 2, 0, -1)]

    def animate(tree: dict[str, Any]) -> None:
        _add_animation(tree, order, frame_seconds)

    write_bytes(path, export_glb(scene, include_normals=True, tree_postprocessor=animate))


def _add_animation(tree: dict[str, Any], order: Sequence[int], frame_seconds: float) -> None:
    """Keyframes of every node's scale, in a buffer of their own."""
    times = (np.arange(len(order) + 1) * frame_seconds).astype("<f4")
    nodes = {node["name"]: index for index, node in enumerate(tree["nodes"]) if "name" in node}
    data, channels, samplers = [times.tobytes()], [], []
    for index in sorted(set(order)):
        shown = np.array([*(float(at == index) for at in order), float(order[0] == index)], "<f4")
        data.append(np.repeat(shown[:, None], 3, 1).tobytes())
    accessors, views = tree["accessors"], tree["bufferViews"]
    first, buffer, at = len(accessors), len(tree["buffers"]), 0
    for part, block in enumerate(data):
        views.append({"buffer": buffer, "byteOffset": at, "byteLength": len(block)})
        kind: dict[str, Any] = (
            {"type": "VEC3"} if part else {"type": "SCALAR", "min": [0.0], "max": [float(times[-1])]}
        )
        accessors.append({"bufferView": len(views) - 1, "componentType": 5126, "count": len(times)} | kind)
        at += len(block)
    for index in sorted(set(order)):
        samplers.append({"input": first, "output": first + 1 + index, "interpolation": "STEP"})
        target = {"node": nodes[f"frame{index:03d}"], "path": "scale"}
        channels.append({"sampler": len(samplers) - 1, "target": target})
    uri = "data:application/octet-stream;base64," + base64.b64encode(b"".join(data)).decode()
    tree["buffers"].append({"byteLength": at, "uri": uri})
    tree["animations"] = [{"name": "interpolation", "channels": channels, "samplers": samplers}]
