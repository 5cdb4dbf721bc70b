"""The house: small rooms, short files and functions, few modules on the way of a cloud."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "igr"
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted({path.parent for path in FILES})


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: path.name)
def test_a_room_holds_at_most_eight_files(room):
    """Beside `__init__.py`, which only says what the room is for."""
    assert len([path for path in room.glob("*.py") if not path.name.startswith("__")]) <= 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in functions if node.end_lineno - node.lineno >= 80] == []


@pytest.mark.parametrize("room", [room for room in ROOMS if room != SOURCE], ids=lambda path: path.name)
def test_the_door_of_a_room_says_what_it_is_for_and_does_nothing(room):
    (only,) = ast.parse((room / "__init__.py").read_text()).body
    assert isinstance(only, ast.Expr)
