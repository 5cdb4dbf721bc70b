"""Every block of the documentation runs, every example does, and the reference is that of the docstrings."""

import dataclasses
import doctest
import importlib
import re
import runpy
import shlex
import tomllib
from pathlib import Path

import pytest

from igr.cli.main import main
from igr.examples import example_cloud
from igr.fit.loop import fit

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
QUICK = ("quick-start", "budget-and-preset")
"""Pages that also run in `make test`, with few points and steps."""
NOT_CODE = {"", "text"}
NEEDED = ("torch", "onnx", "onnxruntime", "gpytoolbox")


def blocks(page):
    return [(kind, text) for kind, text in BLOCK.findall(page.read_text()) if kind not in NOT_CODE]


def masked(line):
    """A line without its numbers and its spacing."""
    return " ".join(re.sub(r"\d[\d,.]*", "#", line).split())


def run_console(text, capsys, *, exact):
    """Run the commands of a block; with `exact`, what they print must be what the block shows, but for numbers."""
    shown: list[str] = []
    capsys.readouterr()
    for line in text.splitlines():
        if not line.startswith("$ "):
            if exact and line.strip():
                assert masked(line) in shown, f"{line!r} was not printed"
            continue
        program, *arguments = shlex.split(line[2:], comments=True)
        if program == "pip":
            assert_installable(arguments)
        else:
            assert program == "igr", f"{line!r}: only igr and pip are run here"
            assert status(arguments) == 0, capsys.readouterr().err
        captured = capsys.readouterr()
        shown = [masked(entry) for entry in (captured.out + captured.err).splitlines()]


def status(arguments):
    """Exit status of a command."""
    try:
        return main(arguments)
    except SystemExit as stopped:  # as tyro ends what it answers itself
        return stopped.code or 0


def assert_installable(arguments):
    """The extras that a `pip install .[…]` names exist; installing is not for a test."""
    assert arguments[0] == "install"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = re.fullmatch(r"\.(?:\[([\w,]+)\])?", arguments[1])
    assert found
    assert set((found[1] or "torch").split(",")) <= set(extras)


def run_page(page, folder, monkeypatch, capsys, *, exact):
    for module in NEEDED:
        pytest.importorskip(module)
    monkeypatch.chdir(folder)
    (folder / "docs" / "pictures").mkdir(parents=True)
    (folder / "scans").mkdir()
    names: dict = {"__name__": "page"}
    for kind, text in blocks(page):
        if kind == "console":
            run_console(text, capsys, exact=exact)
        elif ">>>" not in text:  # sessions at the prompt are the docstrings' own, and run below
            exec(compile(text, str(page), "exec"), names)


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem in QUICK], ids=lambda page: page.stem)
def test_blocks_of_quick_pages_run_with_small_clouds_and_short_fits(page, tmp_path, monkeypatch, capsys):
    def short(field, sample, loss, schedule, **options):
        return fit(field, sample, loss, dataclasses.replace(schedule, steps=30), **options)

    def small(name, *, points=None, seed=0):
        return example_cloud(name, points=points or 5000, seed=seed)

    monkeypatch.setattr("igr.fit.loop.fit", short)
    monkeypatch.setattr("igr.examples.example_cloud", small)
    run_page(page, tmp_path, monkeypatch, capsys, exact=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_runs_and_prints_what_it_shows(page, tmp_path, monkeypatch, capsys):
    run_page(page, tmp_path, monkeypatch, capsys, exact=True)


def test_blocks_are_of_kinds_that_are_run():
    kinds = {(page.name, kind) for page in PAGES for kind, _ in blocks(page) if kind not in ("python", "console")}
    assert kinds == set()


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_reference_is_that_of_the_docstrings(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    found = importlib.import_module("make_reference")
    assert found.TARGET.read_text() == found.reference(), "run `make docs`"


@pytest.mark.parametrize(
    "name", ["cloud.frame", "surface.export", "show.colors", "normals.estimate", "reconstruction"]
)
def test_examples_in_docstrings_print_what_they_show(name):
    module = importlib.import_module(f"igr.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(example, tmp_path, monkeypatch, capsys):
    asked = [name for name in ("pyvista", "pymeshlab") if f"import {name}" in example.read_text()]
    for module in (*NEEDED, *asked):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out


def test_examples_are_short():
    assert len(EXAMPLES) == 8
    assert all(len(path.read_text().splitlines()) < 40 for path in EXAMPLES)


def test_the_map_is_that_of_the_house():
    """Every file has its line in docs/how-it-works.md, in its room, and no line is without its file."""
    text = (ROOT / "docs" / "how-it-works.md").read_text().split("```\n")[1]
    named, room = set(), ""
    for line in text.splitlines():
        name = line.split()[0]
        if name.endswith("/"):
            room = name
        elif name.endswith(".py"):
            named.add((room if line.startswith(" ") else "") + name)
    source = ROOT / "src" / "igr"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert named == {name for name in files if not name.endswith(("__init__.py", "__main__.py"))}


def results(section):
    """The cells of a section of the benchmarks' results, by row, without emphasis."""
    text = (ROOT / "benchmarks" / "results.md").read_text()
    rows = text.partition(f"<!-- {section} -->")[2].partition(f"<!-- end {section} -->")[0].replace("**", "")
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows.splitlines() if row.startswith("|")]


def test_the_readme_s_comparison_is_that_of_the_results():
    measured = {(row[0], row[1]): (row[2], row[4].lstrip("0"), row[5]) for row in results("scans")}
    readme = (ROOT / "README.md").read_text().replace("**", "")
    for scan in ("lord_quas", "anchor", "daratech"):
        methods = ("Poisson depth 9", "igr", "igr, no normals")
        told = " | ".join(", ".join(measured[scan, method]) for method in methods)
        assert f"| {scan} | {told} |" in readme


def test_the_readme_s_first_result_is_that_of_the_results_and_told_once():
    (row,) = (row for row in results("everyday") if row[0] == "body.ply")
    triangles, pieces = re.match(r"([\d,]+) triangles, (\d+) pieces, watertight", row[4]).groups()
    readme = (ROOT / "README.md").read_text()
    component = "1 component" if pieces == "1" else f"{pieces} components"
    assert (
        f"mesh  256³, {triangles} triangles, watertight, {component}\nwrote body_mesh.ply in {row[2]} s" in readme
    )
    for page in PAGES[1:]:
        assert not re.search(r"^wrote .* in [\d.]+ s$", page.read_text(), re.MULTILINE), page.name


def test_the_comparison_s_rows_are_those_of_the_results():
    page = (ROOT / "docs" / "comparison.md").read_text()
    shown = [line for line in page.splitlines() if line.startswith(("| clean", "| 1% noise"))]
    measured = (ROOT / "benchmarks" / "results.md").read_text().partition("<!-- others -->")[2]
    assert len(shown) == 8
    assert all(line in measured for line in shown)
    text = (ROOT / "benchmarks" / "results.md").read_text()
    figures = re.findall(r"mean ratio (\d.\d+), worst (\d.\d+)", page)
    assert len(figures) == 2
    for ratio, worst in figures:
        assert f"mean ratio to the best Poisson of depth 7 to 10: {ratio}, worst {worst};" in text
