"""Files that PyTorch made, and what it reads: `python -m tests.golden.make_pth`.

Needs torch (CPU). Each content is saved in both formats.
"""

import tempfile
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from tests.golden.pth import write_pth

FOLDER = Path(__file__).parent / "pth"
TYPES = ("float32", "float64", "float16", "bfloat16")
NUMBERS = (*TYPES, "int64", "int32", "int16", "int8", "uint8", "bool")


class Code:
    """Reading this with `pickle.load` makes a folder."""

    def __reduce__(self):
        import os

        return os.mkdir, ("made-by-a-pickle",)


def tensors() -> dict[str, torch.Tensor]:
    """Types, shapes and views."""
    base = torch.arange(24, dtype=torch.float32) / 7
    found = {
        f"of {name}": (base[:6] * 3).to(getattr(torch, name)).reshape(2, 3)
        for name in NUMBERS
    }
    return found | {
        "shared": base,
        "shared too": base[5:17].reshape(3, 4),
        "transposed": base.reshape(2, 3, 4).permute(2, 0, 1),
        "strided": base[1::5],
        "expanded": base[3:5].reshape(2, 1).expand(2, 3),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(base[:3].clone()),
    }


def checkpoint() -> dict:
    """As trainings leave it: a network in parallel, and its optimizer."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    network(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    state = OrderedDict((f"module.{k}", x) for k, x in network.state_dict().items())
    return {
        "epoch": 3,
        "best": 0.5,
        "net": state,
        "optimizer": optimizer.state_dict(),
        "classes": ("a", "β"),
        "sizes": torch.Size([3, 4]),
    }


CONTENTS = {
    "tensors": tensors,
    "checkpoint": checkpoint,
    "code": lambda: {"net": {"w": torch.ones(3)}, "extra": Code()},
    "module": lambda: torch.nn.Linear(2, 2),
    "list": lambda: [torch.ones(2)],
}


def main() -> None:
    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    expected = {}
    for name, make in CONTENTS.items():
        content = make()
        for kind, new in (("zip", True), ("pickle", False)):
            path = FOLDER / f"{name}.{kind}.pth"
            torch.save(content, path, _use_new_zipfile_serialization=new)
            if name in ("tensors", "checkpoint"):
                state = torch.load(path, weights_only=True)
                state = state.get("net", state)
                for key, x in state.items():
                    array = x.detach().double().numpy()
                    expected[f"{name}.{kind}/{key.removeprefix('module.')}"] = array
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(FOLDER / "script.pth")
    np.savez_compressed(FOLDER / "expected.npz", **expected)
    check_writer()


def check_writer() -> None:
    """PyTorch reads what `write_pth` writes."""
    rng = np.random.default_rng(0)
    state = {"a": rng.standard_normal((2, 3)), "β": np.arange(4), "c": np.float32([1])}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.pth"
        write_pth(path, state)
        found = torch.load(path, weights_only=True)
    assert list(found) == list(state)
    for name, x in state.items():
        np.testing.assert_array_equal(found[name].numpy(), x)


if __name__ == "__main__":
    main()
