"""`train`: each mistake of a user's is one line that names it, before a compilation."""

import jax
import numpy as np
import pytest
from PIL import Image

import main


def test_a_program_is_counted(compilations):
    jax.jit(lambda x: x * 3 + 1)(np.arange(7.0))
    assert compilations() > 0


# The config.


def test_no_such_config(refused_at_once, workdir):
    message = refused_at_once(
        "train", "--config=configs/shape.py", "--workdir", workdir
    )
    assert message.startswith("--config=configs/shape.py: no such file; did you mean")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def get_config(): return nothing", "NameError"),
        ("x = 1", "get_config"),
        ("def get_config(): return 1", "returns a int"),
        ("if", "SyntaxError"),
    ],
)
def test_a_config_that_cannot_be_used(refused_at_once, workdir, tmp_path, text, reason):
    path = tmp_path / "broken.py"
    path.write_text(text)
    message = refused_at_once("train", "--config", path, "--workdir", workdir)
    assert message.startswith(f"--config={path}: ")
    assert reason in message


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("optimizer.learning_rte=1", "did you mean 'optimizer.learning_rate'?"),
        ("learning_rate=1", "did you mean config.optimizer.learning_rate?"),
        ("evaluation.evry=1", "did you mean 'evaluation.every'?"),
        ("seed=one", "--config.seed=one: 'one' is not of type int"),
        ("data.flip=maybe", "'maybe' is not of type bool"),
        ("data.crop_size=33", "'33' is not of type tuple"),
        ("data.crop_size=(33,", "is not of type tuple"),
        ("data.crop_size=(33,33,33)", "config.data.crop_size=(33, 33, 33) cannot be"),
        ("num_steps=0", "config.num_steps=0 cannot be used"),
        ("num_steps=-5", "config.num_steps=-5 cannot be used"),
        ("evaluation.every=0", "config.evaluation.every=0 cannot be used"),
        ("checkpoint.every=0", "config.checkpoint.every=0 cannot be used"),
        ("log_every=0", "config.log_every=0 cannot be used"),
        ("optimizer.pixel_mean=most", "config.optimizer.pixel_mean='most' cannot be"),
        ("batch_size=3", "config.batch_size=3 cannot be divided over 8 devices"),
        ("evaluation.batch_size=3", "config.evaluation.batch_size=3 cannot be divided"),
        ("evaluation.canvas_multiple=12", "is not a multiple of the output stride"),
        ("data.name=folders", "config.data.name='folders' is unknown; did you mean"),
        ("data.train_split=night", "has no split 'night'; it has train, val"),
        ("data.val_split=night", "has no split 'night'; it has train, val"),
        ("model.name=emanet_big", "config.model.name='emanet_big' is unknown"),
        ("model.dtype=half", "config.model.dtype='half' is unknown"),
        ("model.kernel=cosine", "config.model.kernel='cosine' is unknown"),
        ("model.normalization=l3", "config.model.normalization='l3' is unknown"),
    ],
)
def test_an_override_that_cannot_be_used(train_refused, override, wanted):
    assert wanted in train_refused(override)


def test_a_stride_that_cannot_be_used(train_refused):
    message = train_refused("model.name=micro", "model.output_stride=12")
    assert "config.model.output_stride=12 is unknown" in message


@pytest.mark.parametrize(
    "override", ["data.train_split=night", "model.kernel=cosine", "batch_size=3"]
)
def test_a_mistake_makes_no_workdir(refused_at_once, config_file, tmp_path, override):
    workdir = tmp_path / "fresh"
    refused_at_once(
        "train",
        f"--config={config_file}",
        f"--workdir={workdir}",
        f"--config.{override}",
    )
    assert not workdir.exists()


def test_an_option_that_does_not_exist(refused_at_once, config_file, workdir):
    message = refused_at_once(
        "train", "--config", config_file, "--workdir", workdir, "--steps=3"
    )
    assert message == "'--steps=3' is not understood; write --config.FIELD=VALUE"


# The data.


