"""Imports go one way: the library knows nothing of the application."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "ema_jax").rglob("*.py"))
APPLICATION = sorted((ROOT / "train").rglob("*.py"))

LIBRARY_ALLOWS = {"ema_jax", "flax", "jax", "numpy"}  # numpy comes with jax
LAYERS = [
    ("errors", "names", "digest", "preemption", "console"),
    ("distributed", "lock", "folders"),
    ("data",),
    ("losses", "pictures", "optimizer", "preprocess", "mesh", "classes", "convert"),
    ("memory",),
    ("config", "metrics", "limits", "model", "state"),
    ("objective", "accumulation", "partition"),
    ("step", "checkpoint", "inference", "evaluate"),
    ("pretrained",),
    ("restore", "validation", "report"),
    ("resume", "predict", "profile", "divergence", "aot"),
    ("loop",),
    ("ablation",),
    ("commands",),
]
"""Modules of `train`; each imports only from lines above, or from its own."""


def imports(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_library_imports_jax_and_flax_only(path):
    roots = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names
    assert roots <= LIBRARY_ALLOWS


@pytest.mark.parametrize("path", APPLICATION, ids=lambda path: path.stem)
def test_the_application_imports_downwards(path):
    names = imports(path)
    assert not {name for name in names if name.split(".")[0] in ("configs", "tests")}
    relative = path.relative_to(ROOT / "train")
    if relative.name == "__init__.py":
        return
    level = layer_of(relative.parts[0].removesuffix(".py"))
    for name in names:
        parts = name.split(".")
        if parts[0] == "train" and len(parts) > 1:
            assert layer_of(parts[1]) <= level, f"{relative} imports {name}"


def layer_of(module: str) -> int:
    [level] = [i for i, layer in enumerate(LAYERS) if module in layer]
    return level


def test_every_layer_exists():
    modules = {p.relative_to(ROOT / "train").parts[0] for p in APPLICATION}
    modules = {name.removesuffix(".py") for name in modules} - {"__init__"}
    assert modules == {name for layer in LAYERS for name in layer}
