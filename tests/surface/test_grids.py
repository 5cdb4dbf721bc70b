"""A field on a regular grid: the values belong to their places, and files say the same."""

import re

import numpy as np
import pytest
from analytic import sphere_surface

from igr.errors import InputError
from igr.surface.export import DistanceGrid


@pytest.mark.parametrize("center", [(5.0, -3.0, 700_000.0), (5.0, -3.0)])
def test_every_value_is_the_distance_at_its_place(center):
    surface = sphere_surface(2.0, center)
    grid = surface.to_grid(20)
    np.testing.assert_allclose(grid.values.ravel(), surface.distance(grid.points()), atol=1e-6)
    assert (grid.values < 0).any()
    edge = np.moveaxis(grid.values, 0, -1)[[0, -1]]
    assert (edge > 0).all()


def test_an_npz_holds_the_same_grid(tmp_path):
    grid = sphere_surface().to_grid(10)
    grid.save(tmp_path / "grid.npz")
    again = DistanceGrid.load(tmp_path / "grid.npz")
    np.testing.assert_array_equal(again.values, grid.values)
    np.testing.assert_array_equal(again.origin, grid.origin)
    assert again.spacing == grid.spacing


def parse_vti(data):
    """Extent, origin, spacing and values of VTK image data, read by the format's definition alone."""
    head, _, rest = data.partition(b'<AppendedData encoding="raw">_')
    text = head.decode()
    size = int(np.frombuffer(rest[:8], "<u8")[0])
    extent = [int(n) for n in re.search(r'WholeExtent="([^"]*)"', text).group(1).split()]
    origin, spacing = (
        [float(x) for x in re.search(rf'{key}="([^"]*)"', text).group(1).split()] for key in ("Origin", "Spacing")
    )
    shape = [high - low + 1 for low, high in zip(extent[::2], extent[1::2], strict=True)]
    return np.frombuffer(rest[8 : 8 + size], "<f4").reshape(shape, order="F"), origin, spacing


@pytest.mark.parametrize("center", [(5.0, -3.0, 1.0), (5.0, -3.0)])
def test_vtk_image_data_holds_the_same_grid(tmp_path, center):
    surface = sphere_surface(2.0, center)
    grid = surface.to_grid(16)
    grid.save(tmp_path / "grid.vti")
    values, origin, spacing = parse_vti((tmp_path / "grid.vti").read_bytes())
    i, j, k = 3, 5, values.shape[2] // 2
    place = np.array([origin]) + np.array([spacing]) * [i, j, k]
    assert values[i, j, k] == pytest.approx(surface.distance(place[:, : len(center)])[0], abs=1e-6)
    np.testing.assert_array_equal(values.reshape(grid.values.shape), grid.values)


def test_vtk_itself_reads_image_data(tmp_path):
    vtk = pytest.importorskip("vtkmodules.vtkIOXML")
    from vtkmodules.util.numpy_support import vtk_to_numpy

    grid = sphere_surface(2.0, (5.0, -3.0, 1e6)).to_grid(16)
    grid.save(tmp_path / "grid.vti")
    reader = vtk.vtkXMLImageDataReader()
    reader.SetFileName(str(tmp_path / "grid.vti"))
    reader.Update()
    image = reader.GetOutput()
    assert image.GetDimensions() == grid.values.shape
    assert image.GetOrigin() == tuple(grid.origin)
    values = vtk_to_numpy(image.GetPointData().GetArray("distance"))
    np.testing.assert_array_equal(values.reshape(grid.values.shape, order="F"), grid.values)


def test_what_cannot_be_a_grid_is_refused(tmp_path):
    with pytest.raises(InputError, match="a whole number from 1 to 2,048"):
        sphere_surface().to_grid(0)
    with pytest.raises(InputError, match="a grid is written as"):
        sphere_surface().to_grid(4).save(tmp_path / "grid.vtk")
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(InputError, match=r"damaged or no \.npz archive"):
        DistanceGrid.load(tmp_path / "bad.npz")
