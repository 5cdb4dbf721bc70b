"""What the subcommands beside the reconstruction of clouds do: images, render, view, studio."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from ..errors import InputError
from .output import Ending, Interruptible, check_request, report_result, say, tell, write_result

if TYPE_CHECKING:
    from ..idr.config import PhotoConfig, PhotoOptions
    from ..images import views as photographs
    from ..store.run import RunFolder

CLOSED = Ending(surface="closed")
"""What photographs of an object show."""


@dataclass(frozen=True)
class Images:
    """Turn masked photographs with known cameras into a closed, colored surface."""

    folder: Positional[Path]
    """Holds cameras.npz, image and mask (IDR, NeuS), transforms.json (NeRF), or COLMAP's model and masks."""
    output: Annotated[Path | None, arg(aliases=["-o"])] = None
    """Mesh (ply, obj, stl, glb, off); default: beside the folder."""
    hull: bool = False
    """Only the visual hull: what the silhouettes alone say, in seconds."""
    resolution: int = 256
    """Cells along the longest side of the object's box."""
    pixels: int = 512
    """Photographs are reduced to so many pixels along their longer side."""
    cameras: str = "cameras.npz"
    """Name of that file in the folder."""
    preset: Literal["fast", "idr"] = "fast"
    """fast: minutes on a laptop; idr: the published method (needs torch and days, or a GPU)."""
    seconds: float | None = None
    """Fit for so long instead of for the preset's number of steps."""
    steps: int | None = None
    """Fit for so many steps instead of the preset's number."""
    refine_cameras: bool = False
    """Mend the cameras while the surface is fitted: for such as are off by a pixel or a few."""
    held_out: int | None = None
    """Photographs that are not fitted but foretold, to judge by (default: an eighth, of 12 or more)."""
    seed: int = 0
    """Seed of everything random: same seed, machine and threads, same result."""
    run: Path | None = None
    """Folder for checkpoints, history and configuration (default: runs/FOLDER, or where that holds a run already
    runs/FOLDER-2 and so on; only if stopped or long)."""
    resume: bool = False
    """Continue the run in that folder."""
    overwrite: bool = False
    """Start anew in that folder; the run it holds is removed once the first checkpoint of the new one is whole."""
    save_seconds: float = 60.0
    """Time between two checkpoints of the run: what it can lose at most."""
    model: Path | None = None
    """Save the fitted surface here, for `igr mesh` and Python."""
    report: Path | None = None
    """Write a page (.html) about the result here."""
    json: bool = False
    """Print the result as one JSON object."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from ..images.read import read_views
        from ..store.atomic import check_folder

        began = time.monotonic()
        target = self.output or self.folder.with_name(f"{self.folder.resolve().name}_mesh.ply")
        check_request(target, self.resolution, CLOSED, dimension=3)
        for path in filter(None, (self.model, self.report)):
            check_folder(path)
        config, (options, kept) = self._config(), self._options()
        views = read_views(self.folder, cameras=self.cameras, longest=self.pixels)
        size = " x ".join(map(str, views[0].mask.shape[::-1]))
        say(f"{self.folder.name}: {len(views)} photographs of {size} with masks and cameras")
        return (
            self._hull(views, target, began)
            if self.hull
            else self._fit(views, config, options, kept, target, began)
        )

    def _config(self) -> PhotoConfig:
        """The preset with the steps, the seed and the cameras that were asked for."""
        from ..idr.config import PHOTO_PRESETS, mending_cameras

        preset = PHOTO_PRESETS[self.preset]
        preset = mending_cameras(preset) if self.refine_cameras else preset
        steps = preset.field.steps if self.steps is None else self.steps
        return replace(preset, field=replace(preset.field, seed=self.seed, steps=steps))

    def _options(self) -> tuple[PhotoOptions, RunFolder]:
        """What was asked for beside it, and where what is fitted is kept when it is stopped or takes long."""
        from ..idr.config import PhotoOptions
        from ..store.claim import choose_folder

        told = {"resume": self.resume, "overwrite": self.overwrite}
        kept = choose_folder(self.run, Path("runs") / self.folder.resolve().name, **told)
        asked = self.seconds, self.held_out, self.pixels, self.cameras, "auto", self.run
        return PhotoOptions(*asked, rescue=kept, save_seconds=self.save_seconds, **told), kept

    def _fit(
        self,
        views: list[photographs.View],
        config: PhotoConfig,
        options: PhotoOptions,
        kept: RunFolder,
        target: Path,
        began: float,
    ) -> int:
        """Write the surface that the photographs show."""
        from ..idr.photographs import reconstruct_images

        notes: list[str] = []

        def notify(note: str) -> None:
            notes.append(note)
            say(f"{self.folder.name}: {note}")

        with Interruptible(kept, quiet=self.json) as display:
            surface = reconstruct_images(views, config=config, options=options, on_step=display, notify=notify)
        surface.details |= {"name": self.folder.resolve().name, "command": shlex.join(["igr", *sys.argv[1:]])}
        if self.model is not None:
            surface.save(self.model)
        result = {"folder": str(self.folder), **surface.details, "notes": notes}
        if surface.unsaved:
            result["unsaved"] = surface.unsaved
        result["fit"] = result["fit"] | {"seconds": round(surface.seconds, 3)}
        result |= write_result(surface, target, self.folder, self.resolution, 0.0, CLOSED)
        result["seconds"] = round(time.monotonic() - began, 3)
        if self.report is not None:
            from ..show.report import write_report

            write_report(self.report, surface, facts=result)
        if (judged := surface.details.get("held_out")) and not self.json:
            told = (
                f"{judged['psnr']:.1f} dB inside their masks, silhouettes alike by {judged['mask_iou']:.1%} (IoU)"
            )
            say(f"held out  {judged['views']} photographs: {told}")
        report_result(result, as_json=self.json)
        return 1 if surface.unsaved else 0

    def _hull(self, views: list[photographs.View], target: Path, began: float) -> int:
        """Write what the silhouettes alone say."""
        from ..images.hull import Hull
        from ..mesh.write import write_mesh

        hull = Hull(views)
        for doubt in hull.doubts():
            say(f"{self.folder.name}: {doubt}")
        vertices, faces = hull.mesh(self.resolution)
        write_mesh(target, vertices, faces)
        seconds = round(time.monotonic() - began, 3)
        result = {"folder": str(self.folder), "output": str(target), "triangles": len(faces), "seconds": seconds}
        say(f"hull  {self.resolution}³, {len(faces):,} triangles")
        tell(json.dumps(result) if self.json else f"wrote {target} in {seconds:.1f} s")
        return 0


@dataclass(frozen=True)
class Render:
    """Draw a picture of a saved model or a mesh, or a film all around it, without a screen."""

    source: Positional[Path]
    """Model saved by --model, run folder, or mesh file."""
    output: Annotated[Path | None, arg(aliases=["-o"])] = None
    """The picture (.png)."""
    turntable: Path | None = None
    """A film all around (.gif, or .mp4 where imageio-ffmpeg is installed)."""
    view: Literal["corner", "front", "back", "left", "right", "top", "bottom"] = "corner"
    """Where it is seen from; z is up."""
    azimuth: float | None = None
    """Degrees around the z axis, instead of the view's."""
    elevation: float | None = None
    """Degrees above the x-y plane, instead of the view's."""
    pixels: int = 800
    """Height and width of the picture."""
    resolution: int = 256
    """Cells along the longest side, where a model has to be meshed for a film."""
    confidence: bool = False
    """Color the picture of a model by confidence: red where the surface was filled in."""
    colors: bool = True
    """Show a model in the colors of its scan, where it has any; --no-colors: in one color."""

    def __call__(self) -> int:
        """Run the subcommand."""
        import numpy as np

        from ..show import render
        from ..store.atomic import check_folder
        from ..surface.attributes import vertex_colors
        from ..surface.opening import load_shape
        from ..surface.surface import Surface

        self._check()
        for path in (self.output, self.turntable):
            if path is not None:
                check_folder(path)
        around, above = render.VIEWS[self.view]
        azimuth = around if self.azimuth is None else self.azimuth
        elevation = above if self.elevation is None else self.elevation
        view = render.View(azimuth, elevation, self.pixels, self.confidence, self.colors)
        shape, colors = load_shape(self.source), None
        if self.output is not None:
            if isinstance(shape, Surface):
                picture = render.render(shape, view)
            else:
                picture = render.render_mesh(*shape, view)
            render.save_picture(self.output, picture)
            tell(f"wrote {self.output}")
        if self.turntable is not None:
            if isinstance(shape, Surface):
                mesh = shape.mesh(resolution=self.resolution, attributes=self.colors)
                shape, colors = (np.asarray(mesh.vertices), np.asarray(mesh.faces)), vertex_colors(mesh)
            render.save_film(self.turntable, render.turntable(*shape, view, colors=colors))
            tell(f"wrote {self.turntable}")
        return 0

    def _check(self) -> None:
        if self.output is None and self.turntable is None:
            raise InputError("nothing to draw: name a picture with -o or a film with --turntable")
        if self.output is not None and self.output.suffix.lower() != ".png":
            raise InputError(f"{self.output}: pictures are written as .png")
        if self.turntable is not None and self.turntable.suffix.lower() not in (".gif", ".mp4"):
            raise InputError(f"{self.turntable}: films are written as .gif or .mp4")
        if not 16 <= self.pixels <= 8192 or (self.turntable is not None and self.pixels % 2):
            raise InputError(f"--pixels {self.pixels} is out of range; use 16 to 8192, even for a film")


