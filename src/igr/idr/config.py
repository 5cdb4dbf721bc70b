"""What decides a run from photographs, as frozen dataclasses; at the end the presets by name.

Lengths are in the unit frame: the hull in a ball of radius 0.9.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Annotated

from ..config import Config, FeatureConfig, MLPConfig, ObjectiveConfig, OptimizerConfig, SamplingConfig
from ..errors import InputError
from ..settings import Checked, Count, Positive, Range, Share, Weight


@dataclass(frozen=True)
class RenderingConfig(Checked):
    """The paper's rendering network, and what its field has beside an MLP's size (section 4, supplement)."""

    width: Count = 512
    """Neurons of each hidden layer."""
    layers: Count = 4
    """Number of hidden layers."""
    octaves: Count = 4
    """Of the positional encoding of directions."""
    features: Count = 256
    """Numbers that the field tells of a place beside its distance."""


@dataclass(frozen=True)
class PhotoConfig(Checked):
    """All that decides a run besides the photographs."""

    field: Config = field(default_factory=Config)
    """The field, its optimizer and steps, the seed; and how it is fitted to the start."""
    rays: Count = 3072
    """Rays a step."""
    start_share: Share = 0.1
    """Share of the run in which the field is fitted to the hull, carved by stereo."""
    color: Weight = 1.0
    """1/|P| Σ ‖I − L‖₁ over rays that meet the surface inside the mask (IDR, section 3.4)."""
    mask: Weight = 100.0
    """1/(α|P|) Σ CE(O, S) over all others (ρ there)."""
    eikonal: Weight = 0.1
    """mean (‖∇f‖ − 1)² anywhere (λ there)."""
    outside: Weight = 1.0
    """mean max(0, d − f) outside the hull, at a distance d from it."""
    alpha: Positive = 50.0
    """α at the start of the run, in 1/length: 1/α is how far from a silhouette the mask's term reaches."""
    alpha_end: Positive = 800.0
    """α at its end; between them it grows geometrically."""
    alpha_doubles: tuple[Share, ...] = ()
    """Where given, α doubles at these shares of the run instead."""
    rendering: RenderingConfig | None = None
    """The paper's networks (torch); None: native features and a small network."""
    paint_rate: Weight = 1.0
    """Learning rate of the features that colors are made of, as a multiple of the field's."""
    shade_rate: Weight = 0.5
    """Learning rate of the network that makes colors of them, likewise."""
    pose_rate: Weight = 0.0
    """Learning rate of the cameras' turns and shifts, likewise; 0: they are exact."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.rendering is None) != isinstance(self.field.network, FeatureConfig):
            raise InputError(
                "the paper's rendering network goes with an MLP, the small one with grids of features"
            )
        if self.field.latents is not None or self.field.radius == 0:
            raise InputError("field is the configuration of a shape space; photographs show one object")

    def alpha_at(self, share: float) -> float:
        """α at a share of the run."""
        if self.alpha_doubles:
            return self.alpha * 2 ** sum(share >= at for at in self.alpha_doubles)
        return self.alpha * (self.alpha_end / self.alpha) ** min(share, 1.0)


@dataclass(frozen=True)
class PhotoOptions(Checked):
    """How a reconstruction from photographs runs, beside its configuration."""

    seconds: Positive | None = None
    """Fit for so long instead of for the configuration's steps."""
    held_out: Annotated[int, Range(0, 10_000)] | None = None
    """Photographs that are not fitted but foretold, to judge by; None: an eighth, where there are at least 12."""
    pixels: Annotated[int, Range(32, 8192)] = 512
    """Photographs are reduced to so many pixels along their longer side."""
    cameras: str = "cameras.npz"
    """Name of that file in a folder."""
    device: str = "auto"
    """As for `Options`, and so are the following."""
    run: str | os.PathLike[str] | None = None
    """Folder of the run: checkpoints, history, configuration."""
    rescue: str | os.PathLike[str] | None = None
    """The same, but written only if the run is stopped or takes longer than a minute."""
    resume: bool = False
    """Continue the run in that folder."""
    overwrite: bool = False
    """Replace the run in that folder, once the first checkpoint of the new one is whole."""
    save_seconds: Weight = 60.0
    """Time between two checkpoints."""


FAST_PHOTOS = PhotoConfig(
    field=Config(
        preset="fast",
        network=FeatureConfig(
            width=32, levels=8, coarsest=8, finest=200, log2_rows=17, start_levels=4, full_detail_at=0.7
        ),
        objective=ObjectiveConfig(surface=10.0, eikonal=0.2, warm_start=1.0, warm_share=1.0),
        sampling=SamplingConfig(surface=4096, near=0.25, uniform=0.25, neighbor=12, spread=2.0, extent=1.1),
        optimizer=OptimizerConfig(initial=5e-3, final=1e-4, schedule="cosine", beta2=0.99),
        steps=1500,
    )
)
"""The default: minutes on a laptop."""

IDR = PhotoConfig(
    field=Config(
        preset="idr",
        network=MLPConfig(width=512, layers=8, skip=(4,), beta=100.0, radius=0.6, octaves=6),
        optimizer=OptimizerConfig(initial=1e-4, final=0.0, schedule="milestones", milestones=(0.5, 0.75)),
        steps=100_000,
    ),
    rays=2048,
    start_share=0.0,
    color=2.0,
    outside=0.0,
    alpha_doubles=(0.125, 0.25, 0.375, 0.5, 0.625),
    rendering=RenderingConfig(),
    shade_rate=1.0,
)
"""The published method (section 4 and supplement): 2000 passes over about 50 photographs; its colors are in
[−1, 1], so differences count twice. What differs: the rays of a step come from all photographs, three quarters of
them inside masks."""

POSE_RATES = {"fast": 0.2, "idr": 1.0}
"""Learning rates of cameras that are mended, as multiples of the field's."""


def mending_cameras(config: PhotoConfig) -> PhotoConfig:
    """The configuration, cameras being mended (IDR, section 4.2); what is outside of the hull of cameras that are
    off may be inside of the object, so that it tells nothing."""
    return replace(config, pose_rate=POSE_RATES[config.field.preset], outside=0.0)


PHOTO_PRESETS = {"fast": FAST_PHOTOS, "idr": IDR}
"""Surfaces from photographs, by name."""
