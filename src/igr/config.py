"""Everything that decides a run, as frozen dataclasses; at the end the presets by name: `paper`, the published
method, and `fast`, the default.

It is saved beside a run's weights; with cloud and seed it repeats it. Lengths: see `cloud/frame.py`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from .errors import InputError
from .settings import Checked, Count, Positive, Range, Seed, Share, Weight, from_plain, parse_json

Width = Annotated[int, Range(1, 65536)]
"""Numbers in a layer."""
Resolution = Annotated[int, Range(1, 2**20 - 1)]
"""Cells along an edge."""
Radius = Annotated[float, Range(0, 1e5)]
"""Of the sphere that an untrained network is; it becomes a weight, and weights beyond 1e6 are not loaded."""


@dataclass(frozen=True)
class MLPConfig(Checked):
    """The paper's network (section 4 and supplement): a plain MLP on the coordinates."""

    kind: Literal["mlp"] = "mlp"
    width: Width = 512
    """Neurons of each hidden layer."""
    layers: Annotated[int, Range(1, 1000)] = 8
    """Number of hidden layers."""
    skip: tuple[int, ...] = (4,)
    """Layers whose input is the previous output and the network's input together, divided by √2."""
    beta: Positive = 100.0
    """Sharpness of the softplus activation."""
    radius: Radius = 1.0
    """Radius of the sphere that the geometric initialisation starts from."""
    octaves: Annotated[int, Range(0, 20)] = 0
    """Coordinates come with sin and cos of 2ᵏ times themselves, k below this (IDR's positional encoding)."""

    def __post_init__(self) -> None:
        if type(self.layers) is int and not all(layer in range(1, self.layers) for layer in self.skip):
            able = f"1 to {self.layers - 1}" if self.layers > 1 else "none"
            raise InputError(f"skip is {self.skip}; of {self.layers} hidden layers, {able} can skip")
        super().__post_init__()


@dataclass(frozen=True)
class FeatureConfig(Checked):
    """Multiresolution features and a small MLP: what `fast` fits, natively or in torch."""

    kind: Literal["features"] = "features"
    levels: Annotated[int, Range(1, 1000)] = 9
    """Grids of features, from `coarsest` to `finest` in a geometric progression."""
    features: Annotated[int, Range(1, 64)] = 2
    """Numbers a grid corner holds."""
    coarsest: Resolution = 8
    """Cells along an edge of the coarsest grid."""
    finest: Resolution = 320
    """Cells along an edge of the finest grid."""
    log2_rows: Annotated[int, Range(0, 30)] = 20
    """A grid with more corners than 2^this shares rows by a spatial hash."""
    carries: Annotated[int, Range(0, 2**40)] = 0
    """Cells of the surface that these grids have room for: with `adapt`, a cloud that tells of more gets finer
    grids, more of them, longer tables and more `steps`, in proportion; 0: never."""
    bound: Positive = 1.2
    """Half the edge of the cube that the grids cover."""
    width: Width = 64
    """Neurons of both hidden layers."""
    beta: Positive = 100.0
    """Sharpness of the softplus activation."""
    radius: Radius = 0.5
    """Radius of the sphere that the initialisation starts from."""
    start_levels: Annotated[int, Range(0, 1000)] = 3
    """Levels that are on at the first step."""
    full_detail_at: Share = 0.6
    """Share of the run after which every level is on."""


@dataclass(frozen=True)
class ObjectiveConfig(Checked):
    """Weights of the terms in `objective.py`; a term of weight 0 is not computed."""

    kind: Literal["igr", "sal", "sald"] = "igr"
    """igr: the terms below; sal: off the cloud only the unsigned distance to it is regressed by |f|; sald: its
    gradient too, up to sign, with the weight `eikonal`. Both need no normals and use none."""
    surface: Weight = 1.0
    """mean |f| on the cloud (equation 2 of the paper)."""
    surface_width: Weight = 0.0
    """|f| up to which that term is quadratic (Huber 1964); follows the noise of the points, see `fit/adapt.py`."""
    normals: Weight = 1.0
    """mean ‖∇f − n‖ on the cloud, where normals are known (equation 2)."""
    estimated_normals: Weight = 0.0
    """The same for normals that were estimated from bare points, each by its confidence, at the end of the run; it
    falls to this from `normals`. At 0 nothing is estimated: bare points are fitted as in the paper."""
    field_side: Share = 1.0
    """Share of the run after which estimated normals are turned to the side that the field has found, and each
    counts fully: its sign is known by then. 1: never."""
    eikonal: Weight = 0.1
    """mean (‖∇f‖ − 1)² off the cloud (equation 2, λ)."""
    off_surface: Weight = 0.0
    """mean exp(−α|f|) off the cloud: keeps ghost sheets away (Sitzmann et al. 2020, equation 6)."""
    off_surface_alpha: Weight = 50.0
    """α of that term, in 1/length: values closer to 0 than about 1/α are pushed away."""
    warm_start: Weight = 0.0
    """mean |f − s·U| far from the cloud, s the sign and U the distance known from the oriented cloud; only
    in the first `warm_share` of the run (`fit/far.py`)."""
    warm_share: Share = 0.2
    """Share of the run in which `warm_start` acts."""
    near_distance: Weight = 0.0
    """mean |f − d| near a surface in space, d the distance that the oriented points beside a place tell
    (`fit/near.py`)."""
    far_sign: Weight = 0.0
    """mean max(0, U/3 − s·f) far from the cloud, during the whole run: the sign there cannot flip."""
    latent: Weight = 0.0
    """mean ‖z‖ of the shapes in the batch (shape spaces only)."""


