"""What a hostile file, page or name must not be able to do."""

import ast
import html.parser
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from machine import free_port

from igr.errors import InputError, readable

SOURCE = Path(__file__).resolve().parents[1] / "src" / "igr"
MODULES = sorted(SOURCE.rglob("*.py"))
FORBIDDEN = {"eval", "exec", "compile", "__import__", "system", "popen", "Popen", "load_module", "pickle_load"}
UNPICKLERS = ("pickle", "marshal", "shelve", "dill", "joblib", "yaml")
NAME = "<img src=x onerror=alert(1)>"


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            named = node.func
            yield (
                node,
                named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", ""),
                {keyword.arg: keyword.value for keyword in node.keywords},
            )


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SOURCE)) for path in MODULES])
def test_the_source_runs_no_text_and_no_pickles(path):
    """No eval or exec, no shell, no pickle; torch.load with weights_only, numpy's load without pickles."""
    tree = ast.parse(path.read_text())
    for node, name, options in calls(tree):
        owner = (
            node.func.value.id
            if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
            else ""
        )
        where = f"{path.name}:{node.lineno}"
        assert name not in FORBIDDEN or owner in ("re", "torch", "subprocess"), f"{where} calls {name}"
        assert owner not in ("pickle", "marshal", "shelve", "dill", "joblib", "yaml"), (
            f"{where} calls {owner}.{name}"
        )
        assert "shell" not in options, f"{where} uses a shell"
        allowed = options.get("allow_pickle")
        assert allowed is None or getattr(allowed, "value", None) is False, f"{where} allows pickles"
        if (owner, name) == ("torch", "load"):
            assert getattr(options.get("weights_only"), "value", None) is True, f"{where} loads more than weights"
        if name in ("extract", "extractall"):
            raise AssertionError(f"{where} unpacks an archive to the disk")
        if owner == "subprocess" and node.args:
            assert isinstance(node.args[0], ast.List | ast.Name), f"{where} runs a text"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb.xyz", "a\\x1b[31mb.xyz"),
        ("a\nigr: error: b", "a\\nigr: error: b"),
        ("\u202egnp.xyz", "\\u202egnp.xyz"),
        (os.fsdecode(b"\xff.xyz"), "\\udcff.xyz"),
        ("größe 点.xyz", "größe 点.xyz"),
    ],
)
def test_a_name_gives_no_orders_to_the_terminal(text, shown):
    assert readable(text) == shown
    assert str(InputError(f"{text} is empty.")) == f"{shown} is empty."


def test_a_message_that_quotes_a_long_text_is_shortened():
    assert len(str(InputError("9" * 100_000))) < 600


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_the_command_line_survives_every_name(tmp_path, capsys):
    from igr.cli.main import main

    for name in (b"a\nb.xyz", b"\x1b[31m.xyz", b"\xff.xyz", b"-o.xyz", b"a b.xyz"):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
        Path(path).write_text("1 2 3\n")
        assert main(["reconstruct", path]) == 2
        told = capsys.readouterr().err
        assert told.startswith("igr: error: ")
        assert told.count("\n") == 1
        assert told.encode()
        assert "\x1b" not in told


class Tags(html.parser.HTMLParser):
    """Collects the tags of a page, and those in the pages inside of it."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        for name, value in attributes:
            if name == "srcdoc":
                assert NAME not in value


def test_a_report_shows_names_and_does_not_run_them(tmp_path):
    from analytic import sphere_surface

    from igr.show.report import write_report

    surface = sphere_surface(1.0, (0, 0, 0))
    surface.details |= {"name": f"{NAME}\udcff.xyz", f"a{NAME}": [NAME, {NAME: NAME}], "command": f"igr '{NAME}'"}
    write_report(tmp_path / "page.html", surface, facts={"notes": [f"</table>{NAME}"]})
    page = Tags()
    page.feed((tmp_path / "page.html").read_text())
    pictures = [attributes for tag, attributes in page.found if tag == "img"]
    assert pictures
    assert all(attributes["src"].startswith("data:image/png") for attributes in pictures)
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)


def test_the_viewer_shows_names_as_they_are():
    pytest.importorskip("viser")
    from igr.studio.page import plain

    shown = plain(f"{NAME} [a](javascript:x) {{1+1}}\n# b")
    assert not set(shown) & set("<>[](){}\n`*_!")
    assert html.unescape(shown) == f"{NAME} [a](javascript:x) {{1+1}}\\n# b"


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SOURCE)) for path in MODULES])
def test_no_promise_is_kept_by_an_assert(path):
    """`python -O` leaves assertions out: they tell the type checker what is known, and no more."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assert):
            known = ast.unparse(node.test)
            assert known.endswith("is not None") or known.startswith("isinstance("), known
            assert node.msg is None, ast.unparse(node)


