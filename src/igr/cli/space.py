"""What the subcommands for shape spaces do: shapespace train, eval, interpolate, sample, latents."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitSubcommandPrefixes, Positional, arg

from ..errors import FAILURES, FitError, InputError, reason
from .output import say, tell

if TYPE_CHECKING:
    from ..mesh.triangles import Mesh
    from ..space.encode import Encoding
    from ..space.space import ShapeSpace

Output = Annotated[Path, arg(aliases=["-o"])]


@dataclass(frozen=True)
class Train:
    """Train a shape space on scans that `igr dfaust preprocess` has sampled."""

    data: Positional[Path]
    """Folder of samples: every .npy below it is a shape."""
    split: Path | None = None
    """Split file: only the scans it names."""
    preset: Literal["fast", "paper"] = "fast"
    """fast: minutes on a laptop; paper: the published method, faithfully (needs days, or GPUs)."""
    run: Path | None = None
    """Folder for checkpoints, history and configuration; the trained space is its model.safetensors (default:
    runs/shapespace, or where that holds a run already runs/shapespace-2 and so on)."""
    resume: bool = False
    """Continue the run in that folder."""
    overwrite: bool = False
    """Start anew in that folder; the run it holds is removed once the first checkpoint of the new one is whole."""
    steps: int | None = None
    """Train for so many steps instead of the preset's number."""
    epochs: int | None = None
    """Train for so many passes over all shapes."""
    seconds: float | None = None
    """Train for so long."""
    validate: Path | None = None
    """Split file of scans that are encoded and meshed at every checkpoint, into RUN/validation."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "auto"
    """auto, cpu, or a torch device such as cuda. With torchrun the ranks share the shapes of a step."""
    save_seconds: float = 60.0
    """Time between two checkpoints."""

    def __call__(self) -> int:
        """Run the subcommand."""
        import dataclasses

        from ..config import SPACE_PRESETS
        from ..machine import rank_and_ranks
        from ..space.space import ShapeSpace
        from ..space.training import TrainingOptions, training_scans
        from ..store.claim import choose_folder
        from .output import Interruptible

        run = choose_folder(self.run, "runs/shapespace", resume=self.resume, overwrite=self.overwrite)
        config = dataclasses.replace(SPACE_PRESETS[self.preset], seed=self.seed)
        assert config.latents is not None
        if self.epochs is not None:
            config = dataclasses.replace(config, latents=dataclasses.replace(config.latents, epochs=self.epochs))
        elif self.steps is not None:
            latents = dataclasses.replace(config.latents, epochs=0)
            config = dataclasses.replace(config, steps=self.steps, latents=latents)
        validation = {} if self.validate is None else training_scans(self.data, self.validate)
        first = rank_and_ranks()[0] == 0
        options = TrainingOptions(
            self.split, self.seconds, self.device, run, self.resume, self.save_seconds, validation, self.overwrite
        )
        with Interruptible(run if first else None, quiet=not first) as watch:
            space = ShapeSpace.train(self.data, config=config, options=options, on_step=watch)
        if first:
            training = space.details["training"]
            tell(f"wrote {run.path / 'model.safetensors'}: {training['shapes']:,} shapes in {space.seconds:.1f} s")
        return 0


@dataclass(frozen=True)
class Eval:
    """Predict meshes of scans, seen or unseen, by fitting their latents with the trained network."""

    model: Positional[str]
    """Run folder, saved space, `bodies` (shipped), or a checkpoint of the original (.pth or its folder)."""
    data: Positional[Path]
    """A scan, or a folder of scans or of samples."""
    out: Output = Path("predictions")
    """Folder for the meshes and for errors.json."""
    split: Path | None = None
    """Split file: only the scans it names."""
    normals: Literal["auto", "ignore"] = "auto"
    """ignore: do not use the scans' normals."""
    pose: Literal["auto", "upright", "fixed"] = "auto"
    """auto: find how a scan is turned; upright: as the training's; fixed: also centered as those were."""
    refine: float = 0.0
    """Then fit the network of each scan to its points for so many seconds."""
    resolution: int = 192
    """Cells along the longest side."""
    steps: int = 250
    """Steps of the fit of the latents."""
    checkpoint: str = "latest"
    """Which checkpoint of a run."""
    skip: bool = False
    """Leave scans alone whose mesh and errors are there: continues after a stop."""
    json: bool = False
    """Print the errors as one JSON object."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..machine import rank_and_ranks
        from ..space.encode import EncodeOptions
        from ..space.predict import evaluate_scans, scans_of
        from ..space.space import ShapeSpace

        scans = scans_of(self.data, self.split)
        space = ShapeSpace.load(self.model, checkpoint=self.checkpoint)
        options = EncodeOptions(steps=self.steps, normals=self.normals, pose=self.pose)
        began, rows, failed = time.monotonic(), [], 0
        for row in evaluate_scans(
            space,
            scans,
            self.out,
            options,
            resolution=self.resolution,
            refine_seconds=self.refine,
            skip=self.skip,
            rank=rank_and_ranks(),
        ):
            rows.append(row)
            failed += "error" in row
            if "error" in row:
                say(f"igr: failed: {row['scan']}: {row['error']}")
            elif not self.json:
                mean, share = row["mean_to_surface"], row["percent_of_size"]
                lost = 1 - row["kept_share_of_area"]
                rest = f"; smaller pieces left out: {lost:.2%} of the area" if lost else ""
                tell(f"{row['scan']}  {mean:.4g} mean distance of its points, {share:.3f} % of its size{rest}")
        seconds = round(time.monotonic() - began, 1)
        if self.json:
            print(json.dumps({"scans": rows, "seconds": seconds}))
        else:
            tell(f"wrote {len(rows) - failed} meshes to {self.out} in {seconds} s, failed {failed}")
        return (2 if self.data.is_file() else 1) if failed else 0


@dataclass(frozen=True)
class Interpolate:
    """Meshes along the straight line between two latents, and a page that plays them."""

    model: Positional[str]
    """Run folder, saved space, `bodies`, or a checkpoint of the original."""
    first: Positional[str]
    """A scan, or the name of a training shape."""
    second: Positional[str]
    """Likewise."""
    out: Output = Path("interpolation")
    """Folder for the meshes, and for interpolation.glb, which plays them one after the other."""
    interval: int = 10
    """Meshes between and including the two."""
    resolution: int = 128
    """Cells along the longest side."""
    checkpoint: str = "latest"
    """Which checkpoint of a run."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..mesh.write import write_animation
        from ..space.space import ShapeSpace

        space = ShapeSpace.load(self.model, checkpoint=self.checkpoint)
        ends = [_shape(space, name) for name in (self.first, self.second)]
        between = space.between(ends[0], ends[1], steps=self.interval)
        meshes = _written(self.out, space, between, self.resolution)
        write_animation(self.out / "interpolation.glb", meshes)
        tell(f"wrote {len(meshes)} meshes and interpolation.glb to {self.out}{_lost(between, meshes)}")
        return 1 if len(meshes) < len(between) else 0