@dataclass(frozen=True)
class SamplingConfig(Checked):
    """Where a step looks, section 4 of the paper (samples of the loss)."""

    surface: Count = 16384
    """Points of the cloud a step."""
    near: Weight = 1.0
    """Points near the cloud, as a multiple of `surface`: a point of the batch plus N(0, σ²)."""
    uniform: Weight = 0.125
    """Points anywhere in [-extent, extent]^d, as a multiple of `surface`."""
    neighbor: Count = 50
    """σ is the distance to this nearest neighbor of the point, times `spread`."""
    spread: Positive = 1.0
    """See `neighbor`: twice the 12th is about the 50th, and quicker to find."""
    extent: Positive = 1.8
    """Half the edge of the cube of the uniform points."""
    sigmas: tuple[Weight, ...] = ()
    """Where given, σ is not measured: each point takes one of these at random (shape spaces)."""


@dataclass(frozen=True)
class OptimizerConfig(Checked):
    """Adam and the schedule of its learning rate."""

    initial: Positive = 5e-3
    """Learning rate of the first step."""
    final: Weight = 5e-6
    """Smallest learning rate."""
    schedule: Literal["halving", "cosine", "milestones"] = "halving"
    """`halving`: times `factor` every `interval` steps, `milestones`: there; `cosine`: half a cosine."""
    interval: Count = 2000
    """Steps between two reductions (`halving`)."""
    factor: Share = 0.5
    """What the rate is multiplied by (`halving`, `milestones`)."""
    milestones: tuple[Share, ...] = ()
    """Shares of the run (`milestones`)."""
    beta2: Annotated[float, Range(0, 1 - 1e-9)] = 0.999
    """Decay of Adam's second moment."""

    def rate(self, step: int, progress: float) -> float:
        """Learning rate at `step`, a share `progress` of the way through the run."""
        if self.schedule == "halving":
            return max(self.final, self.initial * self.factor ** (step // self.interval))
        if self.schedule == "milestones":
            return max(self.final, self.initial * self.factor ** sum(progress >= at for at in self.milestones))
        return self.final + (self.initial - self.final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


@dataclass(frozen=True)
class LatentConfig(Checked):
    """What tells the shapes of a shape space apart: a latent vector for each, fitted with the network."""

    size: Width = 256
    """Length of a latent."""
    enters: Literal["input", "weights"] = "input"
    """`input`: beside the coordinates (Park et al. 2019, DeepSDF; the paper); `weights`: every weight of the
    network is affine in it (Ha, Dai, Le 2017, HyperNetworks), which learns faster with a smaller network."""
    shapes: Count = 16
    """Shapes a step; `SamplingConfig.surface` is for each of them."""
    rate: Weight = 0.2
    """Learning rate of the latents, as a multiple of the network's."""
    spread: Weight = 0.0
    """Standard deviation of the latents at the start."""
    epochs: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Passes over all shapes that the run takes instead of `steps`, where it is not 0."""
    halving_epochs: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Passes between two reductions of the learning rate instead of `interval`, where it is not 0."""


@dataclass(frozen=True)
class Config(Checked):
    """All that decides a run besides the cloud."""

    preset: str = "fast"
    """Name of the preset that this started from."""
    network: FeatureConfig | MLPConfig = field(default_factory=FeatureConfig)
    """What represents the field."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """Weights of the loss terms."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Where each step looks."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Adam and its schedule."""
    steps: Count = 1000
    """Steps of a run without a budget in seconds."""
    radius: Weight = 0.9
    """Radius of the ball that the cloud is scaled into; 0: not scaled (shape spaces)."""
    adapt: bool = False
    """Follow the cloud: cells, weights and the side of rough normals (`fit/adapt.py`), and what the network leaves
    of the points added at the end (`fit/residual.py`). Off: as set here."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the products in the training steps of an MLP; what is stored and evaluated is always float32. bfloat16 is
    several times faster on processors that have it, and good to about 1e-3 in f; the last tenth of a run is in
    float32, which makes up for that. auto: bfloat16 where the device has it, for networks 256 wide or more."""
    seed: Seed = 0
    """Seed of the initial weights and of all sampling."""
    latents: LatentConfig | None = None
    """For a shape space: its latents."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.latents and isinstance(self.network, MLPConfig) and self.network.octaves:
            raise InputError("network.octaves is for one surface; a shape space has none")
        terms = self.objective
        off_cloud = terms.eikonal or terms.off_surface or terms.warm_start or terms.far_sign or terms.kind != "igr"
        if off_cloud and not (self.sampling.near or self.sampling.uniform):
            raise InputError("sampling.near and sampling.uniform are 0, and terms off the cloud need points there")

    def to_json(self) -> str:
        """This configuration as JSON; `from_json` is the exact inverse."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @staticmethod
    def from_json(text: str) -> Config:
        """The configuration written by `to_json`.

        Raises:
            InputError: `text` is no JSON object, or has an unknown or ill-typed entry.
        """
        return from_plain(Config, parse_json(text, "the configuration"), "configuration")


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
    network=FeatureConfig(width=32, log2_rows=19, carries=170_000, full_detail_at=0.9),
    objective=ObjectiveConfig(
        surface=10.0,
        estimated_normals=0.02,
        eikonal=0.2,
        off_surface=0.05,
        near_distance=1.0,
        warm_start=1.0,
        warm_share=1.0,
    ),
    sampling=SamplingConfig(surface=4096, near=0.25, uniform=0.125, neighbor=12, spread=2.0, extent=1.1),
    optimizer=OptimizerConfig(initial=1e-2, final=1e-4, schedule="cosine", beta2=0.99),
    steps=500,
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