OF_THE_PROCESS = {
    *("catch_warnings", "simplefilter", "filterwarnings", "redirect_stdout", "redirect_stderr", "seterr", "seed"),
    *(
        "set_num_threads",
        "set_default_dtype",
        "set_default_device",
        "chdir",
        "putenv",
        "setlocale",
        "setrecursionlimit",
    ),
}
"""Calls that change something for all threads and libraries of a process."""


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SOURCE)) for path in MODULES])
def test_the_source_changes_no_state_of_the_process(path):
    """No call of those, and nothing assigned to a module, to what it holds, or to a logger's settings."""
    tree = ast.parse(path.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {(name.asname or name.name).partition(".")[0] for node in imports for name in node.names}
    assert OF_THE_PROCESS.isdisjoint(name for _, name, _ in calls(tree))
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else getattr(node, "target", None)
        for target in targets if isinstance(targets, list) else [targets]:
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            for part in parts:
                if isinstance(part, ast.Attribute | ast.Subscript):
                    assert ast.unparse(part).partition(".")[0] not in modules, ast.unparse(node)
                    assert not ast.unparse(part).endswith(".propagate"), ast.unparse(node)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_viewer_that_cannot_be_guarded_is_refused_without_assertions_too(tmp_path):
    """Under `python -O` only an assert noticed that viser starts its server in another way."""
    pytest.importorskip("viser")
    code = """
import viser
from igr.studio.page import open_server
from igr.errors import InputError

def start(self, host, port, **options):
    self.stop = lambda: print("stopped")

def elsewhere(self, host, port, **options):
    self._websock_server = object()

for way in (start, elsewhere):
    viser.ViserServer.__init__ = way
    try:
        open_server(PORT)
        print("served")
    except InputError as problem:
        print("in another way" in str(problem))
""".replace("PORT", str(free_port()))
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "stopped\nTrue\nTrue\n", done.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_viewer_leaves_other_servers_and_stdout_alone(monkeypatch, capsys):
    """A server of the user's own that starts meanwhile answers whom it likes, and what is printed is seen."""
    pytest.importorskip("viser")
    from viser import _client_autobuild
    from websockets.asyncio import server as websockets

    from igr.studio.page import open_server, stop

    before, meanwhile = (websockets.serve, sys.stdout), []
    monkeypatch.setattr(
        _client_autobuild, "ensure_client_is_built", lambda: meanwhile.append((websockets.serve, sys.stdout))
    )
    server = open_server(free_port())
    stop(server)
    assert meanwhile == [before]
    assert capsys.readouterr().out == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_viewer_refuses_pages_of_other_origins():
    """Any page in a browser can ask a port of this machine; only the viewer's own may."""
    viser = pytest.importorskip("viser")
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    from igr.studio.page import open_server, stop

    port = free_port()
    server = open_server(port)

    def joins(origin):
        protocol = f"viser-v{viser.__version__}"
        with connect(f"ws://127.0.0.1:{port}", origin=origin, subprotocols=[protocol], max_size=None) as socket:
            return len(socket.recv(timeout=600)) > 0

    try:
        assert joins(f"http://127.0.0.1:{port}")
        assert joins(f"http://localhost:{port}")
        for origin in ("http://evil.example", f"http://127.0.0.1:{port + 1}", f"https://127.0.0.1:{port}", "null"):
            with pytest.raises(InvalidStatus, match="403"):
                joins(origin)
        addresses = {connection[0] for connection in listening(port)}
        assert addresses == {"127.0.0.1"}
    finally:
        stop(server)


def listening(port):
    """Addresses that something listens on at a port, by the kernel's table."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        return [("127.0.0.1", port)]
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    own = [row[1].split(":") for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]
    return [(socket.inet_ntoa(bytes.fromhex(address)[::-1]), port) for address, _ in own]


def test_no_archive_is_unpacked_to_the_disk(tmp_path):
    import io
    import zipfile

    from igr.cloud.pointcloud import read_points

    points = io.BytesIO()
    np.save(points, np.random.default_rng(0).normal(size=(50, 3)))
    inside = tmp_path / "inside"
    inside.mkdir()
    with zipfile.ZipFile(inside / "a.npz", "w") as archive:
        archive.writestr("../climbed", b"x")
        archive.writestr("points.npy", points.getvalue())
    assert len(read_points(inside / "a.npz")) == 50
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.npz", "inside"]


def test_nothing_imports_pickle_to_load_with_it():
    """`pickle` is named in one place, for the error that torch raises."""
    users = [path.name for path in MODULES if "import pickle\n" in path.read_text()]
    assert users == ["files.py"]
