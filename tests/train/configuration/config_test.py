"""Config files and overrides: types, optional fields, suggestions, round trips."""

import json
import sys
from pathlib import Path

import pytest

from configs import default
from train.configuration.config import (
    apply_override,
    config_name,
    field_names,
    from_json,
    join_overrides,
    load_config,
    to_json,
)
from train.configuration.limits import check_limits
from train.user.errors import UserError

CONFIGS = sorted(Path("configs").glob("[a-z]*.py"))


@pytest.fixture
def config():
    return default.get_config()


@pytest.fixture
def write(tmp_path):
    def write_config(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write_config


def message(action, *arguments):
    with pytest.raises(UserError) as error:
        action(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("override", "section", "field", "wanted"),
    [
        ("seed=7", None, "seed", 7),
        ("optimizer.learning_rate=1e-3", "optimizer", "learning_rate", 1e-3),
        ("optimizer.learning_rate=1", "optimizer", "learning_rate", 1.0),
        ("data.flip=false", "data", "flip", False),
        ("data.flip=1", "data", "flip", True),
        ("data.name=2007", "data", "name", "2007"),
        ("data.root=/a=b/c d", "data", "root", "/a=b/c d"),
        ("data.root=none", "data", "root", None),
        ("model.num_bases=12", "model", "num_bases", 12),
        ("model.num_bases=None", "model", "num_bases", None),
        ("model.normalization=none", "model", "normalization", "none"),
        ("model.normalization=None", "model", "normalization", None),
        ("model.bases_update=none", "model", "bases_update", "none"),
        ("data.crop_size=(33, 65)", "data", "crop_size", (33, 65)),
        ("data.scales=1.0,2.0", "data", "scales", (1.0, 2.0)),
    ],
)
def test_overrides(config, override, section, field, wanted):
    apply_override(config, f"--config.{override}")
    actual = (config[section] if section else config)[field]
    assert actual == wanted
    assert type(actual) is type(wanted)


def test_an_override_changes_one_field(config):
    before = to_json(config)
    apply_override(config, "--config.evaluation.every=3")
    before["evaluation"]["every"] = 3
    assert to_json(config) == before


@pytest.mark.parametrize(
    ("override", "kind"),
    [
        ("seed=1.5", "int"),
        ("seed=true", "int"),
        ("seed=True", "int"),
        ("seed=none", "int"),
        ("seed=1 2", "int"),
        ("seed=", "int"),
        ("seed=__import__('os')", "int"),
        ("optimizer.learning_rate=fast", "float"),
        ("optimizer.learning_rate=True", "float"),
        ("optimizer.learning_rate=nan", "float"),
        ("data.flip=maybe", "bool"),
        ("data.flip=none", "bool"),
        ("data.crop_size=33", "tuple"),
        ("data.crop_size=(33,", "tuple"),
        ("model.num_bases=many", "int"),
    ],
)
def test_values_of_another_type(config, override, kind):
    before = to_json(config)
    name, text = override.split("=", maxsplit=1)
    refused = message(apply_override, config, f"--config.{override}")
    assert refused.startswith(f"--config.{name}={text}: {text!r} is not of type {kind}")
    assert to_json(config) == before


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("num_steps=1e3", 1000),
        ("seed=2.0", 2),
        ("data.flip=yes", True),
        ("data.flip=off", False),
        ("optimizer.learning_rate=1", 1.0),
    ],
)
def test_values_that_mean_one_of_the_type(config, override, value):
    apply_override(config, f"--config.{override}")
    section, _, field = override.partition("=")[0].rpartition(".")
    found = config[section][field] if section else config[field]
    assert found == value
    assert type(found) is type(value)


def test_a_value_of_another_type_hears_what_would_do(config):
    told = message(apply_override, config, "--config.num_steps=2.5")
    assert told == (
        "--config.num_steps=2.5: '2.5' is not of type int; give a whole number, such "
        f"as 3 or 1e4 (it is {config.num_steps} now)"
    )
    assert "give true or false" in message(
        apply_override, config, "--config.data.flip=maybe"
    )


