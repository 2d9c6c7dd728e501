"""`main.py profile` from end to end, on the smallest networks."""

import csv
from functools import cache

import flax.linen as nn
import jax
import pytest

import main
from ema_jax import EMAU, Segmenter
from ema_jax.backbones import Features
from ema_jax.context import NoContext
from ema_jax.heads import ContextHead
from ema_jax.segmenter import variable_shapes
from train.profile import growth, modules, networks
from train.profile.command import LARGEST, LARGEST_SIDE, find_device
from train.profile.programs import forward_program
from train.user.errors import UserError


def profile(*options):
    return main.main(["profile", *map(str, options)])


def read(path):
    with open(path) as file:
        return list(csv.DictReader(file))


class Patches(nn.Module):
    """A backbone of one convolution: it compiles fast."""

    @nn.compact
    def __call__(self, images, *, train, mask=None):
        x = nn.Conv(8, (3, 3), strides=8, padding=1)(images)
        return (Features(nn.relu(x), mask),)


@pytest.fixture
def small_network(monkeypatch):
    def make(num_classes, output_stride, dtype):
        assert output_stride == 8
        return Segmenter(Patches(), ContextHead(NoContext(), num_classes, 8, 8))

    monkeypatch.setattr(networks, "MODELS", {"small": make})
    return make(networks.NUM_CLASSES, 8, None)


