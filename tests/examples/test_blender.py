"""The extension for Blender, without a window; skipped where Blender is no Python module (`pip install bpy`)."""

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from igr.examples import example_cloud
from igr.mesh.write import ply_bytes

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "blender"
IMPORT = """
import importlib.util, json, sys
import bpy, numpy as np
spec = importlib.util.spec_from_file_location("igr_in_blender", sys.argv[1])
extension = importlib.util.module_from_spec(spec)
spec.loader.exec_module(extension)
extension.register()
scan, bad = sys.argv[2:]
asked = {"resolution": 48, "triangles": 900, "steps": 60, "ends": "closed"}
done = bpy.ops.import_mesh.igr(filepath=scan, **asked)
made = bpy.context.active_object
mesh = made.data
problem = mesh.validate()
corners = np.array([loop.vertex_index for loop in mesh.loops]).reshape(-1, 3)
places = np.array([vertex.co for vertex in mesh.vertices], float) + list(made["igr_origin"])
sure = np.array([one.value for one in mesh.attributes["confidence"].data])
colors = np.array([one.color_srgb for one in mesh.color_attributes["colors"].data])
try:
    refused = str(bpy.ops.import_mesh.igr(filepath=bad))
except RuntimeError as told:
    refused = str(told)
objects = len([one for one in bpy.data.objects if one.name.startswith("Knot")])
extension.unregister()
print("FOUND " + json.dumps([sorted(done), made.name, problem, places.tolist(), corners.tolist(), sure.tolist(),
                             colors.tolist(), refused, objects]))
"""


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="Blender is not installed as a module: bpy")
def test_a_scan_is_imported_into_blender_as_a_surface(tmp_path):
    import trimesh

    cloud = example_cloud("torus", points=3000)
    far = cloud.points + [4e5, 5e6, 0]  # as maps have it: float32 knows half a unit there
    colors = np.full((len(far), 3), [200, 40, 10], np.uint8)
    (tmp_path / "Knot.ply").write_bytes(ply_bytes(far, None, None, colors, normals=cloud.normals))
    (tmp_path / "bad.ply").write_bytes(b"ply\nformat nonsense\n")
    given = [str(FOLDER / "__init__.py"), str(tmp_path / "Knot.ply"), str(tmp_path / "bad.ply")]
    ran = subprocess.run([sys.executable, "-c", IMPORT, *given], capture_output=True, text=True, check=False)
    told = [line for line in ran.stdout.splitlines() if line.startswith("FOUND ")]
    assert told, ran.stdout + ran.stderr
    done, name, repaired, places, corners, sure, colors, refused, objects = json.loads(told[0][6:])
    assert done == ["FINISHED"]
    assert name == "Knot"
    assert not repaired, "Blender found faults in the mesh"
    mesh = trimesh.Trimesh(places, corners, process=False)
    assert mesh.is_watertight
    assert 400 < len(mesh.faces) <= 900
    assert mesh.volume > 0
    assert abs(mesh.bounds - [far.min(0), far.max(0)]).max() < 0.1
    assert len(sure) == len(places)
    assert np.median(sure) > 0.5
    np.testing.assert_allclose(colors, np.tile(np.array([200, 40, 10, 255]) / 255, (len(places), 1)), atol=0.02)
    assert "not understood" in refused
    assert objects == 1


def test_the_manifest_is_that_of_this_version():
    from igr import __version__

    manifest = tomllib.loads((FOLDER / "blender_manifest.toml").read_text())
    assert manifest["version"] == __version__
    assert manifest["id"] == "igr"
