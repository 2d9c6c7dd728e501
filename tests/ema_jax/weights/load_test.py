"""Weights from files: both formats of PyTorch's, safetensors, and broken ones."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from ema_jax.weights import convert_state_dict, export_state_dict, load_torch
from tests.golden import cases, seeded

SMALL = cases.Network(
    stage_sizes=(1, 1, 1, 2), base_width=8, channels=16, num_bases=4, num_classes=5
)


@pytest.fixture
def state() -> dict[str, np.ndarray]:
    return seeded.state_dict(cases.network_shapes(SMALL))


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="reads .pth files; needs torch")


def assert_equal(actual: dict, expected: dict) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


class Code:
    """Unpickling this would create a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def one_line(error: pytest.ExceptionInfo, path: Path) -> str:
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_safetensors(tmp_path, state):
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    assert_equal(load_torch(path), convert_state_dict(state))
    assert_equal(load_torch(str(path)), convert_state_dict(state))


def test_half_precision_safetensors(tmp_path, state):
    bfloat16 = jax.numpy.bfloat16
    state = {name: x.astype(bfloat16).astype(np.float32) for name, x in state.items()}
    path = tmp_path / "weights.safetensors"
    save_file({name: x.astype(bfloat16) for name, x in state.items()}, path)
    assert_equal(load_torch(path), convert_state_dict(state))


@pytest.mark.parametrize("size", [0, 5, 1000, -1])
def test_a_truncated_safetensors_is_an_error(tmp_path, state, size):
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="no complete safetensors") as error:
        load_torch(path)
    one_line(error, path)


def test_the_file_of_a_problem_is_named(tmp_path, state):
    path = tmp_path / "weights.safetensors"
    save_file({"w": np.ones(3)}, path)
    with pytest.raises(ValueError, match="no known family") as error:
        load_torch(path)
    one_line(error, path)
    del state["fc2.bias"]
    save_file(state, path)
    with pytest.raises(ValueError, match=r"missing: fc2\.bias") as error:
        load_torch(path)
    one_line(error, path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_torch(tmp_path / "nowhere.pth")


@pytest.mark.parametrize(
    ("name", "package"), [("w.pth", "torch"), ("w.safetensors", "safetensors")]
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, name, package):
    for module in [module for module in sys.modules if module.startswith(package)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)  # makes the import fail
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ImportError, match=rf"needs {package}; pip .*ema-jax\[torch\]"):
        load_torch(tmp_path / name)


def test_the_library_imports_neither():
    check = (
        "import ema_jax.weights, sys; print({'torch', 'safetensors'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "pickle"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pth(tmp_path, state, torch, new_format, dtype):
    tensors = {
        k: torch.from_numpy(x).to(getattr(torch, dtype)) for k, x in state.items()
    }
    tensors["fc0.bn.num_batches_tracked"] = torch.tensor(7)
    path = tmp_path / "weights.pth"
    content = {"net": {f"module.{k}": x for k, x in tensors.items()}, "step": 30000}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    kind = jax.numpy.dtype(dtype)
    rounded = {name: x.astype(kind).astype(np.float32) for name, x in state.items()}
    assert_equal(load_torch(path), convert_state_dict(rounded))


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "pickle"])
def test_a_pickle_that_would_run_code_is_an_error(tmp_path, state, torch, new_format):
    path, folder = tmp_path / "weights.pth", tmp_path / "made"
    content = {"net": {"w": torch.ones(3)}, "extra": Code(folder)}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(ValueError, match=r"could run code \(.*mkdir") as error:
        load_torch(path)
    one_line(error, path)
    assert not folder.exists()


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "pickle"])
@pytest.mark.parametrize("size", [0, 10, 1000, 20000, -1])
def test_a_truncated_pth_is_an_error(tmp_path, state, torch, new_format, size):
    path = tmp_path / "weights.pth"
    tensors = {name: torch.from_numpy(x) for name, x in state.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=new_format)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="no complete file") as error:
        load_torch(path)
    one_line(error, path)


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"\x80\x02]q\x00."])
def test_what_is_no_state_dict_is_an_error(tmp_path, torch, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"no complete file|no state dict") as error:
        load_torch(path)
    one_line(error, path)


def test_what_is_exported_loads_strictly_in_pytorch(state, torch):
    peer = importlib.import_module("tests.golden.peer")
    network = peer.EMANet(
        stage_sizes=SMALL.stage_sizes,
        base_width=SMALL.base_width,
        channels=SMALL.channels,
        num_bases=SMALL.num_bases,
        num_classes=SMALL.num_classes,
    )
    exported = export_state_dict(convert_state_dict(state))
    tensors = {name: torch.from_numpy(x) for name, x in exported.items()}
    network.load_state_dict(tensors, strict=True)
    for name, x in state.items():
        np.testing.assert_array_equal(network.state_dict()[name].numpy(), x)
