"""The original's configuration files."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from igr.config import PAPER
from igr.errors import InputError

pytest.importorskip("pyhocon")

from igr.original_conf import OriginalShapeSpace, read_conf

CONF = """
train {
  input_path = scans/armchair.xyz
  d_in = 3
  expname = single_shape
  plot_frequency = 1000
  weight_decay = 0
  learning_rate_schedule = [{ "Type" : "Step", "Initial" : 0.004, "Interval" : 1500, "Factor" : 0.25 }]
  network_class = model.network.ImplicitNet
}
plot { resolution = 100, mc_value = 0.0, is_uniform_grid = True, save_html = True }
network {
  inputs { dims = [256, 256, 256, 256], skip_in = [2], geometric_init = True, radius_init = 0.8, beta = 50 }
  sampler { sampler_type = NormalPerPoint, properties { global_sigma = 1.5, local_sigma = 0.01 } }
  loss { lambda = 0.2, normals_lambda = 0.5 }
}
"""


def written(tmp_path, text):
    path = tmp_path / "setup.conf"
    path.write_text(text)
    return path


def test_settings_are_taken_over(tmp_path):
    found = read_conf(written(tmp_path, CONF))
    network, adam = found.config.network, found.config.optimizer
    assert (network.width, network.layers, network.skip, network.beta, network.radius) == (256, 4, (2,), 50, 0.8)
    assert (adam.initial, adam.interval, adam.factor) == (0.004, 1500, 0.25)
    assert (found.config.objective.eikonal, found.config.objective.normals) == (0.2, 0.5)
    assert found.config.sampling.extent == 1.5
    assert (found.dimension, found.resolution, found.level) == (3, 100, 0.0)
    assert found.shape_space == OriginalShapeSpace(None, 0, 0.01, None)
    assert found.input_path == tmp_path / "scans" / "armchair.xyz"


def test_a_shape_space_has_two_schedules(tmp_path):
    text = """
    train { dataset_path = processed, latent_size = 256, preprocess = True,
      learning_rate_schedule = [{ "Type" : "Step", "Initial" : 0.005, "Interval" : 500, "Factor" : 0.5 },
                                { "Type" : "Step", "Initial" : 0.001, "Interval" : 400, "Factor" : 0.5 }] }
    network { sampler.properties.local_sigma = 0.01, loss.latent_lambda = 1e-3 }
    """
    found = read_conf(written(tmp_path, text))
    space = found.shape_space
    assert (space.dataset_path, space.latent_size, space.local_sigma) == (tmp_path / "processed", 256, 0.01)
    assert (space.latent_optimizer.initial, space.latent_optimizer.interval) == (0.001, 400)
    assert (found.config.optimizer.initial, found.config.objective.latent) == (0.005, 1e-3)


def test_an_empty_file_is_the_paper(tmp_path):
    assert read_conf(written(tmp_path, "train { d_in = 3 }")).config == PAPER


def test_keys_without_effect_and_unknown_ones_are_named(tmp_path):
    warnings = read_conf(written(tmp_path, CONF + "\nplot.sparkle = 3")).warnings
    assert "unknown key plot.sparkle is ignored" in warnings
    assert any(text.startswith("plot.save_html has no effect here; give --report") for text in warnings)
    assert not any("weight_decay" in text or "local_sigma" in text for text in warnings)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train.d_in = 4", "train.d_in is 4, expected 2 or 3"),
        ("network.inputs.dims = [512, 0]", "network.inputs.dims"),
        ("network.inputs.dims = [512, 256]", "equal widths"),
        ("network.loss.lambda = -1", "network.loss.lambda is -1, expected a number of at least 0"),
        ("network.inputs.beta = soft", "network.inputs.beta is 'soft'"),
        ("network.inputs.dims = [-512, -512]", "network.inputs.dims"),
        ("network.inputs.dims = 512", "expected a list of equal widths"),
        ("network.inputs.skip_in = [8]", "expected a list of hidden layers from 1 to 7"),
        ("network.inputs.skip_in = [0]", "network.inputs.skip_in"),
        ("network.inputs.radius_init = inf", "expected a finite number"),
        ("network.inputs.geometric_init = False", "always starts as a sphere"),
        ("network.sampler.sampler_type = Uniform", "only NormalPerPoint is known"),
        ("train.network_class = model.network.DeepSDF", "only ImplicitNet is known"),
        ("train.learning_rate_schedule = []", "expected one schedule"),
        ("train.learning_rate_schedule = 0.1", "expected { "),
        ('train.learning_rate_schedule = [{ "Type" : "Step", "Factor" : 2 }]', "factor of at most 1"),
        ("plot.mc_value = nan", "expected a finite number"),
        ("[1, 2]", "is a list"),
        ("train.weight_decay = 0.1", "weight_decay is 0.1, which is not supported"),
        ('train.learning_rate_schedule = [{ "Type" : "Warmup" }]', "expected the type Step"),
        ("train { ", "is no HOCON file"),
        ('include "other.conf"', "includes and"),
    ],
)
def test_impossible_settings_are_refused_in_one_sentence(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        read_conf(written(tmp_path, line))


def test_include_in_a_path_is_no_include(tmp_path):
    assert (
        read_conf(written(tmp_path, "train.input_path = include/a.ply")).input_path == tmp_path / "include/a.ply"
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mangled_file_is_refused_or_read(tmp_path, data):
    start, length = data.draw(st.integers(0, len(CONF))), data.draw(st.integers(0, 30))
    middle = data.draw(st.text('{}[]=,:"$\n\\ab1.', max_size=6))
    with contextlib.suppress(InputError):
        read_conf(written(tmp_path, CONF[:start] + middle + CONF[start + length :]))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_conf(tmp_path / "none.conf")
