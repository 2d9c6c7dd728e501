"""The notebooks are what their text says; `make notebooks` runs them."""

import re
import shlex
import tomllib
from pathlib import Path

import nbformat
import pytest

import main
from colab.pair import ADDRESS, NAMES, addressed, notebook, repository
from train.configuration.config import load_config
from train.configuration.limits import check_limits

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
named = pytest.mark.parametrize("name", NAMES)


def text(name: str) -> str:
    return (ROOT / "colab" / f"{name}.py").read_text()


def cells(name: str) -> list[nbformat.NotebookNode]:
    return nbformat.read(ROOT / "colab" / f"{name}.ipynb", as_version=4).cells


def install(name: str) -> str:
    """The cell that installs, the first that is code."""
    code = [cell for cell in cells(name) if cell.cell_type == "code"]
    assert [cell.metadata.get("tags") for cell in code[:2]] == [["install"], None]
    return code[0].source


def test_no_notebook_is_overlooked():
    found = {path.stem for path in (ROOT / "colab").glob("*.ipynb")}
    assert found == {*NAMES}


@named
def test_text_and_notebook_agree(name):
    made = (ROOT / "colab" / f"{name}.ipynb").read_text()
    assert made == notebook(text(name)), "make format writes them anew"


@named
def test_nothing_is_left_of_a_run(name):
    for cell in cells(name):
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_address_is_that_of_the_project():
    assert addressed("git+https://github.com/someone/ema_jax#x").endswith(
        f"github.com/{repository()}#x"
    )
    assert addressed("github.com/open-mmlab/x") == "github.com/open-mmlab/x"
    for page in [ROOT / "README.md", *(ROOT / "colab").glob("*.ipynb")]:
        content = page.read_text()
        assert ADDRESS.search(content)
        assert content == addressed(content), f"make format mends {page}"


@named
def test_the_badges_open_the_notebooks(name):
    place = f"github/{repository()}/blob/main/colab/{name}.ipynb"
    link = f"](https://colab.research.google.com/{place})"
    assert link in cells(name)[0].source
    assert link in (ROOT / "README.md").read_text()


@named
def test_links_lead_somewhere(name):
    links = re.findall(
        rf"github(?:\.com)?/{repository()}/blob/main/([\w/.]+)", text(name)
    )
    assert links
    for link in [*links, *re.findall(r'"(weights/.*?)"', text(name))]:
        assert (ROOT / link).is_file(), link


@named
def test_installing_leaves_jax_alone(name):
    """Nothing asks for an upgrade, or for another jax than that of Colab."""
    cell = install(name)
    assert f"https://github.com/{repository()}" in cell
    assert not re.search(r"--upgrade|-U\b|--force|jax\[|jax[=<>]|flax[=<>]", cell)
    assert PROJECT["dependencies"] == ["jax>=0.7.2", "flax>=0.11.2"]


def test_the_application_is_held_to_what_is_there():
    cell = install("your_images")
    assert "--constraint installed.txt" in cell
    [extra] = re.findall(r"\.\[(\w+)\]", cell)
    assert extra in PROJECT["optional-dependencies"]
    pattern = re.compile(re.search(r'grep -E "(.*?)"', cell)[1])
    kept = ["jax==0.7.2", "jaxlib==0.7.2", "jax-cuda12-plugin==0.7.2", "numpy==2.1.3"]
    assert all(map(pattern.match, [*kept, "flax==0.11.2"]))


def test_commands_are_understood(monkeypatch):
    monkeypatch.chdir(ROOT)
    code = "\n".join(c.source for c in cells("your_images") if c.cell_type == "code")
    lines = re.sub(r"\\\n", " ", code).replace('"{', "").replace('}"', "").splitlines()
    commands = [line.partition("main.py ")[2] for line in lines if "main.py " in line]
    used = []
    for arguments in map(shlex.split, commands):
        options, overrides = main.parser().parse_known_args(arguments)
        if getattr(options, "config", None):
            check_limits(load_config(options.config, overrides))
        used.append(options.command)
    assert used == ["data", "train", "evaluate", "predict", "convert"]