@pytest.mark.parametrize(
    ("given", "joined"),
    [
        (["--config.seed=3", "a.png"], ["--config.seed=3", "a.png"]),
        (["--config.seed", "3", "a.png"], ["--config.seed=3", "a.png"]),
        (["--config.seed", "=", "3", "a.png"], ["--config.seed=3", "a.png"]),
        (["--config.seed", "=3", "a.png"], ["--config.seed=3", "a.png"]),
        (["--config.seed", "--output", "o"], ["--config.seed", "--output", "o"]),
        (["--config.model.pretrained=", "x"], ["--config.model.pretrained=", "x"]),
        (["--config", "c.py", "--config.seed"], ["--config", "c.py", "--config.seed"]),
    ],
)
def test_a_value_that_stands_alone_belongs_to_its_field(given, joined):
    assert join_overrides(given) == joined


def test_the_home_folder_in_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    given = ["--config.data.root=~/set", "--config.data.data_dir=~/records"]
    config = load_config("configs/folder.py", [*given, "--config.model.pretrained=~/w"])
    assert config.data.root == str(tmp_path / "set")
    assert config.data.data_dir == str(tmp_path / "records")
    assert config.model.pretrained == str(tmp_path / "w")


def test_a_shipped_config_is_found_from_another_folder(monkeypatch, tmp_path):
    expected = to_json(load_config("configs/folder.py"))
    monkeypatch.chdir(tmp_path)
    assert to_json(load_config("configs/folder.py")) == expected


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("optimizer.learning_rte", "optimizer.learning_rate"),
        ("learning_rate", "optimizer.learning_rate"),
        ("model.crop_size", "data.crop_size"),
        ("sed", "seed"),
        ("optimizer.lr", "optimizer.learning_rate"),
        ("steps", "num_steps"),
    ],
)
def test_an_unknown_field_names_the_nearest(config, name, suggestion):
    refused = message(apply_override, config, f"--config.{name}=1")
    assert refused.startswith(f"config.{name} does not exist; did you mean ")
    guess = refused.removeprefix(f"config.{name} does not exist; did you mean ")
    assert guess.removeprefix("config.").strip("'").startswith(suggestion)


@pytest.mark.parametrize("name", ["model", "model.", "", "optimizer.learning_rate.x"])
def test_what_is_not_a_field_is_refused(config, name):
    assert "does not exist" in message(apply_override, config, f"--config.{name}=1")


@pytest.mark.parametrize(
    "override", ["--seed=1", "seed=1", "--config.seed", "--config", "1", "--flip"]
)
def test_what_is_not_an_override_is_refused(config, override):
    refused = message(apply_override, config, override)
    assert refused == f"{override!r} is not understood; write --config.FIELD=VALUE"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_survive_a_checkpoint(path):
    config = load_config(str(path))
    again = from_json(json.loads(json.dumps(to_json(config))))
    assert to_json(again) == to_json(config)
    assert again.is_locked
    assert isinstance(again.data.crop_size, tuple)


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("data_dir=/some/where", "/some/where"),
        ("data_dir=none", None),
        ("root=other", "other"),
    ],
)
def test_a_checkpoints_config_takes_overrides(config, override, wanted):
    """An optional field has lost its type there."""
    config.data.root = "first"
    again = from_json(to_json(config)).copy_and_resolve_references().unlock()
    apply_override(again, f"--config.data.{override}")
    assert again.data[override.split("=")[0]] == wanted


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("eval_iters=5", 5),
        ("eval_iters=none", None),
        ("eval_window=(9, 5)", (9, 5)),
        ("image_pooling=false", False),
        ("normalization=none", "none"),
        ("normalization=None", None),
    ],
)
def test_an_untyped_field_takes_what_it_looks_like(config, override, wanted):
    again = from_json(to_json(config)).copy_and_resolve_references().unlock()
    apply_override(again, f"--config.model.{override}")
    assert again.model[override.split("=")[0]] == wanted


def test_a_loaded_config_is_locked(write):
    """Also one that does not begin with the default."""
    lines = "def get_config(): return ConfigDict({'seed': 1, 'data': {'flip': True}})"
    path = write(f"from ml_collections import ConfigDict\n{lines}")
    config = load_config(path, ["--config.seed=5", "--config.data.flip=false"])
    assert config.to_dict() == {"seed": 5, "data": {"flip": False}}
    for section in (config, config.data):
        with pytest.raises(KeyError, match="locked"):
            section["sede"] = 1


def test_a_field_that_a_file_mistypes(write):
    lines = "    config = default.get_config()\n    config.data.flop = True\n"
    path = write(f"from configs import default\ndef get_config():\n{lines}")
    assert "flop" in message(load_config, path)


