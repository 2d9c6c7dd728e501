"""`main.py convert`: a foreign file becomes one safe file, or nothing at all."""

from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ema_jax.weights import load_torch, model_file
from tests.golden import cases, seeded
from train.model.convert import backbone_of, save_weights
from train.model.pretrained import read_model
from train.user.errors import UserError

NETWORK = cases.Network(
    stage_sizes=(1, 1, 1, 2), base_width=8, channels=16, num_bases=4, num_classes=5
)


@pytest.fixture
def source(tmp_path) -> Path:
    """A file in the release's names, wrapped as data parallelism leaves them."""
    state = seeded.state_dict(cases.network_shapes(NETWORK))
    path = tmp_path / "source.safetensors"
    save_file({f"module.{name}": x for name, x in state.items()}, path)
    return path


def convert(file: str, output: str) -> str:
    return save_weights(read_model(file)[1], output)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_output_holds_the_release_s_names(source, tmp_path):
    output = tmp_path / "out.safetensors"
    expected = seeded.state_dict(cases.network_shapes(NETWORK))
    trained = {k: x for k, x in expected.items() if k.endswith(("weight", "bias"))}
    count = sum(x.size for x in trained.values()) / 1e6
    assert convert(str(source), str(output)) == (
        f"{output}: {len(expected)} arrays, {count:.2f} M parameters"
    )
    written = load_file(output)
    assert written.keys() == expected.keys()
    for name, x in expected.items():
        np.testing.assert_array_equal(written[name], x)
    jax.tree.map(np.testing.assert_array_equal, load_torch(output), load_torch(source))
    assert files(tmp_path) == {source.name, output.name}


def test_a_file_may_be_converted_in_its_place(source, tmp_path):
    convert(str(source), str(source))
    assert "fc2.bias" in load_file(source)
    assert files(tmp_path) == {source.name}


def test_a_backbone_alone_has_a_resnet_s_names(source, tmp_path):
    output = tmp_path / "backbone.safetensors"
    variables = read_model(str(source))[1]
    save_weights(backbone_of(variables), str(output))
    names = load_file(output).keys()
    assert {name.split(".")[0] for name in names} == {
        *("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    }
    for kind, tree in load_torch(output).items():
        assert tree.keys() == {"backbone"}
        jax.tree.map(
            np.testing.assert_array_equal, tree["backbone"], variables[kind]["backbone"]
        )


def test_a_network_without_foreign_names_keeps_its_own(source, tmp_path):
    output = tmp_path / "out.safetensors"
    variables = read_model(str(source))[1]
    del variables["batch_stats"]["head"]["context"]["bases"]
    save_weights(variables, str(output))
    assert "params/head/classifier/bias" in load_file(output)
    jax.tree.map(np.testing.assert_array_equal, load_torch(output), variables)


def test_mistakes_are_one_line_and_leave_nothing(source, tmp_path):
    before = files(tmp_path)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(source.read_bytes()[:-1])
    out = str(tmp_path / "out.safetensors")
    for file, output, message in (
        (
            str(source),
            str(tmp_path / "out.pth"),
            r"out\.pth .* end it in \.safetensors",
        ),
        (str(tmp_path / "none.pth"), out, r"none\.pth: cannot be read \(No such file"),
        (str(tmp_path), out, "cannot be read"),
        (str(broken), out, r"broken\.safetensors: no complete safetensors file"),
        (str(source), str(tmp_path / "no/out.safetensors"), "cannot be written"),
    ):
        with pytest.raises(UserError, match=message) as error:
            convert(file, output)
        assert "\n" not in str(error.value)
    assert files(tmp_path) == before | {broken.name}


def test_a_failed_write_keeps_what_was_there(source, tmp_path, monkeypatch):
    output = tmp_path / "out.safetensors"
    output.write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_file.os, "replace", fail)
    with pytest.raises(UserError, match=r"cannot be written \(No space left"):
        convert(str(source), str(output))
    assert output.read_bytes() == b"old"
    assert files(tmp_path) == {source.name, output.name}
