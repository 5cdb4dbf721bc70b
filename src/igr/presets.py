"""Configurations by name, of surfaces and spaces: `paper`, the published method, and `fast`, the default."""

from __future__ import annotations

import dataclasses

from .config import (
    Config,
    FeatureConfig,
    LatentConfig,
    MLPConfig,
    ObjectiveConfig,
    OptimizerConfig,
    SamplingConfig,
)

PAPER = Config(
    preset="paper",
    network=MLPConfig(),
    objective=ObjectiveConfig(),
    sampling=SamplingConfig(),
    optimizer=OptimizerConfig(),
    steps=100_000,
)
"""The published method, faithfully (section 4 and supplement of the paper)."""

FAST = Config(
    preset="fast",
    network=FeatureConfig(),
    objective=ObjectiveConfig(
        normals=0.3, estimated_normals=0.02, eikonal=0.2, off_surface=0.05, warm_start=1.0, far_sign=1.0
    ),
    sampling=SamplingConfig(surface=2048, near=1.0, uniform=0.5, neighbor=12, spread=2.0, extent=1.1),
    optimizer=OptimizerConfig(initial=1e-2, final=1e-4, schedule="cosine", beta2=0.99),
    steps=700,
    adapt=True,
)
"""The default: the same regularization on multiresolution features, seconds on a laptop."""

PRESETS = {"fast": FAST, "paper": PAPER}
"""One surface from one cloud: the whole way from points to a `Surface`."""

PAPER_SPACE = dataclasses.replace(
    PAPER,
    objective=ObjectiveConfig(latent=1e-3),
    sampling=SamplingConfig(surface=8000, sigmas=(0.01,)),
    optimizer=OptimizerConfig(),
    radius=0.0,
    latents=LatentConfig(epochs=10_000, halving_epochs=500),
)
"""The published shape space (section 4 and supplement of the paper)."""

FAST_SPACE = Config(
    preset="fast",
    network=MLPConfig(width=80, layers=5, skip=(3,), beta=100.0, radius=0.5),
    objective=ObjectiveConfig(
        normals=0.3, eikonal=0.1, off_surface=0.05, warm_start=1.0, warm_share=1.0, far_sign=0.0, latent=1e-3
    ),
    sampling=SamplingConfig(surface=160, uniform=0.5, sigmas=(0.01, 0.05), extent=1.1),
    optimizer=OptimizerConfig(initial=5e-3, final=2e-5, schedule="cosine", beta2=0.99),
    steps=8000,
    latents=LatentConfig(size=64, enters="weights", rate=2.0, spread=0.1),
)
"""The default shape space: minutes on a laptop."""

SPACE_PRESETS = {"fast": FAST_SPACE, "paper": PAPER_SPACE}
"""Shape spaces, by name."""