def test_a_file_may_have_any_suffix(write):
    path = write("from configs.default import get_config", name="mine.cfg")
    assert load_config(path).num_steps == 30_000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "AttributeError"),
        ("def get_config(:", "SyntaxError"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("def get_config(): raise RuntimeError('a\\nb')", "RuntimeError: a b"),
        ("get_config = 3", "TypeError"),
        ("def get_config(): return {'seed': 1}", "returns a dict"),
        ("def get_config(): pass", "returns a NoneType"),
    ],
)
def test_a_file_that_gives_no_config(write, text, wanted):
    path = write(text)
    refused = message(load_config, path)
    assert refused.startswith(f"--config={path}: get_config() ")
    assert wanted in refused


def test_no_such_file_names_the_nearest():
    refused = message(load_config, "configs/shape.py")
    assert "--config=configs/shape.py: no such file; did you mean " in refused
    assert "'configs/shapes.py'?" in refused


def test_field_names_are_dotted_leaves(config):
    names = set(field_names(config))
    assert {"seed", "model.name", "data.crop_size", "checkpoint.keep_best"} <= names
    assert not {"model", "data"} & names


def test_a_model_is_the_argument_of_a_config():
    assert load_config("configs/camvid.py:psanet_tiny").model.name == "psanet_tiny"
    changed = load_config("configs/voc.py:fcn_r50", ["--config.model.name=fcn_r101"])
    assert changed.model.name == "fcn_r101"


def test_a_config_of_the_user_s_lies_anywhere(write, tmp_path, monkeypatch):
    """It builds on ours and on a neighbour of its own."""
    write("STEPS = 77", "lengths_of_mine.py")
    path = write(
        "from configs import default\n"
        "from lengths_of_mine import STEPS\n"
        "def get_config(model='emanet_r50'):\n"
        "    config = default.get_config(model)\n"
        "    config.num_steps = STEPS\n"
        "    return config\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = list(sys.path)
    for given, model in (("../mine.py", "emanet_r50"), (f"{path}:fcn_r50", "fcn_r50")):
        config = load_config(given)
        assert (config.num_steps, config.model.name) == (77, model)
    assert sys.path == before


def test_a_colon_in_the_name_of_a_file(write):
    path = write("from configs.voc import get_config", "a:b.py")
    assert load_config(path).model.name == "emanet_r101"
    assert load_config(f"{path}:fcn_r50").model.name == "fcn_r50"


@pytest.mark.parametrize(
    ("text", "argument", "wanted"),
    [
        (
            "def get_config(): return 1",
            ":fcn_r50",
            "takes no argument; leave :fcn",
        ),
        (
            "def get_config(model): return 1",
            "",
            "needs an argument; write it",
        ),
        (
            "from configs.voc import get_config",
            ":",
            "nothing stands behind the",
        ),
    ],
)
def test_an_argument_that_does_not_fit(write, text, argument, wanted):
    path = write(text)
    refused = message(load_config, f"{path}{argument}")
    assert refused.startswith(f"--config={path}")
    assert wanted in refused


def test_a_model_that_does_not_exist():
    config = load_config("configs/voc.py:emanet_r11")
    refused = message(check_limits, config)
    assert refused.startswith(
        "config.model.name='emanet_r11' is unknown; did you mean 'e"
    )


def test_the_name_of_a_config_names_its_argument():
    assert config_name("configs/voc.py") == "voc"
    assert config_name("configs/voc.py:fcn_r50") == "voc_fcn_r50"


def test_neighbours_of_one_name_in_two_folders(tmp_path):
    """Each config gets its own, and leaves the path as it was."""
    lines = "import sys; sys.path.append('elsewhere')\nimport neighbour\n"
    lines += "from configs import default\ndef get_config():\n"
    lines += "    config = default.get_config()\n"
    lines += "    config.seed = neighbour.SEED\n    return config\n"
    before = list(sys.path)
    for seed in (3, 4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "neighbour").mkdir()
        (folder / "neighbour/__init__.py").write_text("from neighbour.one import SEED")
        (folder / "neighbour/one.py").write_text(f"SEED = {seed}\n")
        (folder / "mine.py").write_text(lines)
        assert load_config(str(folder / "mine.py")).seed == seed
        assert sys.path == before


def test_no_such_file_seen_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "configs/shapes.py" in message(load_config, "configs/shape.py")


def test_the_name_of_a_config_is_that_of_a_file():
    assert config_name("a/b.py:c/d e") == "b_c_d_e"
