"""The package as it is met at the prompt: its names are found, and torch is asked for only where it is needed."""

import importlib
import subprocess
import sys

import pytest

import igr


def said(code: str) -> str:
    """What a program prints that has not used igr before."""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr == ""
    return found.stdout


def test_all_public_names_are_listed_before_they_are_used():
    assert said("import igr; print(set(igr.__all__) - set(dir(igr)), '__version__' in dir(igr))") == "set() True\n"


WITHOUT = "import sys; sys.modules['torch'] = None; import igr\n"


@pytest.mark.parametrize("name", ["ShapeSpace", "EncodeOptions", "TrainingOptions"])
@pytest.mark.parametrize("how", ["igr.{}", "from igr import {}", "getattr(igr, '{}')"])
def test_without_torch_its_names_say_how_to_install_it(name, how):
    code = f"try: {how.format(name)}\nexcept ImportError as problem: print(problem)"
    advice = f"igr.{name} needs PyTorch, which is not installed: pip install 'igr[torch]'\n"
    assert said(WITHOUT + code) == advice


def test_without_torch_everything_else_is_there():
    code = "import inspect; inspect.getmembers(igr)\nfrom igr import *\n"
    code += "print(reconstruct is igr.reconstruct, 'ShapeSpace' in dir(igr), 'ShapeSpace' in globals())"
    assert said(WITHOUT + code) == "True False False\n"


def test_an_unknown_name_is_no_attribute():
    assert said("import igr; print(hasattr(igr, 'reconstruckt'))") == "False\n"


@pytest.mark.parametrize(("name", "room"), igr._ROOMS.items())
def test_documented_names_of_modules_lead_to_their_rooms(name, room):
    pytest.importorskip("gpytoolbox")  # which one of them imports
    named, module = importlib.import_module(f"igr.{name}"), importlib.import_module(f"igr.{room}")
    assert named is module is getattr(igr, name)
    assert module.__spec__.name == f"igr.{room}"
