"""Weights from files: both formats of PyTorch's, safetensors, and broken ones."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from ema_jax.weights import convert_state_dict, export_state_dict, load_torch
from ema_jax.weights.load import read_state_dict
from ema_jax.weights.torch_file import NAMES, Storage, Tensor, TorchFile
from ema_jax.weights.unpickle import RefusedError, unpickle
from tests.golden import cases, rebuild_foreign, seeded
from tests.golden.pth import write_pth

PTH = Path(cases.__file__).parent / "pth"
FAMILIES = ("train", "timm_resnet50s", "torchvision_resnet50")
"""One of OpenMMLab's, and ResNets of both stems."""
SMALL = cases.Network(
    stage_sizes=(1, 1, 1, 2), base_width=8, channels=16, num_bases=4, num_classes=5
)


@pytest.fixture
def state() -> dict[str, np.ndarray]:
    return seeded.state_dict(cases.network_shapes(SMALL))


@pytest.fixture(params=["zip", "pickle"])
def format_(request):
    return request.param


def assert_equal(actual: dict, expected: dict) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


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


@pytest.mark.parametrize("size", [5, 20, 1000, -1])
def test_a_truncated_safetensors_is_an_error(tmp_path, state, size):
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="no complete") as error:
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


def test_a_missing_package_is_named(tmp_path, monkeypatch, state):
    save_file(state, tmp_path / "w.safetensors")
    for module in [name for name in sys.modules if name.startswith("safetensors")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "safetensors", None)  # makes the import fail
    with pytest.raises(ImportError, match="needs safetensors; pip install safetensors"):
        load_torch(tmp_path / "w.safetensors")


