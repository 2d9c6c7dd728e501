"""Installs a wheel into an empty environment, and runs the README's Python there.

`python tests/wheel.py dist/*.whl`: with what the wheel asks for, and safetensors.
"""

import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.pages import python

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "weights/emanet_lite0_voc_part.safetensors"

BEFORE = """
import jax, jax.numpy as jnp, numpy as np
image = np.zeros((30, 40, 3), np.uint8)
x = jnp.ones((1, 9, 9, 3))
"""
VARIABLES = "variables = Net().init(jax.random.key(0), x, train=False)\n"
AFTER = """
assert y.shape == (1, 5, 5, 10), y.shape
assert prediction.probabilities.shape == (30, 40, 21), prediction.probabilities.shape
import ema_jax
print(ema_jax.__file__)
"""


def program() -> str:
    """The README's blocks, one after the other, and what they take as given."""
    blocks = python(ROOT / "README.md")
    assert sum("Net().apply" in block for block in blocks) == 1
    given = (VARIABLES * ("Net().apply" in block) + block for block in blocks)
    return BEFORE + "\n".join(given) + AFTER


def main(wheel: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder, "venv/bin/python")
        venv.create(alone.parents[1], with_pip=True)
        install = [alone, "-m", "pip", "install", "--quiet", wheel, "safetensors"]
        subprocess.run(install, check=True)
        shutil.copy(WEIGHTS, Path(folder, "model.safetensors"))
        subprocess.run([alone, "-c", program()], cwd=folder, check=True)


if __name__ == "__main__":
    main(sys.argv[1])
