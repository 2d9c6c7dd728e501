"""The grid of an ablation, and the one line that each mistake in it gets."""

from pathlib import Path

import pytest

from ema_jax import MODELS
from train.ablation.grid import load_ablation
from train.configuration.config import load_config
from train.user.errors import UserError

FOLDER = Path(__file__).parents[3] / "configs" / "ablations"
SHIPPED = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))


def load(name, *overrides):
    return load_ablation(str(FOLDER / f"{name}.py"), overrides)


def labels_of(ablation):
    return {tuple(run.point.values()) for run in ablation.runs}


@pytest.fixture
def write(tmp_path):
    """write(axes) makes an ablation of `shapes` with these axes."""

    def make(axes):
        path = tmp_path / "mine.py"
        path.write_text(
            "from configs.ablations import default\n\n\n"
            "def get_config():\n"
            "    config = default.get_config()\n"
            f"    config.base = {str(FOLDER / 'base' / 'shapes.py')!r}\n"
            f"    config.axes = {axes!r}\n"
            "    return config\n"
        )
        return str(path)

    return make


def test_a_product_of_axes_with_every_seed(write):
    crops = ("data.crop_size=(33, 33)", "data.crop_size=(41, 33)")
    axes = (("crop", crops), ("K", ("model.num_bases=4", "model.num_bases=8")))
    ablation = load_ablation(
        write(axes), ["--config.seeds=(5, 3)", "--config.num_steps=7"]
    )
    assert ablation.name == "mine"
    assert [(*run.point.values(), run.seed) for run in ablation.runs] == [
        ("(33, 33)", "4", 5),
        ("(33, 33)", "8", 5),
        ("(41, 33)", "4", 5),
        ("(41, 33)", "8", 5),
        ("(33, 33)", "4", 3),
        ("(33, 33)", "8", 3),
        ("(41, 33)", "4", 3),
        ("(41, 33)", "8", 3),
    ]
    last = ablation.runs[-1]
    assert last.folder == "runs/crop=41,33,K=8/seed3"
    config = last.config
    assert config.data.crop_size == (41, 33)
    assert (config.model.num_bases, config.seed, config.num_steps) == (8, 3, 7)
    base = load_config(str(FOLDER / "base" / "shapes.py"))
    assert config.optimizer == base.optimizer
    assert len({run.folder for run in ablation.runs}) == 8


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("base", ["shapes", "camvid"])
def test_the_shipped_ones(name, base):
    overrides = [f"--config.base=base/{base}.py", "--config.data.root=somewhere"]
    ablation = load(name, *overrides)
    assert {run.config.data.root for run in ablation.runs} == {"somewhere"}
    expected = {"shapes": "shapes", "camvid": "folder"}[base]
    assert {run.config.data.name for run in ablation.runs} == {expected}
    assert {run.seed for run in ablation.runs} == {0, 1, 2}
    assert all(run.config.model.name in MODELS for run in ablation.runs)


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("default", 1),
        ("update_normalization", 9),
        ("iterations", 5),
        ("bases", 4),
        ("gradient", 4),
        ("temperature", 5),
        ("rivals", 10),
    ],
)
def test_how_much_the_shipped_ones_train(name, points):
    ablation = load(name)
    assert len(labels_of(ablation)) == points
    assert len(ablation.runs) == 3 * points


def test_trained_bases_come_with_a_gradient_that_reaches_them():
    for run in load("update_normalization").runs:
        trained = run.config.model.bases_update == "gradient"
        assert run.config.model.gradient == ("unroll" if trained else None)
        update, normalization = run.point.values()
        assert update.startswith(run.config.model.bases_update)
        assert run.config.model.normalization == normalization


@pytest.mark.parametrize(
    ("axes", "wanted"),
    [
        (("K",), "config.axes=('K',) is not understood; give pairs"),
        ((("K", ()),), "config.axes: K has no point"),
        ((("K", ("seed",)),), "config.axes: K has the point 'seed'; give overrides"),
        ((("K", (3,)),), "config.axes: K has the point"),
        ((("K", 5),), "config.axes: K has the point 5; give overrides"),
        ((("K", ("x=1", "x=1")),), "config.axes: K has the point '1' twice"),
        ((("s", ("seed=1",)),), "config.axes: s sets seed, which config.seeds sets"),
        (
            (("K", ("x=1",)), ("L", (("y=1", "x=2"),))),
            "config.axes: L sets x, which the axis K sets too; leave it to one",
        ),
        ((("seed", ("x=1",)),), "config.axes: seed is a column of the tables; choose"),
        ((("mean_iou", ("x=1",)),), "config.axes: mean_iou is a column of the tables"),
        ((("iou/sky", ("x=1",)),), "config.axes: iou/sky is a column of the tables"),
        ((("T_eval", ("x=1",)),), "config.axes: T_eval is a column of the tables"),
        ((("K", ("x=1",)), ("K", ("x=1",))), "config.axes names an axis twice"),
        ((("K", ("x=1", "x=(1)")),), "config.x does not exist"),
        (
            (("K", ("log_every=1", "log_every=(1)")),),
            "config.axes: two points or seeds would share a folder",
        ),
        ((("K", ("model.num_bases=0",)),), "config.model.num_bases=0 cannot be used"),
        ((("K", ("model.num_base=1",)),), "config.model.num_base does not exist; did"),
    ],
)
def test_a_grid_that_cannot_be(write, axes, wanted):
    with pytest.raises(UserError) as error:
        load_ablation(write(axes))
    assert str(error.value).startswith(wanted)


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("--config.seeds=()", "config.seeds=() leaves nothing to train"),
        ("--config.seeds=(1, 1)", "config.seeds=(1, 1) names a value twice"),
        ("--config.seeds=(-1,)", "config.seeds=(-1,) cannot be used; give integers"),
        ("--config.eval_iters=(0,)", "config.eval_iters=(0,) cannot be used; give"),
        ("--config.eval_iters=3", "--config.eval_iters=3: '3' is not of type tuple"),
        ("--config.seed=7", "--config.seed=7 is set by config.seeds in every run; set"),
        (
            "--config.model.num_bases=8",
            "--config.model.num_bases=8 is set by the axis K in every run; set that",
        ),
        ("--config.base=nowhere.py", "--config=nowhere.py: no such file"),
        ("--config.num_stepz=3", "config.num_stepz does not exist; did you mean"),
        ("--num_steps=3", "'--num_steps=3' is not understood"),
    ],
)
def test_an_override_that_cannot_be(override, wanted):
    with pytest.raises(UserError) as error:
        load("bases", override)
    assert str(error.value).startswith(wanted)
    assert "\n" not in str(error.value)


def test_a_training_config_is_no_ablation():
    with pytest.raises(UserError, match=r"shapes.py has no field 'axes'"):
        load_ablation(str(FOLDER.parent / "shapes.py"))


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("seeds = 3", "config.seeds=3 cannot be used; give integers of 0 or more"),
        ("eval_iters = 3", "config.eval_iters=3 cannot be used; give integers of 1"),
        ("base = None", "config.base=None is no path; give that of a training's"),
    ],
)
def test_a_field_of_another_type_in_the_file(tmp_path, field, wanted):
    path = tmp_path / "mine.py"
    path.write_text(
        "from configs.ablations import default\n\n\n"
        "def get_config():\n"
        "    config = default.get_config()\n"
        f"    del config[{field.split()[0]!r}]\n"
        f"    config.{field}\n"
        "    return config\n"
    )
    with pytest.raises(UserError) as error:
        load_ablation(str(path))
    assert str(error.value).startswith(wanted)
