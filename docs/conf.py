"""The site of the documentation: `make docs`."""

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]

project = "ema_jax"
release = PROJECT["version"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["photographs"]
html_theme = "furo"
html_title = project
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
}
myst_heading_anchors = 3
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88
default_role = "code"  # docstrings have Markdown's backticks

LINK = re.compile(r"\]\((\.\.[^)#:]*)(#[^)]*)?\)")


def address_files(app: Any, page: str, source: list[str]) -> None:
    """Links to files beside `docs/`, which a site has not, lead to the repository.

    Raises:
        FileNotFoundError: there is no such file.
    """

    def addressed(link: re.Match[str]) -> str:
        target = (ROOT / "docs" / page).parent.joinpath(link[1]).resolve(strict=True)
        if target.is_relative_to(ROOT / "docs"):
            return link[0]
        return f"]({REPOSITORY}/blob/main/{target.relative_to(ROOT)}{link[2] or ''})"

    source[0] = LINK.sub(addressed, source[0])


def escape_stars(app: Any, what: str, name: str, thing: Any, options: Any, lines: list):
    """Stars of docstrings outside of code, `(B, *spatial, C)`, are stars."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("`")
            parts[::2] = [part.replace("*", r"\*") for part in parts[::2]]
            lines[i] = "`".join(parts)


def shorten(app: Any, what: str, name: str, thing: Any, options: Any, *signature: Any):
    """A signature without the fields that Flax adds to every module; types by name."""
    arguments, returns = signature
    for long, short in (
        (r", parent: .*\)$", ")"),
        (r"<class '(?:.*?\.)?(\w+)'>", r"\1"),
        (re.escape("str | type[Any] | dtype | SupportsDType"), "DTypeLike"),
    ):
        arguments = arguments and re.sub(long, short, arguments)
    return arguments, returns


def setup(app: Any) -> None:
    app.connect("source-read", address_files)
    app.connect("autodoc-process-docstring", escape_stars, priority=1)
    app.connect("autodoc-process-signature", shorten)