def test_no_data(train_refused, tmp_path):
    message = train_refused(f"data.root={tmp_path / 'nowhere'}")
    assert message.startswith(f"{tmp_path}/nowhere: no such folder")


def test_a_file_in_the_place_of_the_data(train_refused, data):
    path = data / "classes.txt"
    assert f"{path}: no such folder" in train_refused(f"data.root={path}")


def test_data_that_is_not_given(train_refused):
    message = train_refused("data.root=none")
    assert "--config.data.root=" in message


def test_a_list_that_names_a_missing_file(train_refused, data):
    (data / "train.txt").write_text("p0\nghost\n")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/train.txt:2: 'ghost' has no image")


def test_a_folder_by_another_name(train_refused, data):
    (data / "images").rename(data / "Pictures")
    message = train_refused(f"data.root={data}")
    assert message.endswith(
        f"there is no folder {data}/images, only Pictures, labels; rename one"
    )


def test_a_folder_around_the_data(train_refused, data):
    message = train_refused(f"data.root={data.parent}", "data.val_share=none")
    assert message.endswith(f"is it {data} that is meant?")


def test_no_list_of_a_split(train_refused, data):
    (data / "val.txt").unlink()
    message = train_refused(f"data.root={data}")
    assert "it has train; write val.txt, set --config.data.val_share=0.2, or" in message


def test_masks_in_which_255_is_a_class_here_and_there(
    config_file, data, tmp_path, capsys
):
    """Two tools: what one writes as 255 is lost, and that is said."""
    (data / "classes.txt").write_text("ground\nthing\n")
    for number, path in enumerate(sorted((data / "labels").iterdir())):
        label = np.zeros((40, 60), np.uint8)
        label[:20] = 255 if number == 0 else 1
        Image.fromarray(label).save(path)
        Image.new("RGB", (60, 40)).save(data / "images" / path.name)
    options = {"root": data, "data_dir": tmp_path / "records"}
    overrides = (f"--config.data.{name}={path}" for name, path in options.items())
    assert main.main(["data", f"--config={config_file}", *overrides]) == 0
    said = capsys.readouterr().err
    assert "1 of 6 masks hold 255 and no 1, which others hold" in said


def test_a_missing_mask(train_refused, data):
    (data / "labels/p1.png").unlink()
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/train.txt:2: 'p1' has no mask")


def test_an_unreadable_image(train_refused, data):
    (data / "images/p2.png").write_bytes(b"\x89PNG no more")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/images/p2.png: cannot be read as an image")


def test_a_mask_with_a_value_that_is_no_class(train_refused, data):
    mask = np.zeros((40, 56), np.uint8)
    mask[7, 7] = 9
    Image.fromarray(mask).save(data / "labels/p4.png")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/labels/p4.png: holds 9, neither a class (0..1)")


def test_image_and_mask_of_different_sizes(train_refused, data):
    Image.fromarray(np.zeros((40, 55), np.uint8)).save(data / "labels/p0.png")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/images/p0.png: is 40x56 (height x width), but")


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split(train_refused, data, split):
    (data / f"{split}.txt").write_text("\n")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/{split}.txt: the split is empty")


def test_nothing_is_left_of_data_that_was_refused(train_refused, data, tmp_path):
    (data / "images/p5.png").write_text("")
    train_refused(f"data.root={data}")
    assert not list((tmp_path / "records").rglob("*"))


# The workdir.


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("model.name=emanet_r50", "config.model.name='small', not 'emanet_r50'"),
        ("model.num_bases=5", "config.model.num_bases=None, not 5"),
        ("seed=3", "config.seed=0, not 3"),
        ("batch_size=16", "config.batch_size=8, not 16"),
    ],
)
def test_a_workdir_of_another_training(train_refused, workdir, override, wanted):
    message = train_refused(override)
    assert message.startswith(f"--workdir={workdir} was trained with {wanted}")