def test_networks(tmp_path, capsys, small_network):
    options = ("--models", "small,small", "--size", 33, "--batch", 3, "--runs", 2)
    assert profile(*options, "--output", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "3 × 33 × 33 pixels, output stride 8, float32, cpu" in printed

    [row] = read(tmp_path / "networks.csv")
    params = variable_shapes(small_network)["params"]
    sizes = {k: sum(x.size for x in jax.tree.leaves(v)) for k, v in params.items()}
    assert int(row["parameters_backbone"]) == sizes["backbone"]
    assert int(row["parameters_total"]) == sum(sizes.values())
    kernel = small_network.head.hidden_channels * networks.NUM_CLASSES
    expand = 9 * 8 * 8
    pixels = 3 * 5 * 5
    assert int(row["multiply_adds_classifier"]) == pixels * (kernel + expand)
    forward, training = (int(row[f"memory_{k}"]) for k in ("forward", "training"))
    logits = 4 * 3 * 33 * 33 * networks.NUM_CLASSES
    assert forward > 4 * sum(sizes.values()) + logits
    assert training > forward + 4 * sum(sizes.values())  # the momentum too
    quartiles = [float(row[f"latency_{q}"]) for q in ("lower", "median", "upper")]
    assert 0 < quartiles[0] <= quartiles[1] <= quartiles[2]

    assert (tmp_path / "networks.txt").read_text() in printed
    page = (tmp_path / "networks.md").read_text()
    assert page.count("| small |") == 2
    for shown in (f"{training / 2**20:.1f}", f"{quartiles[1] * 1e3:.1f}"):
        assert shown in page
        assert shown in printed


def test_counting_compiles_nothing(capsys, monkeypatch, small_network):
    monkeypatch.setattr(networks, "forward_program", None)
    monkeypatch.setattr(networks, "training_program", None)
    assert profile("--models", "small", "--size", 33, "--measure", "nothing") == 0
    printed = capsys.readouterr().out
    assert "GMAC" in printed
    assert "forward ms" not in printed


def test_without_names_the_networks_of_the_paper():
    assert {"emanet_r101", "emanet_r101_256", "psanet_r101"} < set(networks.DEFAULT)
    assert {"deeplabv3_r101", "deeplabv3plus_r101"} < set(networks.DEFAULT)
    assert not [name for name in networks.DEFAULT if "tiny" in name]


class Pairs(nn.Module):
    """As quadratic as it gets."""

    @nn.compact
    def __call__(self, x, *, train, mask=None):
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        return (tokens @ tokens.mT @ tokens).reshape(x.shape)


compiled_once = cache(forward_program)


@pytest.fixture
def two_modules(monkeypatch):
    def both(side, dtype, device):
        return {"em": EMAU(num_bases=4, dtype=dtype), "pairs": Pairs()}

    monkeypatch.setattr(growth, "context_modules", both)
    monkeypatch.setattr(growth, "forward_program", compiled_once)
    monkeypatch.setattr(modules, "KINDS", ("em", "pairs"))


def test_growth(tmp_path, capsys, two_modules):
    options = ("--growth", "--sides", "8,16", "--channels", 8, "--runs", 1)
    assert profile(*options, "--output", tmp_path) == 0
    rows = read(tmp_path / "growth.csv")
    assert [(row["module"], row["side"]) for row in rows] == [
        ("em", "8"),
        ("pairs", "8"),
        ("em", "16"),
        ("pairs", "16"),
    ]
    em, pairs = (int(row["multiply_adds"]) for row in rows[2:])
    assert em == 256 * (2 * 8 * 8 + 7 * 4 * 8)
    assert pairs == 2 * 256 * 256 * 8
    assert int(rows[3]["memory"]) > 4 * 256 * 256
    assert all(float(row["latency_median"]) > 0 for row in rows)
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    slopes = capsys.readouterr().out.split("multiply-adds  peak memory")[1].split()
    assert slopes[slopes.index("em") + 1] == "1.00"
    assert slopes[slopes.index("pairs") + 1] == "2.00"


def test_a_module_that_does_not_fit_is_said_to(
    tmp_path, capsys, two_modules, monkeypatch
):
    monkeypatch.setattr("train.profile.programs.free_memory", lambda device: 50_000)
    options = ("--growth", "--sides", "8,16", "--channels", 8, "--runs", 1)
    assert profile(*options, "--output", tmp_path) == 0
    small, _, _, large = read(tmp_path / "growth.csv")
    assert float(small["latency_median"]) > 0
    assert large["latency_median"] == "does not fit"
    assert int(large["memory"]) > 50_000
    assert "does not fit" in capsys.readouterr().out


def test_growth_can_be_counted_alone(tmp_path, two_modules):
    options = ("--growth", "--sides", "8,16", "--channels", 8, "--measure", "nothing")
    assert profile(*options, "--output", tmp_path) == 0
    assert set(read(tmp_path / "growth.csv")[0]) == {
        "module",
        "side",
        "pixels",
        "multiply_adds",
    }
    assert (tmp_path / "growth.png").exists()


def test_growth_of_chosen_modules(tmp_path):
    options = ("--growth", "--models", "psa,non_local", "--measure", "nothing")
    options += ("--sides", "5", "--channels", 8, "--output", tmp_path)
    assert profile(*options) == 0
    names = {row["module"] for row in read(tmp_path / "growth.csv")}
    assert names >= {"psa", "non_local", "non_local, dot product"}
    assert {name.partition(",")[0] for name in names} == {"psa", "non_local"}


def test_a_side_given_twice_is_one_and_has_no_slope(tmp_path, capsys, two_modules):
    options = ("--growth", "--sides", "8, 8,08", "--channels", 8, "--runs", 1)
    assert profile(*options, "--output", tmp_path) == 0
    assert len(read(tmp_path / "growth.csv")) == 2
    slopes = capsys.readouterr().out.split("multiply-adds  peak memory")[1].split()
    assert slopes[slopes.index("em") + 1 :][:3] == ["–", "–", "–"]


def test_an_absent_device_is_one_line():
    with pytest.raises(UserError, match=r"--device=tpu: .* there are: cpu") as error:
        find_device("tpu")
    assert "\n" not in str(error.value)
    assert find_device(None).platform == find_device("cpu").platform == "cpu"


def test_one_size_has_no_slope():
    rows = [{"module": "a", "pixels": 64, "memory": n} for n in (10, 12)]
    assert growth.slopes(rows) == [{"module": "a"}]


def test_a_plot_that_cannot_be_written_is_one_line(tmp_path, capsys, two_modules):
    (tmp_path / "growth.png").mkdir()
    options = ("--growth", "--sides", "8", "--channels", 8, "--measure", "nothing")
    assert profile(*options, "--output", tmp_path) == 2
    printed = capsys.readouterr()
    [line] = [x for x in printed.err.splitlines() if x.startswith("error: ")]
    assert line.startswith(f"error: --output: {tmp_path}/growth.png cannot be written")
    assert "pairs" in printed.out


def test_the_largest_features_can_be_counted():
    """Shapes alone, and no array, are made of them."""
    options = ("--growth", "--measure", "nothing", "--sides", LARGEST_SIDE)
    assert profile(*options, "--channels", LARGEST) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "emanet_r1001"], "--models: 'emanet_r1001' is unknown; did you"),
        (["--models", ""], "--models: '' is unknown; there are:"),
        (["--size", "0"], "--size=0: give a whole number from 1 to"),
        (["--size", "5.5"], "--size=5.5: give a whole number from 1 to"),
        (["--size", "3000000"], "--size=3000000: give a whole number from 1 to 16384"),
        (["--size", "9" * 20], f"--size={'9' * 20}: give a whole number from 1 to 16"),
        (["--size", "9" * 5000], f"--size={'9' * 5000}: give a whole number from 1 to"),
        (["--runs", "16385"], "--runs=16385: give a whole number from 1 to 16384"),
        (["--growth", "--sides", "3,2049"], "--sides=2049: give a whole number from 1"),
        (["--growth", "--sides", ""], "--sides=: give a whole number from 1 to 2048"),
        (["--device", ""], "--device=: jax finds none here; there are: cpu"),
        (["--output", ""], "--output=: give a folder, . for this one"),
        (["--batch", "-1"], "--batch=-1: give a whole number from 1 to"),
        (["--device", "tpu"], "--device=tpu: jax finds none here; there are: cpu"),
        (["--device", "cpus"], "--device=cpus: jax finds none here; there are: cpu"),
        (
            ["--output_stride", "7"],
            "--output_stride=7 is unknown; there are: 16, 32",
        ),
        (["--dtype", "bfloat"], "--dtype=bfloat is unknown; did you mean 'bfloat16'?"),
        (["--measure", "time"], "--measure=time is unknown; there are: all, memory"),
        (
            ["--output", "/dev/null/x"],
            "--output: /dev/null/x cannot be written (Not a dir",
        ),
        (["--sides", "3"], "--sides goes with --growth; see profile --help"),
        (
            ["--growth", "--models", "pas"],
            "--models: 'pas' is unknown; did you mean 'p",
        ),
        (["--growth", "--models", ""], "--models: '' is unknown; there are: criss_c"),
        (["--growth", "--size", "3"], "--size is no option of --growth; see"),
        (["--growth", "--sides", "3,"], "--sides=: give a whole number from 1 to 20"),
        (["--modles", "x"], "--modles is no option of profile; see --help"),
    ],
)
def test_mistakes_are_one_line(options, message, capsys, monkeypatch):
    monkeypatch.setattr(networks, "profile", None)
    monkeypatch.setattr(growth, "measure", None)
    assert profile(*options) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {message}")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
