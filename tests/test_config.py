"""Configurations: round trips, presets, refusals."""

import dataclasses
import json

import pytest

from igr.config import Config, MLPConfig, OptimizerConfig
from igr.errors import InputError
from igr.presets import FAST, PAPER, PRESETS


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
