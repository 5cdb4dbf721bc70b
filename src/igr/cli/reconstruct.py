"""What the subcommands around one surface do: reconstruct, mesh, example.

Each is a frozen dataclass whose fields are its options; nothing heavy is imported before it runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from ..errors import InputError
from .output import Ending, Selecting, check_request, report_result, say, tell, write_result
from .scans import reconstruct_all
from .tiles import Tiling, is_large, reconstruct_tiles

if TYPE_CHECKING:
    from ..cloud.pointcloud import PointCloud
    from ..config import Config
    from ..field.field import Field
    from ..fit.loop import Progress
    from ..studio.watch import Watch

Output = Annotated[Path | None, arg(aliases=["-o"])]


@dataclass(frozen=True)
class Reconstruct(Ending, Selecting, Tiling):
    """Turn point clouds into surfaces: a mesh in space, a curve in the plane."""

    scans: Positional[tuple[Path, ...]] = ()
    """Cloud: text, npy, npz, ply, ptx, las, laz, e57, pcd, a mesh file (its vertices), or the folder of a COLMAP
    model. Several, or another folder: each in turn."""
    output: Output = None
    """Mesh (ply, obj, stl, glb, off) or, in 2D, curve (svg, dxf, json, npz); default: beside the scan. For several
    scans, the folder for their meshes and the table results.csv; for tiles, ply or json (3D Tiles)."""
    preset: Literal["fast", "paper"] = "fast"
    """fast: seconds on a laptop; paper: the published method, faithfully (needs torch and days, or a GPU)."""
    normals: Literal["auto", "trust", "ignore"] = "auto"
    """auto: judge the scan's normals, and use, turn, down-weight or leave them out; trust: take them exactly as
    they are; ignore: fit without them."""
    viewpoint: UseAppendAction[tuple[tuple[float, float, float], ...]] = ()
    """Position of the scanner or camera that saw the points (the scan's frame and units; z says nothing in the
    plane): normals face it. Given several times, points are taken as seen from the nearest."""
    viewpoints: Path | None = None
    """File of such positions: any format of clouds, x y z."""
    columns: str | None = None
    """What the columns of text or .npy are, such as "x y z intensity", _ for one to leave aside; default: what the
    file says, or what its numbers can be."""
    objective: Literal["igr", "sal", "sald"] = "igr"
    """igr: this method; sal, sald: regress the cloud's unsigned distance (and its gradient), without normals."""
    seconds: float | None = None
    """Fit for so long instead of for the preset's number of steps."""
    steps: int | None = None
    """Fit for so many steps instead of the preset's number."""
    resolution: int | None = None
    """Cells along the longest side of the scan's box (default: as its detail asks, 256 to 768; 512)."""
    level: float = 0.0
    """Extract the offset surface at this distance (the scan's units, positive outside)."""
    seed: int = 0
    """Seed of everything random: same seed, machine and threads, same result."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the training steps of the paper's network. auto: bfloat16 where the processor has it, but at the end."""
    device: str = "auto"
    """auto, cpu, torch (the torch reference on the CPU), or a torch device such as cuda."""
    model: Path | None = None
    """Save the fitted surface here, for `igr mesh` and Python; for several scans, a folder."""
    report: Path | None = None
    """Write a page (.html) about the result here; for several scans, a folder."""
    watch: bool = False
    """Show the surface in the browser while it is fitted (extra `viewer`)."""
    port: int = 8080
    """Port of that page, on this machine only."""
    run: Path | None = None
    """Folder for checkpoints, history and configuration (default: runs/NAME, or where that holds a run already
    runs/NAME-2 and so on; only if stopped or long)."""
    resume: bool = False
    """Continue the run in that folder."""
    overwrite: bool = False
    """Start anew in that folder; the run it holds is removed once the first checkpoint of the new one is whole."""
    save_seconds: float = 60.0
    """Time between two checkpoints of the run: what it can lose at most."""
    conf: Path | None = None
    """Read the settings from an original configuration (.conf); needs the extra `legacy`."""
    skip: bool = False
    """Of several scans, leave those alone whose result is there already: continues after a stop."""
    json: bool = False
    """Print the result as one JSON object (of several scans, one a line)."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..formats.colmap import is_model

        if is_large(self):
            return reconstruct_tiles(self)
        several = len(self.scans) > 1 or any(path.is_dir() and not is_model(path) for path in self.scans)
        if several or (self.output is not None and self.output.is_dir()):
            return reconstruct_all(self)
        result = self.reconstruct(rescue=True)
        report_result(result, as_json=self.json)
        return 1 if "unsaved" in result else 0

    def reconstruct(self, *, rescue: bool, beside: Path | None = None) -> dict[str, Any]:
        """Reconstruct the one scan and write its files; returns what there is to say.

        Args:
            rescue: keep what is fitted under runs/ when it is stopped or takes long.
            beside: where no output is named, write it beside this file instead of the scan.
        """
        from ..cloud.pointcloud import as_cloud, read_points
        from ..reconstruction import Options, reconstruct
        from ..store.claim import choose_folder
        from .output import Interruptible

        began = time.monotonic()
        check_request(self.output, self.resolution, self)
        config, scan, resolution, level = self._settings()
        self._check_places(beside or scan)
        told = {"resume": self.resume, "overwrite": self.overwrite}
        kept = choose_folder(self.run, Path("runs") / scan.stem, **told) if rescue else None
        options = Options(
            self.normals,
            self.seconds,
            self.device,
            self.run,
            kept,
            save_seconds=self.save_seconds,
            surface=self.surface,
            steps=self.steps,
            **told,
        )
        notes: list[str] = []

        def notify(note: str) -> None:
            notes.append(note)
            say(f"{scan.name}: {note}")

        with contextlib.ExitStack() as stack:
            page = self._page(config, stack) if self.watch else None
            display = stack.enter_context(Interruptible(kept, quiet=self.json))

            def on_step(progress: Progress, field: Field) -> bool:
                if page is not None:
                    page(progress, field)
                return display(progress, field)

            read = self.selected(read_points(scan, columns=self.columns))
            cloud = as_cloud(read, viewpoints=self._viewpoints())
            check_request(self.output, resolution, self, dimension=cloud.dimension)
            _state_size(cloud, config, resolution, use_normals=self.normals != "ignore")
            surface = reconstruct(cloud, config=config, options=options, on_step=on_step, notify=notify)
        surface.details["command"] = shlex.join(["igr", *sys.argv[1:]])
        if self.model is not None:
            surface.save(self.model)
        result = {"scan": str(scan), **surface.details, "notes": notes}
        result["fit"] = surface.details["fit"] | {"seconds": round(surface.seconds, 3)}
        if surface.unsaved:
            result["unsaved"] = surface.unsaved
        result |= write_result(surface, self.output, beside or scan, resolution, level, self)
        result["seconds"] = round(time.monotonic() - began, 3)
        if self.report is not None:
            from ..show.report import write_report

            write_report(self.report, surface, facts=result)
        return result

    def _viewpoints(self) -> Any:
        """The positions that the scan was seen from, None where none is given."""
        from ..cloud.read import read_table

        read = [] if self.viewpoints is None else read_table(self.viewpoints).points.tolist()
        return [*self.viewpoint, *read] or None

    def _check_places(self, beside: Path) -> None:
        """Refuse outputs that could not be written, before any work."""
        from ..store.atomic import check_folder

        for path in (self.output or beside.with_name(f"{beside.stem}_mesh.ply"), self.model, self.report):
            if path is not None:
                check_folder(path)

    def _page(self, config: Config, stack: contextlib.ExitStack) -> Watch:
        """The page that shows the fit, until the stack is left."""
        from ..studio.page import HOST, open_server, stop
        from ..studio.watch import Watch

        server = open_server(self.port)
        stack.callback(stop, server)
        say(f"watch it at http://{HOST}:{self.port}")
        return Watch(server, config)

    def _settings(self) -> tuple[Config, Path, int | None, float]:
        """Configuration, scan, resolution and level, from the options and perhaps an original .conf file."""
        from ..config import PRESETS

        scan = self.scans[0] if self.scans else None
        config, resolution, level = PRESETS[self.preset], self.resolution, self.level
        if self.conf is not None:
            from ..original_conf import read_conf

            original = read_conf(self.conf)
            for warning in original.warnings:
                say(f"{self.conf}: {warning}")
            config, scan = original.config, scan or original.input_path
            resolution, level = resolution or original.resolution, level or original.level
        if scan is None:
            raise InputError("no scan given: name a point cloud, such as `igr reconstruct scan.ply`")
        if (self.steps is not None and self.steps < 1) or (self.seconds is not None and not self.seconds > 0):
            raise InputError("--steps and --seconds must be positive")
        if not self.save_seconds > 0:
            raise InputError("--save-seconds must be positive")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed} is negative; use a whole number of at least 0")
        objective = dataclasses.replace(config.objective, kind=self.objective)
        config = dataclasses.replace(config, precision=self.precision, objective=objective)
        config = dataclasses.replace(config, seed=self.seed, steps=self.steps or config.steps)
        return config, Path(scan), resolution, level


@dataclass(frozen=True)
class Mesh(Ending):
    """Extract the surface of a saved model, or of any checkpoint of a run, as a mesh or curve."""

    model: Positional[Path]
    """A model saved by --model, or a run folder."""
    output: Output = None
    """Mesh (ply, obj, stl, glb, off) or, in 2D, curve (svg, dxf, json, npz); default: beside the model."""
    resolution: int | None = None
    """Cells along the longest side of the scan's box (default: as its detail asks, 256 to 768; 512)."""
    checkpoint: str = "latest"
    """Step of a run's saved checkpoint, or `latest`."""
    level: float = 0.0
    """Extract the offset surface at this distance (the scan's units, positive outside)."""
    device: str = "auto"
    """auto, cpu, torch, or a torch device such as cuda."""
    json: bool = False
    """Print the result as one JSON object."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..surface.opening import load_model

        began = time.monotonic()
        check_request(self.output, self.resolution, self)
        surface = load_model(self.model, checkpoint=self.checkpoint, device=self.device)
        result = {"model": str(self.model)} | write_result(
            surface, self.output, self.model, self.resolution, self.level, self
        )
        result["seconds"] = round(time.monotonic() - began, 3)
        report_result(result, as_json=self.json)
        return 0


@dataclass(frozen=True)
class Example:
    """Write an example to try things on: a scanned body, an outline, solids, photographs, a D-FAUST folder."""

    name: Positional[str]
    """body, body-bare, outline, sphere, torus, box, knot, photos, or dfaust."""
    output: Positional[Path]
    """File (ply, xyz, npy, npz), or the folder for photos and dfaust."""
    points: int | None = None
    """Number of points, drawn at random from all there are."""
    seed: int = 0
    """Seed of the choice of points, or of the split of the folder."""
    reference: bool = False
    """Also write the true surface beside it."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..examples import write_example

        written = write_example(
            self.name, self.output, points=self.points, seed=self.seed, reference=self.reference
        )
        for path in written:
            tell(f"wrote {path}")
        return 0


def _state_size(cloud: PointCloud, config: Config, resolution: int | None, *, use_normals: bool) -> None:
    """Say how large a cloud is and what memory its surface will take at most; refuse what will not fit."""
    from ..fit.memory import expected_resolution, fitting, meshing
    from ..machine import require, size

    resolution = resolution or expected_resolution(cloud.points, config)
    with_normals = use_normals and cloud.normals is not None
    fit = fitting(len(cloud), cloud.dimension, config, with_normals=with_normals)
    needed = max(fit, meshing(cloud.points, resolution))
    kind = "points with normals" if cloud.normals is not None else "points"
    box = " × ".join(f"{side:.4g}" for side in cloud.points.max(0) - cloud.points.min(0))
    say(f"{cloud.name}: {len(cloud):,} {kind}, box {box}; takes up to {size(needed)} of memory")
    require(needed, f"{cloud.name} at a resolution of {resolution}")
