"""Configurations: round trips, presets, refusals."""

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import igr
from igr.config import (
    FAST,
    FAST_SPACE,
    PAPER,
    PRESETS,
    Config,
    FeatureConfig,
    LatentConfig,
    MLPConfig,
    ObjectiveConfig,
    OptimizerConfig,
    SamplingConfig,
)
from igr.errors import InputError
from igr.fit.loop import Schedule


@pytest.mark.parametrize("config", PRESETS.values())
def test_json_round_trip_is_exact(config):
    assert Config.from_json(config.to_json()) == config


def changed(**entries):
    return json.dumps(json.loads(FAST.to_json()) | entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no valid JSON"),
        ("[1]", "must be a JSON object, not list"),
        ('{"stepz": 3}', "unknown entry 'stepz'"),
        (changed(steps="many"), r"configuration\.steps is 'many', expected int"),
        (changed(steps=True), "expected int"),
        (changed(radius="1"), "expected float"),
        (changed(optimizer={"schedule": "magic"}), r"configuration\.optimizer\.schedule is 'magic'"),
        (changed(network={"kind": "mlp", "skip": [1.5]}), r"configuration\.network\.skip"),
        (changed(network={"kind": "mlp", "layers": 4, "skip": [4]}), "of 4 hidden layers, 1 to 3 can skip"),
        (changed(network={"kind": "mlp", "skip": [0]}), "1 to 7 can skip"),
        (changed(network={"kind": "mlp", "layers": 1}), "of 1 hidden layers, none can skip"),
        (changed(network=3), "must be a JSON object, not int"),
        ('{"radius": NaN}', "expected float"),
        ("[" * 100_000, "no valid JSON"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_sentence(text, message):
    with pytest.raises(InputError, match=message):
        Config.from_json(text)


@pytest.mark.parametrize("skip", [(4,), (0,), (-1,), (2, 9), (1.5,)])
def test_a_layer_that_does_not_exist_cannot_skip(skip):
    with pytest.raises(InputError, match="of 4 hidden layers, 1 to 3 can skip"):
        MLPConfig(layers=4, skip=skip)


def test_presets_differ_in_kind():
    assert (FAST.network.kind, PAPER.network.kind) == ("features", "mlp")
    assert PAPER.steps == 100_000


def test_configurations_cannot_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FAST.steps = 3


def test_cosine_falls_from_initial_to_final():
    adam = OptimizerConfig(initial=1.0, final=0.1, schedule="cosine")
    assert adam.rate(0, 0.0) == pytest.approx(1.0)
    assert adam.rate(9, 0.5) == pytest.approx(0.55)
    assert adam.rate(9, 1.0) == adam.rate(9, 2.0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("kind", "entries", "message"),
    [
        (ObjectiveConfig, {"kind": "IGR"}, "ObjectiveConfig.kind is 'IGR', expected 'igr' or 'sal' or 'sald'"),
        (ObjectiveConfig, {"surface": -1.0}, "surface is -1.0, expected float from 0"),
        (ObjectiveConfig, {"field_side": 1.5}, "from 0 to 1"),
        (OptimizerConfig, {"schedule": "cos"}, "schedule is 'cos', expected 'halving' or 'cosine'"),
        (OptimizerConfig, {"initial": -1.0}, "initial is -1.0"),
        (OptimizerConfig, {"final": -1e-9}, "final is -1e-09"),
        (OptimizerConfig, {"beta2": 1.0}, "beta2 is 1.0"),
        (SamplingConfig, {"surface": 0}, "surface is 0, expected int from 1"),
        (SamplingConfig, {"surface": 10.5}, "surface is 10.5, expected int"),
        (SamplingConfig, {"uniform": -1}, "uniform is -1"),
        (SamplingConfig, {"extent": float("inf")}, "extent is inf"),
        (SamplingConfig, {"sigmas": [0.1, "x"]}, "SamplingConfig.sigmas[1] is 'x', expected float"),
        (SamplingConfig, {"sigmas": 0.1}, "sigmas is 0.1, expected a list of float"),
        (FeatureConfig, {"width": 0}, "width is 0"),
        (FeatureConfig, {"log2_rows": 40}, "log2_rows is 40"),
        (MLPConfig, {"layers": True}, "layers is True, expected int"),
        (MLPConfig, {"beta": 0}, "beta is 0"),
        (LatentConfig, {"enters": "output"}, "enters is 'output'"),
        (Config, {"steps": 0}, "Config.steps is 0, expected int from 1"),
        (Config, {"seed": -1}, "seed is -1"),
        (Config, {"radius": -1}, "radius is -1"),
        (Config, {"radius": float("nan")}, "radius is nan"),
        (Config, {"network": None}, "network is None, expected FeatureConfig or MLPConfig"),
        (Config, {"objective": {"surface": 1}}, "objective is {'surface': 1}, expected ObjectiveConfig"),
        (igr.Options, {"seconds": -1}, "Options.seconds is -1"),
        (igr.Options, {"seconds": 0}, "seconds is 0"),
        (igr.Options, {"seconds": float("nan")}, "seconds is nan"),
        (igr.Options, {"save_seconds": -1}, "save_seconds is -1"),
        (igr.Options, {"normals": "yes"}, "normals is 'yes', expected 'auto' or 'trust' or 'ignore'"),
        (igr.Options, {"run": 3}, "run is 3, expected str or a path or None"),
        (igr.Options, {"resume": "no"}, "resume is 'no', expected bool"),
        (Schedule, {"optimizer": OptimizerConfig(), "steps": 10, "budget_seconds": -1.0}, "budget_seconds is -1"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_made(kind, entries, message):
    with pytest.raises(InputError, match=re.escape(message)):
        kind(**entries)


def test_options_of_shape_spaces_are_checked_too():
    pytest.importorskip("torch")
    for kind, entries in [
        (igr.EncodeOptions, {"steps": 0}),
        (igr.EncodeOptions, {"pose": "up"}),
        (igr.EncodeOptions, {"units": 0.0}),
        (igr.TrainingOptions, {"seconds": -5}),
    ]:
        name, value = next(iter(entries.items()))
        with pytest.raises(InputError, match=re.escape(f"{kind.__name__}.{name} is {value!r}")):
            kind(**entries)


def test_a_changed_copy_is_checked_too():
    with pytest.raises(InputError, match="steps is 0"):
        dataclasses.replace(FAST, steps=0)


def test_whole_numbers_lists_and_numpy_s_numbers_are_as_good():
    made = Config(radius=1, steps=np.int64(5), sampling=SamplingConfig(sigmas=[np.float32(0.5), 1]))
    assert (made.radius, made.steps, made.sampling.sigmas) == (1.0, 5, (0.5, 1.0))
    assert Config.from_json(made.to_json()) == made


@given(st.builds(OptimizerConfig, initial=st.floats(1e-9, 1.0), final=st.floats(0, 1), factor=st.floats(0, 1)))
def test_what_can_be_made_can_be_saved_and_loaded(optimizer):
    config = dataclasses.replace(FAST, optimizer=optimizer)
    assert Config.from_json(config.to_json()) == config


def test_terms_off_the_cloud_need_points_there():
    nowhere = SamplingConfig(near=0, uniform=0)
    with pytest.raises(InputError, match=r"sampling\.near and sampling\.uniform are 0"):
        Config(sampling=nowhere)
    Config(sampling=nowhere, objective=ObjectiveConfig(eikonal=0))


def test_a_configuration_of_one_kind_is_not_taken_for_the_other():
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="that of one surface; a shape space needs latents"):
        igr.ShapeSpace.train("nowhere", config=FAST)
    with pytest.raises(InputError, match="that of a shape space; one surface has no latents"):
        igr.reconstruct(np.eye(3), config=FAST_SPACE)


def test_a_network_that_the_native_core_does_not_have_is_fitted_and_loaded(tmp_path, caplog):
    pytest.importorskip("torch")
    points = np.random.default_rng(0).normal(size=(100, 2))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    network = FeatureConfig(width=48, levels=3, finest=16)
    surface = igr.reconstruct(points, config=dataclasses.replace(FAST, network=network, steps=2, adapt=False))
    assert "no network of this size" in caplog.text
    surface.save(tmp_path / "odd.igr")
    assert igr.Surface.load(tmp_path / "odd.igr").to_bytes() == surface.to_bytes()
