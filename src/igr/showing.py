"""What the subcommands that show a result and hand it on do: report, render, export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from .errors import InputError

Output = Annotated[Path, arg(aliases=["-o"])]


@dataclass(frozen=True)
class Report:
    """Write one page about a saved model: pictures, the surface in 3D, cuts, loss curves, facts."""

    model: Positional[Path]
    """Model saved by --model, or a run folder."""
    output: Output
    """The page (.html)."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from .report import write_report
        from .storage import load_model

        write_report(self.output, load_model(self.model))
        print(f"wrote {self.output}")
        return 0


@dataclass(frozen=True)
class Render:
    """Draw a picture of a saved model, without a screen."""

    model: Positional[Path]
    """Model saved by --model, or a run folder."""
    output: Output
    """The picture (.png)."""
    azimuth: float = -60.0
    """Degrees around the z axis."""
    elevation: float = 15.0
    """Degrees above the x-y plane."""
    pixels: int = 800
    """Height and width of the picture."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from .render import View, render, save_picture
        from .storage import load_model

        if self.output.suffix.lower() != ".png":
            raise InputError(f"{self.output}: pictures are written as .png")
        save_picture(self.output, render(load_model(self.model), View(self.azimuth, self.elevation, self.pixels)))
        print(f"wrote {self.output}")
        return 0


@dataclass(frozen=True)
class Export:
    """Write the field of a saved model for other programs: on a grid, or as a network."""

    model: Positional[Path]
    """A model saved by --model, or a run folder."""
    output: Output
    """.vti (VTK image data, for ParaView), .npz (numpy arrays), or .onnx (needs the extra `export`)."""
    resolution: int = 128
    """Cells of a grid along the longest side of the scan's box."""

    def __call__(self) -> int:
        """Run the subcommand."""
        from .exports import check_folder
        from .storage import load_model

        check_folder(self.output)
        suffix = self.output.suffix.lower()
        if suffix not in (".vti", ".npz", ".onnx"):
            raise InputError(f"{self.output}: fields are written as .vti, .npz or .onnx, not {suffix or 'bare'}")
        surface = load_model(self.model)
        if suffix == ".onnx":
            surface.to_onnx(self.output)
        else:
            surface.to_grid(self.resolution).save(self.output)
        print(f"wrote {self.output}")
        return 0
