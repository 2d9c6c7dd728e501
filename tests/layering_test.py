"""Imports go one way: between the rooms of the application, and between all files."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "ema_jax").rglob("*.py"))
APPLICATION = sorted((ROOT / "train").rglob("*.py"))

LIBRARY_ALLOWS = {"ema_jax", "flax", "jax", "numpy"}  # numpy comes with jax
ROOMS = (
    *("user", "configuration", "devices", "data", "model", "evaluation"),
    *("inspection", "report", "update", "workdir", "training"),
    *("profile", "aot", "ablation", "export", "demo", "commands"),
)
"""Of `train`; each imports only from those before it, or from its own files."""


def imports(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports, wherever it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {_source(node.module or "", alias.name) for alias in node.names}
    return found


def _source(package: str, name: str) -> str:
    """The module that `from package import name` reads."""
    inner = ROOT.joinpath(*package.split("."), name)
    is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
    return f"{package}.{name}" if is_module else package


def module(path: Path) -> str:
    """The dotted name by which a file is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
        ".__init__"
    )


def room(name: str) -> int:
    """The place of a module's room in the order."""
    return ROOMS.index(name.split(".")[1])


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_library_imports_jax_and_flax_only(path):
    roots = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names
    assert roots <= LIBRARY_ALLOWS


@pytest.mark.parametrize("path", APPLICATION, ids=module)
def test_the_application_imports_downwards(path):
    names = imports(path)
    assert not {name for name in names if name.split(".")[0] in ("configs", "tests")}
    if module(path) == "train":
        return
    for name in names:
        if name.startswith("train."):
            assert room(name) <= room(module(path)), f"{module(path)} imports {name}"


def test_no_file_imports_itself_through_others():
    files = {module(path): imports(path) for path in [*LIBRARY, *APPLICATION]}
    known = {name: found & files.keys() for name, found in files.items()}
    order = list(TopologicalSorter(known).static_order())  # or a CycleError
    assert set(order) == files.keys()


def test_every_room_says_what_passes_through_it():
    rooms = {path.relative_to(ROOT / "train").parts[0] for path in APPLICATION}
    assert {name.removesuffix(".py") for name in rooms} - {"__init__"} == {*ROOMS}
    for path in APPLICATION:
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text()))
