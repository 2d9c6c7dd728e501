"""Runs the notebooks from top to bottom: `python tests/colab/execute.py`.

Each runs in an empty folder of its own. Their install cells are passed over, and this
checkout stands for what they install; with `--install CLONE` they run, and install from
there: that changes this environment.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

sys.path.insert(0, str(Path(__file__).parents[2]))

from colab.pair import ADDRESS, NAMES
from ema_jax import MODELS
from ema_jax.segmenter import init_variables
from ema_jax.weights import export_state_dict
from tests.golden.pth import write_pth

ROOT = Path(__file__).parents[2]
CHECKOUT = ("main.py", "configs", "ema_jax", "train", "weights")
INSTALL = "install"
"""The tag of the cell that installs."""


def release(path: Path) -> None:
    """Write the weights of a small network as the authors of EMANet wrote theirs."""
    model = MODELS["emanet_tiny"](num_classes=21)
    variables = init_variables(model, seed=0)
    write_pth(path, export_state_dict(variables))


def run(name: str, folder: Path, clone: Path | None) -> nbformat.NotebookNode:
    """A notebook with what its cells have put out.

    Args:
      name: in `colab/`.
      folder: in which it runs.
      clone: from which its install cell installs; None: it is passed over.

    Raises:
      CellExecutionError: a cell has failed.
    """
    notebook = jupytext.read(ROOT / "colab" / f"{name}.py")
    if clone is None:
        for part in CHECKOUT:
            (folder / part).symlink_to(ROOT / part)
        notebook.cells = [
            cell
            for cell in notebook.cells
            if INSTALL not in cell.metadata.get("tags", [])
        ]
    for cell in notebook.cells:
        if INSTALL in cell.metadata.get("tags", []):
            cell.source = ADDRESS.sub("@", cell.source).replace(
                "https://@", f"file://{clone}"
            )
    where = {"metadata": {"path": str(folder)}}
    return NotebookClient(notebook, timeout=1200, resources=where).execute()


def pictures(notebook: nbformat.NotebookNode) -> int:
    """How many pictures the cells have drawn."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return sum("image/png" in output.get("data", {}) for output in outputs)


def processor_time() -> float:
    """Seconds of a core that the kernels, and what they started, have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help=f"of {NAMES}")
    parser.add_argument("--install", type=Path, help="clone to install from")
    parser.add_argument("--output", type=Path, help="folder for what was executed")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.pop("PYTHONPATH", None)
    cases = [(name, False) for name in options.names]
    if "released_network" in options.names:
        cases.append(("released_network", True))
    for name, released in cases:
        with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
            os.environ["TFDS_DATA_DIR"] = str(Path(folder, "records"))
            if released:
                release(Path(folder, "emanet.pth"))
            start = time.monotonic(), processor_time()
            done = run(name, Path(folder), options.install)
            wall, work = time.monotonic() - start[0], processor_time() - start[1]
        title = f"{name}{' with a .pth' * released}"
        print(
            f"{title}: {wall / 60:.1f} minutes, {work / 60:.1f} of a core, "
            f"{pictures(done)} pictures",
            flush=True,
        )
        assert pictures(done) >= 3, title
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            nbformat.write(done, options.output / f"{title.replace(' ', '-')}.ipynb")


if __name__ == "__main__":
    main()
