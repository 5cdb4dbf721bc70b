"""A cloud in blocks by the command line: tiles, what does not go together, what is large enough."""

import json

import numpy as np
import pytest
import trimesh
from shapes import directions, sphere

from igr.cli.main import main
from igr.cli.reconstruct import Reconstruct
from igr.cli.tiles import is_large
from igr.mesh.write import ply_bytes
from igr.tiles.records import rows_in


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """A ball of radius 50, in two files."""
    folder = tmp_path_factory.mktemp("tiles") / "ball"
    folder.mkdir()
    points, normals = sphere(6000, radius=50.0)
    left = points[:, 0] < 0
    for name, part in (("west", left), ("east", ~left)):
        (folder / f"{name}.ply").write_bytes(ply_bytes(points[part], normals=normals[part]))
    return folder


def test_tiles_are_one_closed_surface(tiles, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [
        "reconstruct",
        "--tiles",
        str(tiles),
        "-o",
        "ball.ply",
        "--block-points",
        "4000",
        "--cell",
        "2",
        "--json",
    ]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["points"], told["blocks"], told["open"], told["open_edges"]) == (6000, 2, False, 0)
    mesh = trimesh.load(tmp_path / "ball.ply", process=False)
    assert mesh.is_watertight
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 50).max() < 0.5
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())  # nothing is kept unasked


def test_what_only_one_field_can_do_is_refused_for_blocks(tiles, capsys):
    assert main(["reconstruct", "--tiles", str(tiles), "-o", "x.ply", "--level", "2"]) == 2
    assert "--level is not for a cloud in blocks" in capsys.readouterr().err
    assert main(["reconstruct", "--tiles", str(tiles), "-o", "x.stl"]) == 2
    assert "use .ply" in capsys.readouterr().err
    assert main(["reconstruct", "--tiles", str(tiles), "-o", "x.ply", "--cluster", "nowhere"]) == 2
    assert "local:N" in capsys.readouterr().err


def test_tiles_that_cannot_be_read_in_chunks_say_what_to_do(tmp_path, capsys):
    np.savetxt(tmp_path / "a.xyz", directions(100))
    assert main(["reconstruct", "--tiles", str(tmp_path / "a.xyz"), "-o", str(tmp_path / "x.ply")]) == 2
    assert "convert it to" in capsys.readouterr().err


def test_files_say_how_many_points_they_have(tiles, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((123, 3)))
    (tmp_path / "a.xyz").write_text("0 0 0\n")
    assert rows_in(tmp_path / "a.npy") == 123
    assert rows_in(tmp_path / "a.xyz") == rows_in(tmp_path / "none.ply") == 0
    assert sum(rows_in(path) for path in tiles.iterdir()) == 6000


def test_a_cloud_of_more_points_than_a_field_makes_use_of_is_cut(tmp_path):
    def head(count):
        path = tmp_path / f"{count}.ply"
        path.write_bytes(f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\n".encode())
        return path

    assert is_large(Reconstruct((head(10_000_000),)))
    assert not is_large(Reconstruct((head(1_000_000),)))
    assert not is_large(Reconstruct((head(10_000_000),), level=1.0))
    assert is_large(Reconstruct((head(1000),), block_points=500))
