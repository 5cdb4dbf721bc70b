"""The original's configuration files."""

import pytest

from igr.config import PAPER
from igr.errors import InputError

pytest.importorskip("pyhocon")

from igr.original import read_conf

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
    assert found.input_path == tmp_path / "scans" / "armchair.xyz"


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
        ("train.weight_decay = 0.1", "weight_decay is not supported"),
        ('train.learning_rate_schedule = [{ "Type" : "Warmup" }]', "expected the type Step"),
        ("train { ", "is no HOCON file"),
        ('include "other.conf"', "includes are not followed"),
    ],
)
def test_impossible_settings_are_refused_in_one_sentence(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        read_conf(written(tmp_path, line))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_conf(tmp_path / "none.conf")
