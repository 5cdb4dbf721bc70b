"""What reconstructions are compared with."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from shapes import directions

from igr.errors import FitError, InputError
from igr.judge.baselines import screened_poisson

NORMALS = directions(3000)


def test_poisson_finds_the_sphere_where_it_is():
    pytest.importorskip("gpytoolbox")
    vertices, faces = screened_poisson(2 * NORMALS + [5, 0, 0], NORMALS, depth=6)
    np.testing.assert_allclose(np.linalg.norm(vertices - [5, 0, 0], axis=1), 2, atol=0.05)
    assert faces.dtype == np.int64


def test_without_gpytoolbox_the_install_line_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "gpytoolbox", None)
    with pytest.raises(InputError, match=r"pip install 'igr\[baselines\]'"):
        screened_poisson(NORMALS, NORMALS)


def test_no_surface_is_said(monkeypatch):
    nothing = SimpleNamespace(point_cloud_to_mesh=lambda *_, **__: (np.zeros((0, 3)), np.zeros((0, 3), np.int32)))
    monkeypatch.setitem(sys.modules, "gpytoolbox", nothing)
    with pytest.raises(FitError, match="found no surface"):
        screened_poisson(NORMALS, NORMALS)
