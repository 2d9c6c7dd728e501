"""Python where jax, flax and safetensors are installed, and nothing else."""

import json
import os
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]

BLOCK = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

BLOCKED = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Blocked())
"""


def run_alone(code: str) -> str:
    """What a program prints that finds those three, their own needs, and `ema_jax`."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + code, json.dumps(others())],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def others() -> list[str]:
    """Top-level modules of what jax, flax and safetensors do not bring along."""
    wanted, left = set(), ["jax", "flax", "safetensors"]
    while left:
        name = canonicalize_name(left.pop())
        if name not in wanted:
            wanted.add(name)
            found = map(Requirement, requires(name) or ())
            left += [r.name for r in found if not r.marker or r.marker.evaluate()]
    owners = packages_distributions().items()
    foreign = [
        module
        for module, names in owners
        if not {canonicalize_name(name) for name in names} & wanted
    ]
    assert {"PIL", "cv2", "tensorflow_datasets", "grain", "tqdm"} <= set(foreign)
    return [*foreign, "train", "configs", "main", "tests"]