def test_a_workdir_of_other_classes(train_refused, workdir, data):
    (data / "classes.txt").write_text("dark\nbright\nblue\n")
    Image.fromarray(np.full((40, 56), 2, np.uint8)).save(data / "labels/p0.png")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"--workdir={workdir} holds a network of 2 classes, but")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("bright\ndark\n", "whose class 0 is 'dark', but that of folder is 'bright'"),
        ("dark\nlight\n", "whose class 1 is 'bright', but that of folder is 'light'"),
    ],
    ids=["reordered", "renamed"],
)
def test_a_workdir_of_classes_by_other_names(train_refused, data, names, said):
    """The weights would go on under them."""
    (data / "classes.txt").write_text(names)
    assert said in train_refused(f"data.root={data}")


@pytest.mark.parametrize("changed", ["mask", "image", "list"])
def test_a_workdir_of_other_data(train_refused, workdir, data, changed):
    if changed == "mask":
        Image.fromarray(np.ones((40, 56), np.uint8)).save(data / "labels/p0.png")
    elif changed == "image":
        Image.fromarray(np.ones((40, 56), np.uint8)).save(data / "images/p0.png")
    else:
        (data / "train.txt").write_text("p0\np1\np2\n")
    message = train_refused(f"data.root={data}")
    assert message == (
        f"'train' of folder is not what --workdir={workdir} was trained on: images or "
        "masks were added, taken away or changed; choose another workdir, or go on "
        "with --config.data.suspicious=warn"
    )


@pytest.mark.parametrize("below", ["", "run", "a/b"])
def test_a_workdir_that_cannot_be_written(
    refused_at_once, config_file, tmp_path, training, below
):
    file = tmp_path / "file"
    file.write_text("mine")
    message = refused_at_once(
        "train", "--config", config_file, "--workdir", file / below
    )
    assert message.startswith(
        f"--workdir: {file / below}/checkpoints cannot be written"
    )
    assert file.read_text() == "mine"


def test_a_training_from_nothing_says_so(refused_at_once, config_file, tmp_path):
    message = refused_at_once(
        "train",
        f"--config={config_file}",
        f"--workdir={tmp_path / 'run'}",
        "--config.model.pretrained=none",
    )
    assert message.startswith("config.model.pretrained is not set; give a file")


def test_statistics_that_are_to_stay_but_are_not_there(
    refused_at_once, config_file, tmp_path
):
    options = ("name=emanet_tiny", "freeze_bn=true")
    message = refused_at_once(
        "train",
        f"--config={config_file}",
        f"--workdir={tmp_path / 'run'}",
        *(f"--config.model.{option}" for option in options),
    )
    assert message.startswith("config.model.freeze_bn=True keeps statistics that")


def test_the_config_of_an_ablation(refused_at_once, tmp_path):
    path = "configs/ablations/bases.py"
    message = refused_at_once(
        "train", f"--config={path}", f"--workdir={tmp_path}", "--config.num_steps=3"
    )
    assert message == f"--config={path} is of an ablation: main.py ablate runs it"


@pytest.mark.parametrize("option", ["--workdir", "--output"])
def test_an_empty_path_is_refused(capsys, option):
    """It would be the current folder."""
    given = {"--workdir": "w", "--output": "o"} | {option: ""}
    arguments = [f"{name}={value}" for name, value in given.items()]
    with pytest.raises(SystemExit) as stopped:
        main.main(["predict", *arguments, "a.png"])
    assert stopped.value.code == 2
    assert f"argument {option}: is empty; give a path" in capsys.readouterr().err


def test_the_home_folder_behind_an_equals_sign(refused, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    message = refused("evaluate", "--workdir=~/run")
    assert message == f"--workdir={tmp_path / 'run'} does not exist; train first"


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "--weights=https://example.com/a.pth"],
        ["evaluate", "--weights", "https://example.com/a.pth"],
        ["predict", "https://example.com/a.png", "--weights=w", "--output=o"],
        ["train", "--config=configs/folder.py", "--workdir=s3://bucket/run"],
        ["convert", "ftp://example.com/a.pth", "a.safetensors"],
    ],
)
def test_an_address_of_the_web_is_shown_as_it_was_given(refused_at_once, command):
    message = refused_at_once(*command)
    [given] = [text for text in command if "://" in text]
    assert message.startswith(f"{given}: nothing is read from the web; fetch it, and")
