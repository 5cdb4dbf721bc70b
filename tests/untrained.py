"""Surfaces of networks that nobody trained: for tests in which their numbers do not matter."""

import dataclasses

import numpy as np

import igr
from igr.cloud.frame import Frame
from igr.field.field import make_field

FEW = dataclasses.replace(igr.FAST, network=dataclasses.replace(igr.FAST.network, levels=3, finest=16))


def featured(device="cpu"):
    """A surface of features."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 3))
    return igr.Surface(
        make_field(FEW, 3, device=device), Frame(np.array([1.0, 2.0, 3.0]), 4.0), FEW, samples=samples
    )


def space():
    """A shape space of two shapes, a and b."""
    from families import SMALL

    from igr.space.network import SpaceField, SpaceNetwork, first_latents, make_network

    field = SpaceField(SpaceNetwork(make_network(SMALL, 3), first_latents(SMALL, 2)))
    details = {"training": {"steps": 3}}
    return igr.ShapeSpace(field, SMALL, names=["a", "b"], scale=2.0, reach=1.8, details=details)
