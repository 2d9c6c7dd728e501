"""Write the notebooks of Jupyter from their text: `python colab/pair.py`.

The address of the repository is read from pyproject.toml, the one place where it is
set, and put in wherever the notebooks and the README name it.
"""

import re
import tomllib
from pathlib import Path

import jupytext
import nbformat

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
NAMES = ("em_attention", "your_images", "released_network")
ADDRESS = re.compile(r"\bgithub(\.com)?/[\w.-]+/ema_jax\b")


def repository() -> str:
    """Owner and name, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["urls"]["Repository"].removeprefix("https://github.com/")


def addressed(text: str) -> str:
    """Text in which every address of the repository is the one that is set."""
    return ADDRESS.sub(lambda found: f"github{found[1] or ''}/{repository()}", text)


def notebook(text: str) -> str:
    """What a notebook of Jupyter holds, of its text: no outputs, cells in order."""
    made = jupytext.reads(text, fmt="py:percent")
    made.metadata.pop("jupytext", None)
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"
    return nbformat.writes(made) + "\n"


def main() -> None:
    texts = [FOLDER / f"{name}.py" for name in NAMES]
    for path in [ROOT / "pyproject.toml", ROOT / "README.md", *texts]:
        path.write_text(addressed(path.read_text()))
    for name in NAMES:
        text = (FOLDER / f"{name}.py").read_text()
        (FOLDER / f"{name}.ipynb").write_text(notebook(text))


if __name__ == "__main__":
    main()
