"""Checkpoints of the original implementation."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from igr.errors import InputError
from igr.space.space import ShapeSpace


class OriginalDecoder(nn.Module):
    """The network of the paper, written as its text says, with an input of latent and place."""

    def __init__(self, width, latent):
        super().__init__()
        inputs = latent + 3
        for index in range(9):
            taken = inputs if index == 0 else width
            given = 1 if index == 8 else width - inputs if index == 3 else width
            setattr(self, f"lin{index}", nn.Linear(taken, given))

    def forward(self, x):
        h = x
        for index in range(9):
            h = torch.cat([h, x], 1) / np.sqrt(2) if index == 4 else h
            h = getattr(self, f"lin{index}")(h)
            h = nn.functional.softplus(h, beta=100) if index < 8 else h
        return h


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoint_of_the_original_gives_the_same_distances(tmp_path, prefix):
    decoder, codes = OriginalDecoder(64, 16), 0.1 * torch.randn(4, 16)
    for folder in ("ModelParameters", "LatentCodes"):
        (tmp_path / "checkpoints" / folder).mkdir(parents=True)
    state = {prefix + name: value for name, value in decoder.state_dict().items()}
    torch.save({"epoch": 7, "model_state_dict": state}, tmp_path / "checkpoints/ModelParameters/7.pth")
    torch.save({"epoch": 7, "latent_codes": codes}, tmp_path / "checkpoints/LatentCodes/7.pth")
    x = torch.rand(100, 3) * 2 - 1
    expected = decoder.double()(torch.cat([codes[2].expand(100, 16), x], 1).double()).squeeze(1).detach()
    space = ShapeSpace.load(tmp_path)
    found = space.decode("shape0002").distance(x.numpy().astype(float))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    alone = ShapeSpace.load(tmp_path / "checkpoints/ModelParameters/7.pth")
    np.testing.assert_allclose(
        alone.decode(codes[2].numpy()).distance(x.numpy().astype(float)), expected, atol=1e-6
    )
    with pytest.raises(InputError, match="no checkpoint '9'; there are: 7"):
        ShapeSpace.load(tmp_path, checkpoint="9")


class Explosive:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state_dict": Explosive()}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match="no checkpoint of tensors alone"):
        ShapeSpace.load(tmp_path / "bad.pth")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"no checkpoint"])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.pth"):
        ShapeSpace.load(tmp_path / "bad.pth")


def saved(path, decoder=None, codes=None, **changed):
    state = (decoder or OriginalDecoder(32, 8)).state_dict() | changed
    for folder, content in (("ModelParameters", {"model_state_dict": state}), ("LatentCodes", codes)):
        (path / folder).mkdir(exist_ok=True)
        if content is not None:
            torch.save(content, path / folder / "5.pth")
    return path


def test_latents_of_an_embedding_are_latents(tmp_path):
    codes = torch.randn(3, 8)
    space = ShapeSpace.load(saved(tmp_path, codes={"epoch": 5, "latent_codes": {"weight": codes}}))
    np.testing.assert_array_equal(space.latents, codes.numpy())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lin9.weights": torch.zeros(2)}, "of another network: expected lin0"),
        ({"lin2.bias": torch.full((32,), torch.nan)}, "NaN or infinity"),
        ({"lin2.bias": torch.zeros(32, dtype=torch.int64)}, "no numbers"),
        ({"lin2.bias": torch.zeros(1).expand(32)}, "larger than the file"),
        ({"lin2.bias": "zeros"}, "something else than plain tensors"),
        ({"lin2.bias": torch.zeros(31)}, "does not fit the network of the original"),
        ({"lin11.weight": torch.zeros(2, 2)}, "does not fit the network of the original"),
    ],
)
def test_weights_of_something_else_are_refused_in_one_sentence(tmp_path, changed, message):
    with pytest.raises(InputError, match=message) as refusal:
        ShapeSpace.load(saved(tmp_path, **changed))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("codes", [torch.zeros(3, 7), torch.zeros(8), torch.full((3, 8), torch.inf)])
def test_latents_of_another_network_are_refused(tmp_path, codes):
    with pytest.raises(InputError, match=r"holds latents|NaN or infinity"):
        ShapeSpace.load(saved(tmp_path, codes={"latent_codes": codes}))


def test_a_list_holds_no_weights_by_name(tmp_path):
    torch.save([torch.zeros(3)], tmp_path / "a.pth")
    with pytest.raises(InputError, match="holds no weights by name"):
        ShapeSpace.load(tmp_path / "a.pth")


def test_a_checkpoint_that_says_latest_is_taken_before_the_numbered_ones(tmp_path):
    saved(tmp_path)
    assert ShapeSpace.load(tmp_path).details["original"] == "5.pth"
    torch.save({"model_state_dict": OriginalDecoder(32, 8).state_dict()}, tmp_path / "ModelParameters/latest.pth")
    assert ShapeSpace.load(tmp_path).details["original"] == "latest.pth"
    assert ShapeSpace.load(tmp_path / "ModelParameters", checkpoint="5").details["original"] == "5.pth"
