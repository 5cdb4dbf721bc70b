"""An ONNX model computes the surface's own distance, in the input's frame and units."""

import dataclasses

import numpy as np
import pytest
from analytic import sphere_surface
from shapes import directions, sphere

import igr
from igr.config import FAST, PAPER, MLPConfig
from igr.errors import InputError

pytestmark = pytest.mark.numerical

pytest.importorskip("onnx")
FEATURES = dataclasses.replace(FAST, network=dataclasses.replace(FAST.network, log2_rows=14), steps=40)
NETWORK = dataclasses.replace(
    PAPER,
    network=MLPConfig(width=32, layers=4, skip=(2,)),
    sampling=dataclasses.replace(PAPER.sampling, surface=256),
    steps=20,
)
WAVES = dataclasses.replace(NETWORK, network=dataclasses.replace(NETWORK.network, octaves=2))


@pytest.mark.parametrize(("config", "d"), [(FEATURES, 3), (FEATURES, 2), (NETWORK, 3), (NETWORK, 2), (WAVES, 3)])
def test_onnxruntime_gives_the_same_distances_anywhere(tmp_path, config, d):
    onnxruntime = pytest.importorskip("onnxruntime")
    if config is not FEATURES:
        pytest.importorskip("torch")
    points, normals = sphere(800, d, radius=30)
    center = np.array([4e5, -2e6, 10.0])[:d]
    options = igr.Options(surface="closed")  # so short a fit may look open
    surface = igr.reconstruct(center + points, normals=normals, config=config, options=options)
    surface.to_onnx(tmp_path / "ball.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "ball.onnx", providers=["CPUExecutionProvider"])
    x = center + np.random.default_rng(1).uniform(-60, 60, (5000, d))
    (found,) = session.run(["distance"], {"points": x})
    assert found.shape == (5000,)
    np.testing.assert_allclose(found / surface.frame.scale, surface.distance(x) / surface.frame.scale, atol=1e-5)
    border = surface.frame.to_input(1.1 * directions(1000, d))
    for away in (0.99999, 1.00001, 2, 100, 1e9):
        x = center + away * (border - center)
        (found,), truth = session.run(["distance"], {"points": x}), surface.distance(x)
        np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5 * surface.frame.scale)
    assert session.run(["distance"], {"points": center[None][:0]})[0].shape == (0,)
    unknown = np.tile(center, (3, 1))
    unknown[0, 0], unknown[1, 1] = np.nan, np.inf
    np.testing.assert_array_equal(np.isnan(session.run(["distance"], {"points": unknown})[0]), [True, True, False])


def test_a_decoded_shape_has_a_model_too(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch = pytest.importorskip("torch")
    from igr.cloud.frame import Frame
    from igr.field.networks import MLP
    from igr.field.torch_field import TorchField

    network = MLP(NETWORK.network, 3, latent=5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = network.decode(torch.linspace(-1, 1, 5))
    surface = igr.Surface(TorchField(plain), Frame(np.zeros(3), 2.0), NETWORK, samples=np.eye(3))
    surface.to_onnx(tmp_path / "shape.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "shape.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).uniform(-3, 3, (500, 3))
    np.testing.assert_allclose(session.run(None, {"points": x})[0], surface.distance(x), atol=5e-5)


def test_a_combination_has_no_model(tmp_path):
    with pytest.raises(InputError, match="export its parts"):
        (sphere_surface() | sphere_surface()).to_onnx(tmp_path / "both.onnx")


def test_a_model_of_an_open_surface_is_the_closed_one_and_says_so(tmp_path):
    onnx = pytest.importorskip("onnx")
    points, normals = sphere(800)
    up = points[:, 2] > 0
    surface = igr.reconstruct(points[up], normals=normals[up], config=FEATURES)
    assert surface.is_open
    surface.to_onnx(tmp_path / "open.onnx")
    igr.as_closed(surface).to_onnx(tmp_path / "closed.onnx")
    half, whole = (onnx.load(tmp_path / f"{name}.onnx") for name in ("open", "closed"))
    assert half.graph == whole.graph
    assert "closed surface that the open one" in half.doc_string