@dataclass(frozen=True)
class Sample:
    """Meshes of new shapes, drawn from the normal distribution of the training shapes' latents."""

    model: Positional[str]
    """Run folder, saved space, `bodies`, or a checkpoint of the original."""
    out: Output = Path("samples_of_space")
    """Folder for the meshes."""
    count: int = 8
    """How many."""
    seed: int = 0
    """Seed of the draw."""
    resolution: int = 128
    """Cells along the longest side."""
    checkpoint: str = "latest"
    """Which checkpoint of a run."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..space.space import ShapeSpace

        space = ShapeSpace.load(self.model, checkpoint=self.checkpoint)
        latents = list(space.sample(self.count, seed=self.seed))
        meshes = _written(self.out, space, latents, self.resolution)
        tell(f"wrote {len(meshes)} meshes to {self.out}{_lost(latents, meshes)}")
        return 1 if len(meshes) < len(latents) else 0


@dataclass(frozen=True)
class Latents:
    """A map of the training shapes: their latents along the two directions in which they vary most."""

    model: Positional[str]
    """Run folder, saved space, `bodies`, or a checkpoint of the original."""
    out: Output = Path("latents.svg")
    """.svg (a picture with the names; point at a dot), or .csv (the table, all principal directions)."""
    checkpoint: str = "latest"
    """Which checkpoint of a run."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..show.drawings import latent_picture, latent_table
        from ..space.space import ShapeSpace
        from ..store.atomic import check_folder, write_bytes

        check_folder(self.out)
        if self.out.suffix.lower() not in (".svg", ".csv"):
            raise InputError(f"{self.out}: maps of latents are written as .svg or .csv")
        space = ShapeSpace.load(self.model, checkpoint=self.checkpoint)
        made = latent_table(space) if self.out.suffix.lower() == ".csv" else latent_picture(space)
        write_bytes(self.out, made.encode())
        tell(f"wrote {self.out}: {len(space.names):,} shapes")
        return 0


@dataclass(frozen=True)
class Shapespace:
    """Shape spaces: train on many scans, predict meshes of unseen ones, go from one shape to another."""

    command: OmitSubcommandPrefixes[Train | Eval | Interpolate | Sample | Latents]
    """What to do."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..machine import torch_device

        torch_device("cpu")  # says how to install torch where it is missing
        return self.command()


def _written(out: Path, space: ShapeSpace, shapes: Sequence[Any], resolution: int) -> list[Mesh]:
    """The shapes' meshes, the largest piece of each, written to OUT/000.ply and so on. One that has no surface is
    left out, and said; its number stays free.

    Raises:
        FitError: none has a surface.
    """
    from ..mesh.pieces import largest_piece
    from ..mesh.write import write_mesh
    from ..store.atomic import make_folder

    meshes: list[Mesh] = []
    make_folder(out)
    for index, shape in enumerate(shapes):
        try:
            mesh, share = largest_piece(space.decode(shape).mesh(resolution=resolution))
        except FAILURES as problem:
            say(f"igr: failed: shape {index + 1} of {len(shapes)}: {reason(problem)}")
            continue
        write_mesh(out / f"{index:03d}.ply", mesh.vertices, mesh.faces)
        rest = f", other pieces left out: {1 - share:.2%} of the area" if share < 1 else ""
        say(f"shape {index + 1} of {len(shapes)}  volume {mesh.volume:.5g}{rest}")
        meshes.append((mesh.vertices, mesh.faces))
    if not meshes:
        raise FitError(f"none of the {len(shapes)} shapes has a surface")
    return meshes


def _lost(shapes: Sequence[Any], meshes: Sequence[Mesh]) -> str:
    return f", failed {len(shapes) - len(meshes)}" if len(meshes) < len(shapes) else ""


def _shape(space: ShapeSpace, name: str) -> Encoding | Any:
    """A scan's encoding, or the name of a training shape."""
    return name if name in space.names else space.encode(Path(name))
