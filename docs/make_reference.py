"""Writes python-reference.md from the docstrings of the public names; a test checks that it is current."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import igr
from igr import config as presets

TARGET = Path(__file__).with_name("python-reference.md")
MODULES = ("igr.metrics", "igr.quality", "igr.triangles", "igr.rays", "igr.config", "igr.surface.export")
"""Modules whose public names are described after those of `igr` itself."""
PRESETS = {value: name for name, value in vars(presets).items() if isinstance(value, igr.Config)}
"""What the presets are called."""
EXAMPLE = r"((?:^(?:>>>|\.\.\.).*\n?(?:^(?!>>>)\S.*\n?)*)+)"
"""Lines of a session at the prompt, with what they print."""
HEAD = """# Python reference

Written by `make docs` from the docstrings. Arrays are numpy's: n points, d dimensions (2 or 3), v vertices, f
faces. Everything is in the input's frame and units unless it says otherwise.
"""


def reference() -> str:
    """The whole page."""
    parts = [HEAD, "## igr"]
    named = [(name, getattr(igr, name)) for name in sorted(igr.__all__, key=str.lower)]
    parts += [described(f"igr.{name}", value) for name, value in named]
    for name in MODULES:
        module = importlib.import_module(name)
        parts += [f"## {name}", prose(module.__doc__ or "")]
        members = [value for value in vars(module).values() if inspect.isclass(value) or inspect.isfunction(value)]
        own = [value for value in members if value.__module__ == module.__name__]
        public = [value for value in own if not value.__name__.startswith("_") and value.__doc__]
        known = [value for _, value in named]
        parts += [described(f"{name}.{value.__name__}", value) for value in public if value not in known]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def described(name: str, value: Any) -> str:
    """One name with its signature, docstring, fields and methods."""
    if inspect.isclass(value):
        return described_class(name, value)
    if inspect.isfunction(value):
        return (
            f"### {name}\n```text\n{name.rpartition('.')[2]}{signature(value)}\n```\n{prose(value.__doc__ or '')}"
        )
    return f"### {name}\nAn instance of `{type(value).__name__}`, see there."


def described_class(name: str, kind: type) -> str:
    """A class: its docstring, then fields or methods."""
    parts = [f"### {name}", prose(inspect.getdoc(kind) or "")]
    if dataclasses.is_dataclass(kind) or issubclass(kind, tuple):
        parts += [f"- `{field}`: {text}" for field, text in field_texts(kind).items()]
    for member, value in vars(kind).items():
        function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        function = function.fget if isinstance(function, property) else function
        if member.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        shown = member if isinstance(value, property) else f"{member}{signature(function)}"
        parts.append(f"**`{shown}`**\n\n{prose(function.__doc__)}")
    return "\n\n".join(parts).replace("\n\n- `", "\n- `")


def signature(function: Any) -> str:
    """The parameters by name, with their defaults where those are short, without types."""
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        default = parameter.default
        if isinstance(default, igr.Config):
            default = _Shown(PRESETS[default])
        elif inspect.isroutine(default):
            default = _Shown(f"{default.__module__.rpartition('.')[2]}.{default.__name__}")
        if parameter.name != "self":
            parameters.append(parameter.replace(annotation=inspect.Parameter.empty, default=default))
    return str(inspect.Signature(parameters))


class _Shown(str):
    """Text that is shown as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def field_texts(kind: type) -> dict[str, str]:
    """The sentence under each field of a class, as one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    texts = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            texts[field.target.id] = " ".join(str(text.value.value).split())  # type: ignore[union-attr]
    return texts


def prose(docstring: str) -> str:
    """A docstring as Markdown: its sections as lists, its examples as code."""
    lines, out, section = inspect.cleandoc(docstring).splitlines(), [], ""
    for line in lines:
        if re.fullmatch(r"(Args|Returns|Raises|Example):", line):
            section = line[:-1]
            out += ["", f"*{section}*", ""]
        elif section in ("Args", "Raises") and (found := re.match(r"    (\S.*?): (.*)", line)):
            out.append(f"- `{found[1]}`: {found[2]}")
        elif section in ("Args", "Raises") and line.strip():
            out.append("  " + line.strip())
        else:
            out.append(line[4:] if section else line)
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(out))
    return re.sub(EXAMPLE, lambda found: f"```python\n{found[0].rstrip()}\n```\n", text, flags=re.MULTILINE)


if __name__ == "__main__":
    TARGET.write_text(reference())
