"""A saved shape space: read back as it was, or refused in a sentence that says what is wrong with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from families import SMALL

from igr.errors import InputError
from igr.space.network import SpaceField, SpaceNetwork, make_network
from igr.space.space import ShapeSpace
from igr.store.run import RunFolder
from igr.store.tensors import read_tensors, write_tensors
from igr.surface.opening import is_space


@pytest.fixture
def saved(tmp_path):
    field = SpaceField(SpaceNetwork(make_network(SMALL, 3), torch.randn(3, 4)))
    path = tmp_path / "space.safetensors"
    ShapeSpace(field, SMALL, names=("a", "b", "c"), scale=2.0, reach=1.5).save(path)
    return path


CONFIG = json.loads(SMALL.to_json())
DAMAGES = {
    "another version": ({"format": "igr shape space 99"}, "of this version (format 'igr shape space 99')"),
    "no names": ({"names": '"abc"'}, "its names are no list of names"),
    "numbers for names": ({"names": "[1, 2, 3]"}, "its names are no list of names"),
    "too few names": ({"names": '["a", "b"]'}, "it has 2 names for 3 latents"),
    "no size": ({"scale": "0.0"}, "a length of it is '0.0', expected a positive number"),
    "no reach": ({"reach": "inf"}, "a length of it is 'inf', expected a positive number"),
    "a word for a size": ({"scale": "wide"}, "damaged or incomplete"),
    "one surface": ({"config": json.dumps(CONFIG | {"latents": None})}, "is not that of a shape space"),
    "another width": (
        {"config": json.dumps(CONFIG | {"network": CONFIG["network"] | {"width": 25}})},
        "damaged or incomplete",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_space_is_refused_in_one_sentence(saved, damage):
    changed, message = DAMAGES[damage]
    tensors, metadata = read_tensors(saved)
    write_tensors(saved, tensors, metadata | changed)
    with pytest.raises(InputError) as refusal:
        ShapeSpace.load(saved)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["field.latents", "format", "config", "names", "details"])
def test_nothing_may_be_missing(saved, name):
    tensors, metadata = read_tensors(saved)
    tensors.pop(name, None)
    metadata.pop(name, None)
    write_tensors(saved, tensors, metadata)
    with pytest.raises(InputError, match=r"space\.safetensors"):
        ShapeSpace.load(saved)


def test_latents_that_are_not_numbers_are_refused(saved):
    tensors, metadata = read_tensors(saved)
    write_tensors(saved, tensors | {"field.latents": tensors["field.latents"] * np.nan}, metadata)
    with pytest.raises(InputError, match="damaged or incomplete"):
        ShapeSpace.load(saved)


def test_a_space_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="no such run or file; `bodies` is the space that is shipped"):
        ShapeSpace.load(tmp_path / "nothing")


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_of_the_name_of_the_shipped_space_is_the_user_s(saved, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    assert "person00/hips/0" in ShapeSpace.load(kind("bodies")).names
    run = tmp_path / "bodies"
    run.mkdir()
    with pytest.raises(InputError, match="comes before the shipped space of that name"):
        ShapeSpace.load(kind("bodies"))
    with pytest.raises(InputError, match="comes before the shipped space of that name"):
        is_space(kind("bodies"))
    (run / "model.safetensors").write_bytes(saved.read_bytes())
    assert is_space(kind("bodies"))
    assert ShapeSpace.load(kind("bodies")).names == ("a", "b", "c")
    write_tensors(run / "model.safetensors", {"a": np.zeros(2)}, {"format": "igr surface 1"})
    assert not is_space(kind("bodies"))


def test_spaces_are_told_from_surfaces_without_opening_more_than_needed(saved, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.safetensors").write_bytes(saved.read_bytes())
    assert RunFolder(run).checkpoint().read_bytes() == saved.read_bytes()
    (tmp_path / "original" / "ModelParameters").mkdir(parents=True)
    (tmp_path / "original" / "ModelParameters" / "5.pth").write_bytes(b"")
    for path in ("bodies", saved, run, "7.pth", tmp_path / "original"):
        assert is_space(path)
    (tmp_path / "mesh.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    write_tensors(tmp_path / "other.igr", {"a": np.zeros(2)}, {"format": "igr surface 1"})
    for path in ("mesh.off", "other.igr", "missing.ply"):
        assert not is_space(tmp_path / path)
