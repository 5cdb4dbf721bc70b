"""Draws the pictures of gallery.md by the commands that stand there, in a folder of its own."""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from contextlib import chdir
from pathlib import Path

from PIL import Image

from igr.cli.main import main

PAGE = Path(__file__).with_name("gallery.md")
TARGET = Path(__file__).with_name("pictures")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def draw() -> None:
    """Run the page's blocks one after the other; take the pictures, in few colors, from where they were made."""
    names: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        made = Path("docs") / "pictures"
        made.mkdir(parents=True)
        for kind, text in BLOCK.findall(PAGE.read_text()):
            if kind == "python":
                exec(text, names)
                continue
            for line in text.splitlines():
                if main(shlex.split(line.removeprefix("$ igr "))) != 0:
                    raise SystemExit(f"{line!r} failed")
        shutil.move("error.png", made)
        for path in made.glob("*.png"):
            Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
        shutil.copytree(made, TARGET, dirs_exist_ok=True)


if __name__ == "__main__":
    draw()
