"""What each reader and each command promises, checked on one file."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from igr.errors import InputError

from .hostile import SUFFIXES
from .sound import NETWORK, sound, surface


def one_sentence(message: str) -> None:
    assert message
    assert "\n" not in message
    assert len(message) < 600


def _cloud(path: Path) -> None:
    from igr.cloud.pointcloud import as_cloud

    cloud = as_cloud(path)
    size = path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.glob("points3D.*"))
    assert np.isfinite(cloud.points).all()
    assert path.suffix in (".gltf", ".npz", ".laz") or len(cloud) <= size, "more points than bytes"


def _mesh(path: Path) -> None:
    from igr.surface.opening import load_shape

    shape = load_shape(path)
    assert isinstance(shape, tuple), "a model out of a mesh"
    vertices, faces = shape
    assert 0 <= faces.min() <= faces.max() < len(vertices)


def _model(path: Path) -> None:
    from igr.surface.opening import load_model

    found = load_model(path)
    x = found.frame.to_input(found.samples[:20])
    assert np.isfinite(found.distance(x)).all()
    assert found.gradient(x).shape == x.shape
    assert isinstance(found.details, dict)


def _run(path: Path) -> None:
    from igr.store.run import RunFolder

    _model(path)
    for row in RunFolder(path).history():
        assert all(isinstance(value, float) for value in row.values())
    state = RunFolder(path).load_state(surface(NETWORK))
    assert state is None or (state.step >= 0 and np.isfinite(state.seconds))


def _space(path: Path) -> None:
    from igr.space.space import ShapeSpace

    space = ShapeSpace.load(path)
    mean, _ = space.principal()
    assert np.isfinite(space.decode(mean).distance(np.eye(space.dimension))).all()


def _conf(path: Path) -> None:
    from igr.original_conf import read_conf

    assert read_conf(path).config.steps >= 1


def _config(path: Path) -> None:
    from igr.config import Config

    config = Config.from_json(path.read_text(errors="replace"))
    assert Config.from_json(config.to_json()) == config


def _split(path: Path) -> None:
    from igr.scans.folders import read_split

    assert all(".." not in Path(name).parts for name in read_split(path))


def _samples(path: Path) -> None:
    from igr.scans.batches import read_rows
    from igr.space.predict import read_scan

    rows = read_rows(path, 10, np.random.default_rng(0))
    assert len(rows) == 10
    assert np.isfinite(read_scan(path).points).all()


def _scans(path: Path) -> None:
    """The only one that writes: into a folder of its own, and nothing for scans that it refuses."""
    from igr.scans.preprocess import Preprocessing, preprocess

    with tempfile.TemporaryDirectory() as out:
        report = preprocess(path / "src", out, Preprocessing(samples=50), workers=1)
        written = {file for file in Path(out).rglob("*") if file.is_file()}
        assert written == {file for done in report.done for file in (done, done.with_suffix(".json"))}
        assert all(np.isfinite(np.load(file)).all() for file in report.done)
        for _, reason in report.failed:
            one_sentence(reason)
    if report.failed and not report.done:
        raise InputError(report.failed[0][1])


def _grid(path: Path) -> None:
    from igr.surface.export import DistanceGrid

    assert DistanceGrid.load(path).values.ndim in (2, 3)


READERS: dict[str, Callable[[Path], None]] = {
    "cloud": _cloud,
    "mesh": _mesh,
    "model": _model,
    "run": _run,
    "space": _space,
    "conf": _conf,
    "config": _config,
    "split": _split,
    "samples": _samples,
    "scans": _scans,
    "grid": _grid,
}


def _command(*arguments: str) -> Callable[[Path], None]:
    """The command line on a file: status 0, or 2 with one sentence, nothing on stdout and nothing written."""

    def run(path: Path) -> None:
        from igr.cli.main import main

        with tempfile.TemporaryDirectory() as out:
            sphere = Path(out, "sphere.ply")
            sphere.write_bytes(sound("mesh ply").files["a.ply"])
            filled = [word.format(path=path, out=out, sphere=sphere) for word in arguments]
            with (
                contextlib.redirect_stderr(io.StringIO()) as told,
                contextlib.redirect_stdout(io.StringIO()) as results,
            ):
                status = main(filled)
            sphere.unlink()
            refusals = [
                line for line in told.getvalue().splitlines() if line.startswith(("igr: error: ", "igr: failed: "))
            ]
            assert "Traceback" not in told.getvalue()
            assert status in (0, 2), f"status {status}: {told.getvalue()[-300:]}"
            if status == 2:
                assert len(refusals) == 1, told.getvalue()
                assert refusals[0].startswith("igr: error: ") or arguments[0] == "shapespace"
                assert not [file for file in os.listdir(out) if not file.startswith("errors")], "a result is left"
                assert not results.getvalue() or arguments[0] == "shapespace", results.getvalue()
                raise InputError(refusals[0])

    return run


COMMANDS = {
    "reconstruct": _command(
        *(
            "reconstruct",
            "--steps",
            "2",
            "--resolution",
            "16",
            "-o",
            "{out}/a.ply",
            "--",
            "{path}",
        )
    ),
    "evaluate": _command("evaluate", "--samples", "500", "{path}", "{sphere}"),
    "reference": _command("evaluate", "--samples", "500", "{sphere}", "{path}"),
    "mesh": _command("mesh", "{path}", "-o", "{out}/a.ply", "--resolution", "16"),
    "eval": _command(
        *(
            "shapespace",
            "eval",
            "bodies",
            "{path}",
            "-o",
            "{out}",
            "--steps",
            "2",
            "--resolution",
            "16",
            "--pose",
            "fixed",
        )
    ),
    "space": _command(
        "shapespace", "eval", "{path}", "{sphere}", "-o", "{out}", "--steps", "2", "--resolution", "16"
    ),
    "conf": _command("reconstruct", "--conf", "{path}", "-o", "{out}/a.ply"),
}
"""Whole commands by name."""


def _without_rights(read: Callable[[Path], None]) -> Callable[[Path], None]:
    """A reader that may not read: as a user that owns nothing, since root may read everything."""

    def run(path: Path) -> None:
        path.chmod(0)
        path.parent.chmod(0o755)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            read(path)
        finally:
            if root:
                os.seteuid(0)

    return run


READERS |= {f"{name}, no rights": _without_rights(READERS[name]) for name in SUFFIXES}
