"""Memory: estimated before the work, never below what it takes, and refused with advice."""

import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from analytic import to_sphere
from shapes import sphere

import igr
from igr import machine
from igr.cli.main import main
from igr.config import FAST, PAPER
from igr.errors import InputError
from igr.fit import memory
from igr.machine import read_lines
from igr.mesh.extract import extract_mesh
from igr.studio import page


def test_this_machine_says_what_is_free():
    assert 1e6 < machine.available() < 1e15


def test_the_estimate_grows_with_what_it_depends_on():
    few, many = (memory.fitting(n, 3, FAST, with_normals=True) for n in (10**4, 10**7))
    assert few < many
    assert memory.fitting(10**4, 3, PAPER, with_normals=True) > 5 * few
    points, _ = sphere(2000)
    assert memory.meshing(points, 1024) > 3.5 * memory.meshing(points, 512)
    assert memory.meshing(1e12 * points, 512) == pytest.approx(memory.meshing(points, 512))


def test_what_does_not_fit_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    main(["example", "sphere", str(tmp_path / "ball.ply"), "--points", "500"])
    monkeypatch.setattr(machine, "available", lambda: 9e8)
    asked = ["reconstruct", str(tmp_path / "ball.ply"), "--steps", "1000000"]
    assert main([*asked, "--resolution", "4096"]) == 2
    said = capsys.readouterr().err
    assert "500 points with normals, box 1.994 × 1.997 × 1.995; takes up to " in said
    assert "ball.ply at a resolution of 4096 takes up to" in said
    assert "use fewer points, a lower resolution" in said
    assert [path.name for path in tmp_path.iterdir()] == ["ball.ply"]


def test_meshing_stops_before_it_takes_more_than_there_is(monkeypatch):
    monkeypatch.setattr(machine, "available", lambda: 1e8)
    box = np.array([[-1.0] * 3, [1.0] * 3])
    assert len(extract_mesh(to_sphere, box, resolution=128)[1])
    with pytest.raises(InputError, match=r"resolution of 512 takes up to \d+ MB of memory, and 100 MB are free"):
        extract_mesh(to_sphere, box, resolution=512)


def test_a_cloud_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(machine, "available", lambda: 1e6)
    points = np.random.default_rng(0).normal(size=(1000, 3))
    with pytest.raises(InputError, match=r"fitting 1,000 points takes up to .* use fewer points"):
        igr.reconstruct(points)


def test_the_limit_of_a_control_group_counts(tmp_path, monkeypatch):
    group = tmp_path / "a" / "b"
    group.mkdir(parents=True)
    (tmp_path / "memory.max").write_text("9000000\n")
    (tmp_path / "memory.current").write_text("5000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 1000000\n")
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("1000\n")
    monkeypatch.setattr(machine, "control_groups", lambda controller: [group, tmp_path / "a", tmp_path])
    monkeypatch.setattr(machine, "read_lines", lambda path: read_lines(path) if tmp_path in path.parents else [])
    assert machine.available() == 5e6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_memory_goes_back_to_the_system():
    def held():
        return 4096 * int(Path("/proc/self/statm").read_text().split()[1])

    page.give_back()
    before = held()
    blocks = [bytearray(100_000) for _ in range(1000)]  # below the size that is mapped alone
    last = blocks[-1]
    del blocks
    page.give_back()
    assert held() < before + 20e6
    assert len(last) == 100_000


def test_what_refers_to_itself_is_found():
    ring: list[object] = [np.zeros(10)]
    ring.append(ring)
    gone = weakref.ref(ring[0])
    del ring
    page.give_back()
    assert gone() is None
