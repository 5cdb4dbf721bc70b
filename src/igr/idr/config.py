"""What decides a run from photographs, as frozen dataclasses; at the end the presets by name.

Lengths are in the unit frame: the hull in a ball of radius 0.9.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..config import Config, FeatureConfig, ObjectiveConfig, OptimizerConfig, SamplingConfig
from ..errors import InputError
from ..settings import Checked, Count, Positive, Share, Weight


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
    paint_rate: Weight = 1.0
    """Learning rate of the features that colors are made of, as a multiple of the field's."""
    shade_rate: Weight = 0.5
    """Learning rate of the network that makes colors of them, likewise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.field.latents is not None or self.field.radius == 0:
            raise InputError("field is the configuration of a shape space; photographs show one object")


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

PHOTO_PRESETS = {"fast": FAST_PHOTOS}
"""Surfaces from photographs, by name."""