@dataclass(frozen=True)
class View:
    """Look at a saved model, a mesh or a shape space in the browser; the page is served to this machine only."""

    source: Positional[Path]
    """Model saved by --model, run folder, mesh file, or shape space (`bodies` is the shipped one)."""
    port: int = 8080
    """Port of the page."""

    def __call__(self) -> int:
        """Run the subcommand, until Ctrl-C."""
        from ..studio.page import HOST, open_server
        from ..studio.viewer import Viewer
        from ..surface.opening import is_space, load_shape

        if is_space(self.source):
            from ..machine import torch_device
            from ..studio.spaceviewer import SpaceViewer

            torch_device("cpu")  # says how to install torch where it is missing
            from ..space.space import ShapeSpace

            space = ShapeSpace.load(str(self.source))
            viewer = SpaceViewer(open_server(self.port), space)
        else:
            shape = load_shape(self.source)
            viewer = Viewer(open_server(self.port), shape)
        tell(f"http://{HOST}:{self.port} (Ctrl-C ends it)")
        try:
            viewer.worker.join()
        finally:
            viewer.close()
        return 0


@dataclass(frozen=True)
class Studio:
    """Open scans in the browser and make surfaces of them there; the page is served to this machine only."""

    source: Positional[Path] = Path()
    """Folder whose scans can be chosen, or one scan."""
    port: int = 8080
    """Port of the page."""

    def __call__(self) -> int:
        """Run the subcommand, until Ctrl-C."""
        import threading

        from ..studio import studio
        from ..studio.page import HOST, open_server

        page = studio.Studio(open_server(self.port), self.source)
        tell(f"http://{HOST}:{self.port} (Ctrl-C ends it)")
        try:
            threading.Event().wait()
        finally:
            page.close()
        return 0