def test_the_library_imports_neither():
    check = (
        "import ema_jax.weights, sys; print({'torch', 'safetensors'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("name", ["tensors", "checkpoint"])
def test_pth_holds_what_pytorch_reads(name, format_):
    """Types, views, nests and prefixes; files and values are PyTorch's."""
    content, _ = read_state_dict(PTH / f"{name}.{format_}.pth")
    with np.load(PTH / "expected.npz") as file:
        prefix = f"{name}.{format_}/"
        expected = {
            k.removeprefix(prefix): file[k] for k in file if k.startswith(prefix)
        }
    assert content.keys() == expected.keys()
    for key, array in content.items():
        np.testing.assert_array_equal(np.asarray(array, np.float64), expected[key])
        if key.startswith("of "):
            assert np.asarray(array).dtype.name == key.removeprefix("of ")


def test_what_was_seen_through_is_said(caplog):
    caplog.set_level("INFO", "ema_jax")
    read_state_dict(PTH / "checkpoint.zip.pth")
    assert caplog.messages == [
        f"{PTH / 'checkpoint.zip.pth'}: the weights are under key 'net', "
        "prefix 'module.'"
    ]


@pytest.mark.parametrize("family", ["release", *FAMILIES])
def test_each_family_loads_from_pth(tmp_path, state, family):
    state = state if family == "release" else rebuild_foreign.state_dict(family)
    path = tmp_path / "weights.pth"
    write_pth(path, {f"module.{name}": x for name, x in state.items()})
    assert_equal(load_torch(path), convert_state_dict(state))


@pytest.mark.parametrize("name", ["w.safetensors", "w.SAFETENSORS", "w.pth", "w.bin"])
def test_a_file_is_known_by_its_content(tmp_path, state, name):
    path = tmp_path / name
    save_file(state, path)
    assert_equal(load_torch(path), convert_state_dict(state))
    write_pth(path, state)
    assert_equal(load_torch(path), convert_state_dict(state))


@pytest.mark.parametrize("name", ["code", "module"])
def test_a_pickle_that_would_run_code_is_an_error(tmp_path, monkeypatch, format_, name):
    monkeypatch.chdir(tmp_path)
    path = PTH / f"{name}.{format_}.pth"
    asked = {"code": r"posix\.mkdir", "module": r"torch\.nn\.modules\.linear\.Linear"}
    with pytest.raises(ValueError, match=f"could run code .{asked[name]}") as error:
        load_torch(path)
    one_line(error, path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [0, 10, 500, 1500, 2000, -1])
def test_a_truncated_pth_is_an_error(tmp_path, format_, size):
    path = tmp_path / "weights.pth"
    path.write_bytes((PTH / f"checkpoint.{format_}.pth").read_bytes()[:size])
    with pytest.raises(ValueError, match=r"no complete file|an empty file") as error:
        load_torch(path)
    one_line(error, path)


FOREIGN = {
    "an HTML page": b"\n<!DOCTYPE html><title>404</title>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d",
    "an ONNX model": b"\x08\x08\x12\x07pytorch\x1a\x052.1.0",
    "JSON": b'{"error": "not found"}',
    "XML": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "a TensorFlow Lite model": b"\x1c\0\0\0TFL3",
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "a gzip archive": b"\x1f\x8b\x08",
    "an empty file": b"",
    "no complete file of weights": b"\x00\x01\x02\x03",
    "a pickle of list": b"\x80\x02]q\x00.",
    "a zip archive that torch.save did not write": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize(("what", "content"), FOREIGN.items(), ids=FOREIGN)
def test_what_holds_no_weights_is_named_as_what_it_is(tmp_path, what, content):
    path = tmp_path / "weights.pth"
    if content.startswith(b"PK"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", b"")
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=what) as error:
        load_torch(path)
    one_line(error, path)


@pytest.mark.parametrize(
    ("name", "what"), [("script", "is TorchScript"), ("list.zip", "holds a list")]
)
def test_what_pytorch_saved_that_is_no_state_dict(name, what):
    path = PTH / f"{name}.pth"
    with pytest.raises(ValueError, match=what) as error:
        load_torch(path)
    one_line(error, path)


def test_damaged_bytes_are_errors_and_nothing_else(tmp_path):
    """500 files, cut off or with flipped bits: an answer or one line, no call."""
    rng = np.random.default_rng(0)
    files = [path.read_bytes() for path in sorted(PTH.glob("*.pth"))]
    path, said = tmp_path / "weights.pth", []
    for number in range(500):
        data = bytearray(files[number % len(files)])
        if number % 3 == 0:
            del data[rng.integers(len(data)) :]
        for _ in range(rng.integers(1, 6)):
            if data:
                data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            content, _ = read_state_dict(path)
        except ValueError as error:
            said.append(str(error))
        else:
            assert all(np.size(x) < 10_000 for x in content.values())
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in said)
    assert len(said) > 300


@pytest.mark.parametrize(
    "body",
    [
        b"cbuiltins\neval\n(X\x03\0\0\0a=1tR",  # a call by name
        b"cos\nsystem\n",  # a name alone
        b"\x8c\x02os\x8c\x06system\x93",  # the newer form of it
        b"ctorch\nFloatStorage\n)\x81",  # an object of a class
        b"(ios\nsystem\n",  # an instance
        b"\x82\x01",  # an extension
        b"}}b0cposix\nsystem\n",  # after attributes
    ],
)
def test_every_way_to_run_code_is_refused(body):
    with pytest.raises(RefusedError):
        unpickle(io.BytesIO(b"\x80\x04" + body + b"."), NAMES, load=lambda key: key)


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(Storage("0", np.dtype("f4"), 0, 4), 1, (2, 2), (2, 1)),  # past the end
        Tensor(Storage("0", np.dtype("f4"), 0, 4), 0, (2,), (-1,)),
        Tensor(Storage("0", np.dtype("f4"), 0, 4), 0, (2**40,), (0,)),
        Tensor(Storage("0", np.dtype("f4"), 0, 4), 0, (2,), ()),
        Tensor(Storage("0", np.dtype("f4"), 2, 4), 0, (4,), (1,)),
    ],
)
def test_a_tensor_that_its_storage_does_not_hold_is_refused(tensor):
    file = TorchFile({}, lambda storage: bytes(16))
    with pytest.raises(ValueError, match=r"numbers|tensor|bytes"):
        file.array(tensor)


def test_weights_that_are_not_finite_are_refused(tmp_path, state):
    path = tmp_path / "weights.safetensors"
    state["fc1.0.conv.weight"][0, 0, 0, 0] = np.nan
    state["extractor.0.0.weight"][0, 0, 0, 0] = np.inf
    save_file(state, path)
    with pytest.raises(ValueError, match="not finite") as error:
        load_torch(path)
    assert "params/backbone/stem_conv1/conv/kernel" in one_line(error, path)
    assert "params/head/expand/conv/kernel" in str(error.value)
    found = load_torch(path, allow_non_finite=True)
    assert np.isnan(found["params"]["head"]["expand"]["conv"]["kernel"]).sum() == 1


def test_what_is_exported_has_the_names_and_shapes_of_pytorch(state):
    """`tests/golden/make.py` loads such a state dict strictly."""
    exported = export_state_dict(convert_state_dict(state))
    assert {name: x.shape for name, x in exported.items()} == cases.network_shapes(
        SMALL
    )
    for name, x in state.items():
        np.testing.assert_array_equal(exported[name], x)
