"""The studio: open a scan, see what was noticed, reconstruct it, look at the surface, take it home."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..mesh.triangles import Mesh
from ..scans.folders import SCAN_SUFFIXES
from ..store.atomic import check_file
from .page import UPRIGHT, give_back, place_mesh, place_points, plain, stand, theme
from .session import Session
from .viewer import Viewer

if TYPE_CHECKING:
    import viser

CHOOSE = "choose a scan …"
"""First of the files of the folder."""
INVITATION = """<style>@media not (pointer: coarse) { body:not(.dropping)::after {
  content: "Drop a scan here"; color: #868e96; font: 24px system-ui, sans-serif;
  position: fixed; inset: 0; display: grid; place-items: center; pointer-events: none;
} }</style>"""
"""Stands in the middle of the page while there is nothing else; not on touch screens, where nothing is dropped."""


class Studio:
    """A page around one session; every tab shows the same, and goes on without the others.

    Args:
        server: from `page.open_server`.
        source: a folder, whose scans can be chosen, or a scan, which is opened, and whose folder it is then.
        session: what works; a new one if not given.

    Raises:
        InputError: there is no such folder or file.
    """

    def __init__(self, server: viser.ViserServer, source: Path, session: Session | None = None) -> None:
        if not source.is_dir():
            check_file(source)
        self.server, self.session = server, session or Session()
        self.session.changed, self.session.grown = self._changed, self._grown
        self.folder = source if source.is_dir() else source.parent
        self.viewer: Viewer | None = None
        self._shown: object = None
        """The scan or surface that the scene shows, or "fit"."""
        self._drawing = threading.RLock()
        self._controls()
        self._changed()
        if not source.is_dir():
            self._begin(lambda: self.session.read(source))

    def close(self) -> None:
        """Stop a fit that is running, and the server."""
        self.session.cancel()
        with self._drawing:
            if self.viewer is not None:
                self.viewer.end()
        self.server.stop()

    def _controls(self) -> None:
        gui = self.server.gui
        gui.set_panel_label("igr studio")
        with gui.add_folder("Scan"):
            hint = "ply, xyz, txt, csv, npy, npz, ptx, las, laz, e57, pcd, or a mesh file, for its vertices"
            self.upload = gui.add_upload_button("Open a scan …", hint=hint)
            names = scans_in(self.folder)
            self.files = gui.add_dropdown("or in the folder", (CHOOSE, *names), visible=bool(names))
            gui.add_html(Path(__file__).with_name("drop.html").read_text("utf-8"))
            self.invitation = gui.add_html(INVITATION)
            self.facts = gui.add_markdown("")
            self.start = gui.add_button("Reconstruct", color="blue")
            self.bar = gui.add_progress_bar(0.0, animated=True)
            self.left = gui.add_markdown("")
            self.stop = gui.add_button("Cancel", color="gray")
        hint = "in many scans of phones it is y"
        self.up = gui.add_dropdown("upward", tuple(UPRIGHT), order=1e9, hint=hint)
        self.dark = gui.add_checkbox("dark page", False, order=1e9)
        self.upload.on_upload(self._uploaded)
        self.files.on_update(self._chosen)
        self.start.on_click(lambda event: self._begin(self.session.fit))
        self.stop.on_click(lambda event: self.session.cancel())
        self.up.on_update(lambda event: stand(self.server, self.up.value))
        self.dark.on_update(lambda event: theme(self.server, dark=event.target.value))

    def _begin(self, work: Callable[[], None]) -> None:
        """Work that goes on though its tab is closed, and ends with the program."""
        threading.Thread(target=work, daemon=True).start()

    def _uploaded(self, event: Any) -> None:
        file = event.target.value
        self._begin(lambda: self._read_uploaded(file))

    def _read_uploaded(self, file: viser.UploadedFile) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / (Path(file.name).name or "scan")
            path.write_bytes(file.content)
            file.content = b""  # viser would hold it until the next one comes
            give_back()
            self.session.read(path)

    def _chosen(self, event: Any) -> None:
        if self.files.value != CHOOSE:
            name, self.files.value = self.files.value, CHOOSE
            self._begin(lambda: self.session.read(self.folder / name))

    def _changed(self) -> None:
        """Show the session as it is now."""
        session = self.session
        with self._drawing:
            self._show_scene()
            with self.server.atomic():
                self.facts.content = self._told()
                self.invitation.visible = session.scan is None and not session.busy
                self.upload.disabled = self.files.disabled = session.busy
                self.start.visible = session.stage in ("scan", "surface")
                self.start.label = "Reconstruct" if session.surface is None else "Reconstruct again"
                fitting = session.stage == "fitting"
                self.bar.visible, self.stop.visible, self.left.visible = session.busy, fitting, fitting
                self.stop.disabled = session.cancelling
                self.bar.value = 100.0 * (session.progress.share if session.progress else 0.0)
                self.left.content = self._time_left()

    def _told(self) -> str:
        """What is known of the scan, or why there is none."""
        session, lines = self.session, []
        if session.problem:
            lines = [f"⚠ {plain(session.problem)}", ""]
        if session.stage == "reading":
            return "reading, and looking at the points …"
        if session.scan is not None:
            listed = (f"- {plain(line)}" for line in session.told)
            lines += [f"**{plain(session.scan.cloud.name)}**", "", *listed]
        elif not session.problem:
            lines = ["A scan that is opened or dropped here becomes a surface. Nothing leaves this machine."]
        return "\n".join(lines)

    def _time_left(self) -> str:
        session = self.session
        if session.cancelling:
            return "stopping …"
        if session.progress is None:
            return "preparing: sides, noise, what is far away …"
        left = session.progress.seconds_left
        told = "" if left is None else f", about {left:.0f} s left" if left >= 1 else ", almost done"
        return f"fitting: {session.progress.share:.0%}{told}"

    def _show_scene(self) -> None:
        """The points of a new scan, or the surface with its controls."""
        session, scan = self.session, self.session.scan
        wanted = "fit" if session.stage == "fitting" else session.surface or scan
        if session.stage == "reading" or wanted is self._shown or scan is None:
            return
        self._shown = wanted
        if self.viewer is not None:
            self.viewer.end()
            self.viewer = None
        if wanted is session.surface and session.surface is not None:
            self.viewer = Viewer(self.server, session.surface, cloud=scan.cloud, frame=scan.frame)
        else:
            self.server.scene.remove_by_name("/surface")  # what a cancelled fit has left
            points, colors = scan.frame.to_unit(scan.cloud.points), scan.cloud.attributes.get("colors")
            place_points(self.server, "/points", points, colors, visible=True)

    def _grown(self, mesh: Mesh) -> None:
        """The surface while it is fitted, with the points."""
        place_mesh(self.server, *mesh, None, visible=True)


def scans_in(folder: Path) -> list[str]:
    """Names of the scans that lie in a folder, in order."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SCAN_SUFFIXES)
    except OSError as problem:
        raise InputError(f"{folder} cannot be looked into: {problem.strerror or problem}") from None
